"""Run as a script: starts a command and ends it, with all its children, when standard input closes.

The pipe closes however the harness ends, also by SIGKILL, so that no server outlives it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

_GRACE_SECONDS = 10.0


def main(command: Sequence[str]) -> int:
    """Return the command's exit code."""
    # A session of its own: the command's children share its process group, and Ctrl-C does not reach them.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - given by us
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    code = child.wait()
    _signal(child, signal.SIGKILL)  # what the command left behind
    return code


def _watch(child: "subprocess.Popen[bytes]") -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    _signal(child, signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    _signal(child, signal.SIGKILL)


def _signal(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
