"""Which positions are computed together. A plan depends on lengths alone, so a resumed stage repeats a fresh one's."""

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], *, tokens: int, rows: int) -> tuple[tuple[int, ...], ...]:
    """Return batches of positions, longest first so that memory peaks in the first batch.

    lengths: tokens of each position, everything that the row will hold counted. tokens: most tokens of a batch,
    padding counted; a single longer row is a batch of its own. rows: most rows of a batch.
    """
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    batches: list[tuple[int, ...]] = []
    start = 0
    while start < len(order):
        widest = max(1, lengths[order[start]])
        size = max(1, min(rows, tokens // widest))
        batches.append(tuple(order[start : start + size]))
        start += size
    return tuple(batches)


def common_prefix(sequences: Sequence[tuple[int, ...]]) -> int:
    """Return how many leading tokens all `sequences` share, at most one fewer than the shortest has."""
    if not sequences:
        return 0
    # All sequences between the smallest and the largest share what these two share.
    low, high = min(sequences), max(sequences)
    shared = 0
    limit = min(len(sequence) for sequence in sequences) - 1
    while shared < limit and low[shared] == high[shared]:
        shared += 1
    return max(0, shared)
