"""The command `harness`: look at, redraw and ask about what experiments have left behind."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from harness.api import wait_briefly
from harness.cli import data, doctor, experiments, install, new, recipes
from harness.errors import HarnessError

# In the order in which `harness --help` lists them. Each imports what it needs when it runs.
_COMMANDS: tuple[Callable[["argparse._SubParsersAction[argparse.ArgumentParser]"], None], ...] = (
    new.add_new,
    experiments.add_plan,
    experiments.add_report,
    experiments.add_verdict,
    experiments.add_verify,
    experiments.add_compare,
    experiments.add_sql,
    data.add_data,
    recipes.add_memory,
    recipes.add_recipe,
    install.add_tuner,
    install.add_vllm,
    doctor.add_doctor,
)
_FAILURE = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A user's mistake is one line on stderr and code 2."""
    wait_briefly()
    _write_any_character()
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except HarnessError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader has gone: nothing may be written any more, not even when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; name a place that is there and that you may use")
    except KeyboardInterrupt:
        return _fail("interrupted; what was finished is stored", code=_INTERRUPTED)


def _fail(message: str, *, code: int = _FAILURE) -> int:
    sys.stderr.write(f"harness: {' '.join(message.splitlines())}\n")
    return code


def _write_any_character() -> None:
    """Show a character that the terminal cannot write by its number, instead of stopping at it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Ask about experiments and their verdicts. Run experiments with: pytest experiments/",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
