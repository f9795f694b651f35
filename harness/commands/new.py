"""`harness new`: an experiment file to start from."""

import argparse
from pathlib import Path

from harness.commands.adding import add_command
from harness.commands.stores import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(commands, "new", _new, "write a new experiment file to start from", "harness new tickets")
    parser.add_argument("name")


def _new(options: argparse.Namespace) -> int:
    from harness.scaffold import write_experiment

    for path in write_experiment(options.name, Path("experiments")):
        say(f"wrote {path}")
    return 0
