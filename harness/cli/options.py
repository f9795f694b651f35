"""The store that a command is about, and the experiments in it.

How a command is declared: its name, one sentence of help, and an example.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.store.store import Store


def existing_store(path: Path) -> "Store":
    """Return the store at `path`.

    Raises:
        HarnessError: If there is none.
    """
    # Imported here: `harness --help` must not wait for duckdb.
    from harness.store.store import Store

    if not path.exists():
        raise HarnessError(f"{path} does not exist; run pytest experiments/ first, or name another with --store PATH")
    return Store(path)


def check_known(store: "Store", name: str | None) -> None:
    """Raise HarnessError if an experiment is named that the store lacks."""
    if name is not None and name not in store.experiments():
        raise HarnessError(f"no experiment {name!r} in {store.path}; it has {', '.join(store.experiments()) or 'none'}")


def say(line: str) -> None:
    """Write a line at once: minutes may pass until the next."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


Command = Callable[[argparse.Namespace], int]


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Command,
    help_text: str,
    example: str,
) -> argparse.ArgumentParser:
    """Return the parser of a new command.

    Args:
        commands: What it is added to.
        name: As it is typed.
        command: Gets the options, returns the exit code.
        help_text: One sentence, without its full stop.
        example: A whole command line.
    """
    parser = commands.add_parser(name, help=help_text, description=f"{help_text}.", epilog=f"example: {example}")
    parser.set_defaults(command=command)
    return parser


def add_store(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let a command name the store that it is about."""
    parser.add_argument(
        "--store",
        type=Path,
        default=Path("reports/results.duckdb"),
        metavar="PATH",
        help="where results are kept (reports/results.duckdb)",
    )
    return parser
