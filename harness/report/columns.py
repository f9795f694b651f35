"""Scores as columns of JSON: small enough for a page that embeds those of 100,000 answers."""

import hashlib
import json
import math
import re
from collections.abc import Sequence

_UNSEALED = "0" * 64
_SEAL = re.compile(r'<meta name="seal" content="([0-9a-f]{64})">')

JsonColumn = str | list[object] | dict[str, list[object]]


def packed_scores(scores: Sequence[float | None]) -> JsonColumn:
    """Return scores as one digit each where all are 0 or 1, else as a list of numbers, exact to the last bit."""
    if all(score in (0.0, 1.0) for score in scores):
        return "".join("1" if score else "0" for score in scores)
    return list(scores)


def unpacked_scores(column: object) -> list[float]:
    """Return the numbers, NaN for a score that is missing.

    Raises ValueError where `column` is not as `packed_scores` writes it."""
    if isinstance(column, str):
        return [float("01".index(digit)) for digit in column]
    if isinstance(column, list) and all(item is None or type(item) in (int, float) for item in column):
        return [math.nan if item is None else float(item) for item in column]
    raise ValueError("a column of scores is neither digits nor numbers")


def packed_values(values: Sequence[object]) -> JsonColumn:
    """Return JSON values as a list, or as each distinct one with the places where it stands, if they repeat."""
    places: dict[str, int] = {}
    codes: list[object] = [places.setdefault(json.dumps(value), len(places)) for value in values]
    if 2 * len(places) > len(values):
        return list(values)
    return {"distinct": [json.loads(text) for text in places], "codes": codes}


def unpacked_values(column: object) -> list[object]:
    """Raises ValueError where `column` is not as `packed_values` writes it."""
    if isinstance(column, list):
        return column
    if not isinstance(column, dict) or column.keys() != {"distinct", "codes"}:
        raise ValueError("a column of values is neither a list nor distinct values with their places")
    distinct = column["distinct"]
    return [distinct[code] for code in column["codes"]]


def seal_tag() -> str:
    """Return the element that `sealed` fills in."""
    return f'<meta name="seal" content="{_UNSEALED}">'


def sealed(page: str) -> str:
    """Return the page with the sha256 of its own text, taken with 64 zeros in the seal's place."""
    return page.replace(seal_tag(), f'<meta name="seal" content="{_digest(page)}">', 1)


def seal_holds(page: str) -> bool:
    """Say whether not one character was changed since the page was sealed; line ends don't count."""
    found = _SEAL.search(page)
    if found is None:
        return False
    return found[1] == _digest(page[: found.start(1)] + _UNSEALED + page[found.end(1) :])


def _digest(page: str) -> str:
    lines = page.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()
