"""The command `harness`: look at, redraw and ask about what experiments have left behind."""

import argparse
import sys
from collections.abc import Callable, Sequence

from harness.commands import (
    compare,
    data,
    doctor,
    memory,
    new,
    plan,
    recipe,
    report,
    sql,
    tuner,
    verdict,
    verify,
    vllm,
)
from harness.errors import HarnessError
from harness.threads import wait_passively

# In the order in which `harness --help` lists them. Each imports what it needs when it runs.
_COMMANDS = (new, plan, report, verdict, verify, compare, sql, data, memory, recipe, tuner, vllm, doctor)
_FAILURE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A user's mistake is one line on stderr and code 2."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    wait_passively()
    try:
        return command(options)
    except HarnessError as error:
        sys.stderr.write(f"harness: {error}\n")
        return _FAILURE
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Ask about experiments and their verdicts. Run experiments with: pytest experiments/",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
