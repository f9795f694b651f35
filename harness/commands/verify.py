"""`harness verify`: recompute a page's verdict from what the page itself embeds."""

import argparse
from pathlib import Path

from harness.commands.adding import add_command
from harness.commands.stores import say

_LIST = "index.html"


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

    # `harness verify reports/*.html` names the list of experiments too, which holds no scores of its own.
    lists = [path for path in options.pages if path.name == _LIST] if len(options.pages) > 1 else []
    for path in lists:
        say(f"{path}: the list of experiments, left out")
    found = [verify_page(path) for path in options.pages if path not in lists]
    for page in found:
        say("\n".join(page.lines()))
    return 0 if all(page.holds for page in found) else 1
