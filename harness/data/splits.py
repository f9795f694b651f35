"""Split by hash of a group key: the same on every machine, and a row never moves when others come or go."""

import hashlib
from collections.abc import Sequence

from harness.data.text_similarity import normalised
from harness.types.samples import Sample, Split

Fractions = tuple[float, float, float]


def split_of(key: str, *, fractions: Fractions, salt: str = "") -> Split:
    """Return the split of `key`: what sha256 of salt and key says, read as a number in [0, 1).

    Args:
        key: A group, or what stands for one.
        fractions: Of train, dev and holdout, summing to 1; sizes come out near them, not at them.
        salt: Another salt is another split.
    """
    place = _place(key, salt)
    train, dev, _ = fractions
    if place < train:
        return Split.TRAIN
    return Split.DEV if place < train + dev else Split.HOLDOUT


def split_samples(
    samples: Sequence[Sample], *, fractions: Fractions, salt: str = ""
) -> dict[Split, tuple[Sample, ...]]:
    """Return the samples of each split, in their order.

    Samples of one group stay together. One without a group stays with those of the same text (but for case,
    spacing and punctuation), so that a repeated row never lies on both sides.
    """
    chosen = [split_of(_key(sample), fractions=fractions, salt=salt) for sample in samples]
    return {
        split: tuple(sample for sample, its_split in zip(samples, chosen, strict=True) if its_split is split)
        for split in Split
    }


def take(samples: Sequence[Sample], limit: int | None) -> tuple[Sample, ...]:
    """Return at most `limit` samples in their order, drawn by hash of the id: sorted files give a fair draw too."""
    if limit is None or len(samples) <= limit:
        return tuple(samples)
    drawn = {sample.id for sample in sorted(samples, key=lambda sample: (_place(sample.id, "take"), sample.id))[:limit]}
    return tuple(sample for sample in samples if sample.id in drawn)


def _key(sample: Sample) -> str:
    return f"text:{normalised(sample.input)}" if sample.group is None else f"group:{sample.group}"


def _place(key: str, salt: str) -> float:
    digest = hashlib.sha256(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).digest()
    # 53 bits are what a float holds exactly, so 1.0 cannot come out.
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)
