"""`harness sql`: a question to the store."""

import argparse

from harness.commands.adding import add_command
from harness.commands.stores import existing_store, say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "sql",
        _sql,
        "ask the store a question; nothing is changed",
        'harness sql "SELECT * FROM scoreboard"',
        store=True,
    )
    parser.add_argument("query")


def _sql(options: argparse.Namespace) -> int:
    names, records = existing_store(options.store).query(options.query)
    say("\t".join(names))
    for record in records:
        say("\t".join("" if value is None else str(value) for value in record))
    return 0
