"""docs/measurements/benchmarks.md and its chart, from the rows that benchmarks.json beside it keeps a section."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.chart import draw
from benchmarks.row import Row
from benchmarks.setting import version

PAGE = Path("docs/measurements/benchmarks.md")
CHART = Path("docs/measurements/benchmarks.svg")
KEPT = Path("docs/measurements/benchmarks.json")

_HEAD = "| work | against | ours | theirs | times faster | target | equal |\n|---|---|---|---|---|---|---|"


def keep(section: str, rows: Iterable[Row]) -> None:
    """Put `rows` in the place of what was measured for `section` before, and write page and chart anew."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    kept[section] = {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "rows": [asdict(row) for row in rows],
    }
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(kept), encoding="utf-8")
    CHART.write_text(draw([row for found in kept.values() for row in rows_of(found)]), encoding="utf-8")


def machine() -> str:
    packages = ", ".join(version(name) for name in ("torch", "transformers", "lm-eval"))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    return (
        f"{device}, {platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"{packages}"
    )


def rows_of(section: Mapping[str, Any]) -> list[Row]:
    return [Row(**{**row, "ours": tuple(row["ours"]), "theirs": tuple(row["theirs"])}) for row in section["rows"]]


def page(kept: Mapping[str, Any]) -> str:
    """Return docs/measurements/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`, SmolLM2-135M-Instruct. In each row ours and theirs are measured in one run, one",
        "after the other; the spread is over the repeats. Read the ratios: seconds are the machine's.",
        "",
        "![How many times faster](benchmarks.svg)",
    ]
    for name, section in kept.items():
        lines += ["", f"## {name}", "", f"{section['measured']}: {section['machine']}.", "", _HEAD]
        rows = rows_of(section)
        lines += [line(row) for row in rows]
        notes = [f"- {row.work}: {row.note}" for row in rows if row.note]
        lines += ["", *notes] if notes else []
    return "\n".join([*lines, ""])


def line(row: Row) -> str:
    """Return the row as one line of a Markdown table."""
    low, high = row.ratios[0], row.ratios[-1]
    spread = number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"
    target = "" if row.target is None else f"{number(row.target)}: {'met' if row.met else 'missed'}"
    cells = (row.work, row.against, seconds(min(row.ours)), seconds(min(row.theirs)), spread, target, row.equal)
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}" if value >= 1 else f"{value:.2f}"


def seconds(value: float) -> str:
    return f"{value * 1000:.2g} ms" if value < 0.1 else f"{value:.0f} s" if value >= 100 else f"{value:.2g} s"
