"""How a command is declared: its name, one sentence of help, and an example."""

import argparse
from collections.abc import Callable
from pathlib import Path

Command = Callable[[argparse.Namespace], int]


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Command,
    help_text: str,
    example: str,
    *,
    store: bool = False,
) -> argparse.ArgumentParser:
    """Return the parser of a new command. command: gets the options, returns the exit code. store: takes --store."""
    parser = commands.add_parser(name, help=help_text, description=f"{help_text}.", epilog=f"example: {example}")
    parser.set_defaults(command=command)
    if store:
        parser.add_argument("--store", type=Path, default=Path("reports/results.duckdb"), metavar="PATH")
    return parser
