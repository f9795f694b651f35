"""Bars of how many times faster, on a logarithmic axis, each with its target."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.row import Row

_WIDTH, _LABELS, _ROW, _TOP = 1000, 430, 26, 34
_LONGEST = 56  # characters of a label
_DECADES = (0.1, 1, 10, 100, 1000)


def draw(rows: Sequence[Row]) -> str:
    """Return an SVG of the rows' median ratios."""
    height = _TOP + _ROW * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>How many times faster than the reference package</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LABELS}" y="16" fill="#444">times faster than the reference; the tick is the target</text>',
    ]
    for value in _DECADES:
        x = _at(value)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{_TOP - 8}" y2="{height - 24}" stroke="#{"999" if value == 1 else "ddd"}"/>'
        )
        parts.append(f'<text x="{x}" y="{height - 8}" text-anchor="middle" fill="#444">{value:g}</text>')
    for place, row in enumerate(rows):
        parts += _bar(row, _TOP + _ROW * place)
    return "\n".join([*parts, "</svg>", ""])


def _bar(row: Row, y: int) -> list[str]:
    start, end = sorted((_at(1), _at(row.ratio)))
    colour = "#b3541e" if row.met is False else "#2b6cb0"
    label = row.work if len(row.work) <= _LONGEST else row.work[: _LONGEST - 1] + "…"
    drawn = [
        f'<text x="{_LABELS - 10}" y="{y + 15}" text-anchor="end" fill="#222">{escape(label)}</text>',
        f'<rect x="{start}" y="{y + 4}" width="{max(1, end - start):.1f}" height="{_ROW - 10}" fill="{colour}"/>',
        f'<text x="{end + 6}" y="{y + 15}" fill="#222">{row.ratio:.3g}</text>',
    ]
    if row.target is not None:
        x = _at(row.target)
        drawn.append(f'<line x1="{x}" x2="{x}" y1="{y + 1}" y2="{y + _ROW - 4}" stroke="#111" stroke-width="2"/>')
    return drawn


def _at(value: float) -> float:
    low, high = math.log10(_DECADES[0]), math.log10(_DECADES[-1])
    place = (math.log10(max(value, _DECADES[0])) - low) / (high - low)
    return round(_LABELS + min(place, 1.05) * (_WIDTH - _LABELS - 60), 1)
