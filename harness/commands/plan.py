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
    from harness.store.names import expected_name

    experiment = load_experiment(options.file)
    name = expected_name(options.store, options.file.resolve())
    for line in outlook(experiment, name=name, store_path=options.store):
        say(line)
    return 0
