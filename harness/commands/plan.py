"""`harness plan`: what is stored of an experiment, and what would run."""

import argparse
from pathlib import Path

from harness.commands.adding import add_command
from harness.commands.stores import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "plan",
        _plan,
        "show what is stored and what would run",
        "harness plan experiments/home_commands.py",
        store=True,
    )
    parser.add_argument("file", type=Path)


def _plan(options: argparse.Namespace) -> int:
    from harness.outlook import load_experiment, outlook

    experiment = load_experiment(options.file)
    for line in outlook(experiment, name=options.file.stem, store_path=options.store):
        say(line)
    return 0
