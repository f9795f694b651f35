"""What `harness data check FILE` says: is this file a data set, and what should be known before tuning on it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.data.files import Row, read_rows
from harness.data.formats import Columns, detect_format, to_sample
from harness.data.preferences import voted_of
from harness.data.similarity import normalised

# Fewer teach nothing; an effect shows from about here; published guides agree on the orders of magnitude.
_FLOOR, _EFFECT = 10, 50


def check_file(path: Path) -> Iterator[str]:
    """Yield one line a finding.

    Raises InvalidData naming file, row and field at the first row that is not as the first one.
    """
    rows = read_rows(path)
    columns = Columns()
    kind = detect_format(rows[0], columns)
    if kind == "labelled":
        yield from _votes(path, rows)
        return
    samples = [to_sample(row, kind, columns) for row in rows]
    yield f"{path}: {len(samples):,} rows, format {kind}"
    characters = sorted(len(sample.input) + len(sample.reference) for sample in samples)
    yield f"lengths: {characters[len(characters) // 2]:,} characters at the median, {characters[-1]:,} at most"
    texts = Counter(normalised(sample.input) for sample in samples)
    repeated = sum(count - 1 for count in texts.values())
    yield f"duplicates: {repeated:,} rows repeat an earlier input" + (" (take them out)" if repeated else "")
    answers: dict[str, set[str]] = {}
    for sample in samples:
        answers.setdefault(normalised(sample.input), set()).add(sample.reference.strip())
    conflicts = [text for text, found in answers.items() if len(found) > 1]
    yield f"conflicts: {len(conflicts):,} inputs have more than one answer" + (
        f", first {conflicts[0][:60]!r}" if conflicts else ""
    )
    if kind == "preference":
        same = sum(sample.reference == sample.rejected for sample in samples)
        yield f"pairs: {same:,} of {len(samples):,} have two equal answers" + (
            " (take them out: they prefer nothing)" if same else ""
        )
    yield _advice(len(samples))


def _votes(path: Path, rows: Sequence[Row]) -> Iterator[str]:
    votes = [voted_of(row) for row in rows]
    yield f"{path}: {len(votes):,} rows, format labelled"
    characters = sorted(len(vote.text) + len(vote.answer) for vote in votes)
    yield f"lengths: {characters[len(characters) // 2]:,} characters at the median, {characters[-1]:,} at most"
    good = sum(vote.good for vote in votes)
    bad, prompts = len(votes) - good, len({normalised(vote.text) for vote in votes})
    yield f"votes: {good:,} good and {bad:,} bad answers to {prompts:,} prompts" + _weights(good, bad)
    yield _advice(len(votes))


def _weights(good: int, bad: int) -> str:
    if not good or not bad:
        return " (nothing tells what is wanted from what is not)"
    if good == bad:
        return ""
    rarer, ratio = ("desirable", bad / good) if good < bad else ("undesirable", good / bad)
    return f"; weigh them with {rarer}_weight={ratio:.3g}"


def _advice(rows: int) -> str:
    if rows < _FLOOR:
        return f"size: too few; {_FLOOR} rows are the floor, {_EFFECT} to 100 let an effect be seen"
    if rows < _EFFECT:
        return f"size: small; {_EFFECT} to 100 rows let an effect be seen"
    return "size: enough to begin with; a holdout of 200 or more decides differences of several points"
