"""What `harness data check FILE` says: is this file a data set, and what should be known before tuning on it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harness.data.files import read_rows
from harness.data.formats import Columns, detect_format, to_sample
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
    yield _advice(len(samples))


def _advice(rows: int) -> str:
    if rows < _FLOOR:
        return f"size: too few; {_FLOOR} rows are the floor, {_EFFECT} to 100 let an effect be seen"
    if rows < _EFFECT:
        return f"size: small; {_EFFECT} to 100 rows let an effect be seen"
    return "size: enough to begin with; a holdout of 200 or more decides differences of several points"
