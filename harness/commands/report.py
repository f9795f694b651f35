"""`harness report`: draw the pages again from the store."""

import argparse

from harness.commands.adding import add_command
from harness.commands.stores import check_known, existing_store, say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands, "report", _report, "draw the pages again from the store", "harness report", store=True
    )
    parser.add_argument("experiment", nargs="?", help="print the path of this experiment's page")


def _report(options: argparse.Namespace) -> int:
    from harness.front import report

    check_known(existing_store(options.store), options.experiment)
    for path in report(options.experiment, store=options.store):
        say(str(path))
    return 0
