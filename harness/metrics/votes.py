"""People's votes on pairs of answers, read from a file."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InvalidData
from harness.samples import Score

_WORTH = {"tuned": 1.0, "tie": 0.5, "baseline": 0.0}
_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Ballots:
    """Votes by sample: how many said tuned, baseline and tie."""

    source: str
    votes: Mapping[str, Mapping[str, int]]

    def score(self, sample_id: str) -> Score:
        """Return the mean vote with the counts in detail. Raises InvalidData for a sample without a vote."""
        self.check([sample_id])
        counts = self.votes[sample_id]
        value = sum(_WORTH[winner] * count for winner, count in counts.items()) / sum(counts.values())
        return Score(value, detail={winner: counts.get(winner, 0) for winner in ("tuned", "baseline", "tie")})

    def check(self, sample_ids: Sequence[str]) -> None:
        """Raise InvalidData that counts and names the samples nobody voted on."""
        missing = [sample_id for sample_id in sample_ids if sample_id not in self.votes]
        if not missing:
            return
        named = ", ".join(missing[:_NAMED_AT_MOST]) + (", ..." if len(missing) > _NAMED_AT_MOST else "")
        raise InvalidData(
            f"{self.source} has no vote on {len(missing)} of {len(sample_ids)} samples ({named}); "
            "collect the missing votes"
        )


def read_votes(path: Path) -> Ballots:
    """Read a CSV file with header, or a JSONL file: `sample_id` and `winner` a row; other columns are ignored.

    Raises InvalidData naming file, row (the first row of data is 1) and field.
    """
    votes: dict[str, Counter[str]] = {}
    for number, row in enumerate(_rows(path), start=1):
        sample_id, winner = (_field(path, number, row, name) for name in ("sample_id", "winner"))
        if winner not in _WORTH:
            raise InvalidData(f"{path}, row {number}: winner is {winner!r}; write tuned, baseline or tie")
        votes.setdefault(sample_id, Counter())[winner] += 1
    return Ballots(str(path), votes)


def _rows(path: Path) -> Iterator[Mapping[str, object]]:
    # utf-8-sig: spreadsheets write a byte order mark, which would otherwise be part of the first column's name.
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(f"{path} cannot be read as UTF-8 text: {error}") from error
    if path.suffix == ".csv":
        yield from csv.DictReader(io.StringIO(text, newline=""))
        return
    lines = (line for line in text.split("\n") if line.strip())
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidData(f"{path}, row {number}: not JSON ({error}); write one object a line") from error
        if not isinstance(row, dict):
            raise InvalidData(f"{path}, row {number}: {line[:40]!r} is not an object with sample_id and winner")
        yield row


def _field(path: Path, number: int, row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if value is None or not str(value).strip():
        raise InvalidData(f"{path}, row {number}: {name} is missing; every row has sample_id and winner")
    return str(value).strip()
