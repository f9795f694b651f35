"""`harness tuner install`: an environment of its own for each tuner that a recipe may name as its backend."""

import argparse
import sys

from harness.commands.adding import add_command

_TUNERS = ("llamafactory", "axolotl", "unsloth")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "tuner",
        _tuner,
        "install another tuner in an environment of its own, for SFT(..., backend=NAME)",
        "harness tuner install llamafactory",
    )
    parser.add_argument("action", choices=("install",))
    parser.add_argument("name", choices=_TUNERS)


def _tuner(options: argparse.Namespace) -> int:
    from harness.tuning.external.environment import install

    install(options.name, say=_say)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # minutes may pass until the next
