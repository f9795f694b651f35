"""The samples that would decide are those with which the product's own interval does, whatever kind it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.analysis.sequential import always_valid, horizon_of
from harness.experiment.criteria import AtLeast, AtMost, Criterion, Finding, Gain, NoWorse
from harness.metrics import ExactMatch, MacroF1
from harness.stats.compare import Comparison, SystemScores, compare
from harness.types.protocols import FloatArray, Named

RIGHT = ExactMatch()


@dataclass(frozen=True)
class Characters:
    """A plain number a sample; of times, which come by batches, no interval is projected."""

    name: str = "characters"
    better: str = "lower"
    unit: str = ""


def scored(name: str, scores: Sequence[float] | FloatArray, groups: int = 0) -> SystemScores:
    values = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    n = values.shape[1]
    clusters = tuple(f"g{place * groups // n}" for place in range(n)) if groups else ()
    return SystemScores(name, tuple(map(str, range(n))), values, clusters=clusters)


def compared(
    before: Sequence[float] | FloatArray, after: Sequence[float] | FloatArray, metric: Named = RIGHT, groups: int = 0
) -> Comparison:
    sides = scored("before", before, groups), scored("after", after, groups)
    return compare(metric, split="holdout", baseline=sides[0], tuned=sides[1])


def decided(rule: Criterion, before: Sequence[float] | FloatArray, after: Sequence[float] | FloatArray) -> bool:
    return rule.judge([compared(before, after)]).status != "open"


@pytest.mark.parametrize("seen", [7, 40, 100])
def test_where_no_difference_was_seen_the_count_does_not_hang_on_how_many_were(seen: int) -> None:
    rule = NoWorse(RIGHT, by_at_most=0.02)
    found = rule.judge([compared([1.0] * seen, [1.0] * seen)])

    assert (found.status, found.needed_samples) == ("open", 137)
    assert found.sentence.endswith(
        "about 137 holdout samples would decide, if they show the same difference and spread."
    )
    assert decided(rule, [1.0] * 137, [1.0] * 137)
    assert not decided(rule, [1.0] * 136, [1.0] * 136)


@given(
    both=st.integers(0, 60),
    lost=st.integers(0, 12),
    gained=st.integers(0, 12),
    at_least=st.sampled_from([0.0, 0.03, 0.1]),
)
def test_so_many_right_or_wrong_answers_decide_and_four_fifths_do_not(
    both: int, lost: int, gained: int, at_least: float
) -> None:
    before = np.repeat([1.0, 1.0, 0.0], [both, lost, gained])
    after = np.repeat([1.0, 0.0, 1.0], [both, lost, gained])
    assume(before.size > 0)
    comparison = compared(before, after)
    found = Gain(RIGHT, at_least).judge([comparison])
    assume(found.status == "open" and found.needed_samples is not None and found.needed_samples < 20_000)
    needed = found.needed_samples
    assert needed is not None
    assert needed > before.size
    assert comparison.projection is not None

    def status(samples: int) -> str:
        interval = comparison.projection.difference(samples)  # type: ignore[union-attr]
        return "open" if interval.low <= at_least <= interval.high else "decided"

    assert status(needed) == "decided"
    fewer = int(0.8 * needed)
    assert fewer <= before.size or status(fewer) == "open"


def _drawn(seed: int, size: int) -> np.random.Generator:
    return np.random.default_rng([seed, size])


def _shares() -> Comparison:
    drawn = _drawn(1, 60)
    before = drawn.random(60)
    return compared(before, np.clip(before + 0.04 + drawn.normal(0, 0.3, 60), 0, 1))


def _numbers() -> Comparison:
    drawn = _drawn(3, 60)
    return compared(drawn.lognormal(size=60) + 0.5, drawn.lognormal(size=60), Characters())


def _groups() -> Comparison:
    return compared(np.repeat([1.0, 0.0], [60, 140]), np.repeat([1.0, 0.0], [120, 80]), groups=10)


def _labels() -> Comparison:
    gold = [str(place % 4) for place in range(80)]
    sides = []
    for name, right in (("before", 40), ("after", 46)):
        said = [label if place < right else "none" for place, label in enumerate(gold)]
        hits = np.array([[float(label == word) for label, word in zip(gold, said, strict=True)]])
        details = (tuple([label, word] for label, word in zip(gold, said, strict=True)),)
        sides.append(SystemScores(name, tuple(map(str, range(80))), hits, details=details))
    return compare(MacroF1(), split="holdout", baseline=sides[0], tuned=sides[1])


def _looked_at() -> Comparison:
    sides = scored("before", np.arange(80) % 2), scored("after", (np.arange(80) % 2) + (np.arange(80) % 20 == 0))
    plain = compare(RIGHT, split="holdout", baseline=sides[0], tuned=sides[1])
    return always_valid(plain, baseline=sides[0], tuned=sides[1], horizon=horizon_of([None] * 80))


@pytest.mark.parametrize(
    ("comparison", "rule"),
    [
        (_shares(), Gain(RIGHT, 0.0)),
        (_numbers(), Gain(Characters(), 0.0)),
        (_numbers(), AtMost(Characters(), 1.8)),
        (_groups(), Gain(RIGHT, 0.05)),
        (_groups(), AtLeast(RIGHT, 0.5)),
        (_labels(), Gain(MacroF1(), 0.08)),
        (_labels(), AtLeast(MacroF1(), 0.68)),
        (_looked_at(), Gain(RIGHT, 0.0)),
    ],
)
def test_every_kind_of_interval_decides_with_the_samples_it_names(comparison: Comparison, rule: Criterion) -> None:
    found: Finding = rule.judge([comparison])
    assert found.status == "open"
    assert found.needed_samples is not None
    assert found.needed_samples > comparison.samples
    projection = comparison.projection
    assert projection is not None
    units = round(found.needed_samples * projection.units / projection.samples)
    at = projection.own if isinstance(rule, AtLeast | AtMost) else projection.difference
    interval, near = at(units), at(int(0.7 * units))

    assert not interval.low < found.threshold < interval.high
    assert near.low < found.threshold < near.high


def test_groups_are_named_beside_the_samples() -> None:
    found = Gain(RIGHT, 0.05).judge([_groups()])

    assert "n = 10 groups of 200 samples" in found.sentence
    assert "about 440 holdout samples in 22 groups would decide" in found.sentence
