"""Play every situation and write docs/measurements/verdicts.md: planted, expected, got."""

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.situations import REAL, SCRIPTED
from benchmarks.situations.situation import Got, Situation, played

PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "verdicts.md"
_LONGEST = 220
_HEAD = (
    "Each row plants one situation whose right verdict is known, runs the whole experiment, and shows what it said.",
    'Written by `python -m benchmarks.situations --write`; each row is a test too (`tests/situations/`). "error" is a',
    "run that stopped with one line that says what to mend. Rows under *On the real model* run SmolLM2-135M-Instruct,",
    "the others a scripted model, of which it is known what it knows.",
)


def main() -> int:
    """Return 0 where every situation came out as expected."""
    options = _options()
    rows: list[tuple[Situation, Got, float]] = []
    began = time.monotonic()
    for situation, got in chain(played(SCRIPTED, together=False), played(REAL, together=True)):
        rows.append((situation, got, time.monotonic() - began))
        began = time.monotonic()
        sys.stdout.write(
            f"{'as expected' if situation.holds(got) else 'OTHERWISE':<12}{situation.name}: {got.verdict}\n"
        )
        sys.stdout.flush()
    if options.write:
        PAGE.write_text("\n".join(_page(rows)) + "\n", encoding="utf-8")
        sys.stdout.write(f"wrote {PAGE}\n")
    return 0 if all(situation.holds(got) for situation, got, _ in rows) else 1


def _page(rows: list[tuple[Situation, Got, float]]) -> Iterator[str]:
    right = sum(situation.holds(got) for situation, got, _ in rows)
    yield "# Verdicts on planted situations"
    yield ""
    yield from _HEAD
    yield ""
    yield f"**{right} of {len(rows)} as expected**, in {sum(seconds for *_, seconds in rows):,.0f} s."
    for group in dict.fromkeys(situation.group for situation, *_ in rows):
        yield ""
        yield f"## {group}"
        yield ""
        yield "| situation | planted | expected | got | because |"
        yield "|---|---|---|---|---|"
        for situation, got, _ in rows:
            if situation.group == group:
                yield _row(situation, got)


def _row(situation: Situation, got: Got) -> str:
    mark = "" if situation.holds(got) else " **(otherwise)**"
    cells = (situation.name, situation.planted, situation.expected, f"{got.verdict}{mark}", _cut(got.reason))
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.situations",
        description=__doc__,
        epilog="example: python -m benchmarks.situations --write",
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
