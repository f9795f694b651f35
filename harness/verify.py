"""Recompute a page's verdict from the item scores that the page itself holds, and name every number that differs."""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InvalidData
from harness.recomputing import Recomputing, Verification
from harness.report.columns import seal_holds
from harness.report.numbers import difference_interval
from harness.report.proof import FORMAT
from harness.stats.version import STATISTICS

_PROOF = re.compile(r'<script type="application/json" id="proof">(.*?)</script>', re.DOTALL)
_BANNER = re.compile(r'<div class="banner (\w+)">')


def verify_page(path: Path) -> Verification:
    """Return what recomputing the page at `path` shows.

    Raises InvalidData where it is no page of an experiment, or its embedded scores cannot be read.
    """
    if not path.is_file():
        raise InvalidData(f"{path}: no such file; name a page, such as reports/home_commands.html")
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        page = stream.read()
    found = _PROOF.search(page)
    if found is None:
        raise InvalidData(f"{path}: holds no item scores; draw it again with: harness report")
    try:
        return _verified(json.loads(found[1]), page)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InvalidData(f"{path}: its embedded scores cannot be read ({type(error).__name__}: {error})") from error


def _verified(proof: Mapping[str, Any], page: str) -> Verification:
    if proof["format"] != FORMAT:
        raise InvalidData(f"the page's scores are of format {proof['format']}, this version reads {FORMAT}")
    seen = Verification(experiment=str(proof["experiment"]), verdict=str(proof["verdict"]))
    if not seal_holds(page):
        seen.differences.append("the seal: the page's text was changed after it was drawn")
    made_under = int(proof.get("statistics", 1))
    if made_under != STATISTICS:
        seen.older = made_under
        return seen
    _check_shown(seen, proof, page)
    Recomputing(proof, seen).recompute()
    return seen


def _check_shown(seen: Verification, proof: Mapping[str, Any], page: str) -> None:
    """What a reader sees must be what the embedded numbers say."""
    banner = _BANNER.search(page)
    if banner is None or banner[1] != proof["verdict"]:
        seen.differences.append(f"the page shows {banner[1] if banner else 'no verdict'}, not {proof['verdict']}")
    text = html.unescape(page)
    for pair in proof["pairs"]:
        row = pair["stored"]
        shown = difference_interval(row["difference"], row["low"], row["high"], proof["units"].get(row["metric"], ""))
        if shown not in text:
            seen.differences.append(f"{row['metric']}: the page does not show its difference, {shown}")
