"""`harness verify`: recompute a page's verdict from what the page itself embeds."""

import argparse
from pathlib import Path

from harness.commands.adding import add_command
from harness.commands.stores import say

_LIST = "index.html"
_OLDER = 3  # A page made under other statistics: neither confirmed nor refuted.


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "verify",
        _verify,
        "recompute a page's verdict from the scores it embeds; exit 1 where a number differs, 3 for an older page",
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
    if not all(page.holds for page in found):
        return 1
    return _OLDER if any(page.older is not None for page in found) else 0
