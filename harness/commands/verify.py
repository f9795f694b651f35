"""`harness verify`: recompute a page's verdict from what the page itself embeds."""

import argparse
from pathlib import Path

from harness.commands.adding import add_command
from harness.commands.stores import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "verify",
        _verify,
        "recompute a page's verdict from the item scores it embeds; exit 1 where one number differs",
        "harness verify reports/home_commands.html",
    )
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")


def _verify(options: argparse.Namespace) -> int:
    from harness.verify import verify_page

    found = [verify_page(path) for path in options.pages]
    for page in found:
        say("\n".join(page.lines()))
    return 0 if all(page.holds for page in found) else 1
