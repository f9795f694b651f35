import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from harness.analysis.estimate import resampled
from harness.analysis.learning_curve import CurveStep, curve_lines, learning_curve, power_laws
from harness.errors import Incomparable
from harness.metrics.perplexity import Perplexity
from harness.metrics.preference import Preference
from harness.stats.compare import SystemScores, compare
from tests.analysis.scores import Loss, Right, scored

SIZES = (50, 100, 200, 400, 800)


def drawn(
    generator: np.random.Generator, shares: list[float], count: int = 400, alike: float = 0.6
) -> list[np.ndarray]:
    """Return right-or-wrong scores with these shares; `alike` of the samples are as hard for one as for all."""
    shared = generator.random(count)
    own = [np.where(generator.random(count) < alike, shared, generator.random(count)) for _ in shares]
    return [(luck < share).astype(float) for luck, share in zip(own, shares, strict=True)]


def steps_of(scores: list[np.ndarray], sizes: tuple[int, ...] = SIZES) -> list[CurveStep]:
    return [
        CurveStep(size / sizes[-1], size, scored("lora", values)) for size, values in zip(sizes, scores, strict=True)
    ]


def law(sizes: tuple[int, ...], ceiling: float, amplitude: float, exponent: float) -> list[float]:
    return [ceiling - amplitude * size**-exponent for size in sizes]


def test_a_power_law_without_noise_is_recovered():
    sizes = np.array(SIZES, dtype=float)
    fit = power_laws(sizes, np.array([law(SIZES, 0.9, 2.0, 0.4)]), most=1.0)
    assert float(fit.ceiling[0]) == pytest.approx(0.9, abs=0.01)
    assert float(fit.at(3200)[0]) == pytest.approx(0.9 - 2.0 * 3200**-0.4, abs=0.003)
    assert float(fit.reaching(np.array([0.72]))[0]) == pytest.approx((2.0 / 0.18) ** 2.5, rel=0.02)
    assert math.isinf(float(fit.reaching(np.array([0.95]))[0]))


def test_a_curve_never_falls_and_never_passes_its_bound():
    falling = power_laws(np.array([50.0, 100, 200]), np.array([[0.8, 0.7, 0.6]]), most=1.0)
    assert (float(falling.amplitude[0]), float(falling.ceiling[0])) == (0.0, pytest.approx(0.7))
    steep = power_laws(np.array([50.0, 100, 200]), np.array([[0.5, 0.75, 0.99]]), most=1.0)
    assert float(steep.at(1e9)[0]) <= 1.0


def test_a_line_is_the_least_squares_line_in_the_logarithm():
    fit = curve_lines(np.array([100.0, 1000.0]), np.array([[0.5, 0.6]]))
    assert float(fit.at(10_000)[0]) == pytest.approx(0.7)
    assert float(fit.reaching(np.array([0.65]))[0]) == pytest.approx(10**3.5)


def test_the_interval_of_a_planted_curve_covers_the_truth():
    generator = np.random.default_rng(11)
    needed, doubling = (2.0 / (0.9 - 0.72)) ** 2.5, 2.0 * (800**-0.4 - 1600**-0.4)
    hits = {"needed": 0, "doubling": 0}
    for _ in range(60):
        *scores, baseline = drawn(generator, [*law(SIZES, 0.9, 2.0, 0.4), 0.72])
        curve = learning_curve(Right(), baseline=scored("few-shot", baseline), steps=steps_of(scores), resamples=200)
        assert curve.examples_to_beat is not None
        assert curve.doubling is not None
        hits["needed"] += curve.examples_to_beat.low <= needed <= curve.examples_to_beat.high
        hits["doubling"] += curve.doubling.low <= doubling <= curve.doubling.high
    # 95 % of 60 less three Monte Carlo errors and the bias of a percentile interval.
    assert min(hits.values()) >= 51, hits


def test_a_flat_curve_never_reaches_a_better_baseline():
    *scores, baseline = drawn(np.random.default_rng(2), [0.5] * 5 + [0.8], alike=1.0)
    curve = learning_curve(Right(), baseline=scored("few-shot", baseline), steps=steps_of(scores), at_least=0.05)
    assert curve.examples_to_beat is not None
    assert math.isinf(curve.examples_to_beat.low)
    assert curve.doubling is not None
    assert (curve.doubling.value, curve.beats, curve.fell) == (0.0, "failed", False)
    assert "twice the data would bring +0.0 pts [+0.0, +0.0]" in curve.sentence
    assert (
        "it takes more than 80,000 examples to reach the baseline and more than 80,000 examples for +5.0 pts"
        in curve.sentence
    )


def test_a_baseline_beaten_by_the_smallest_fraction_is_said_so():
    *scores, baseline = drawn(np.random.default_rng(3), [*law(SIZES, 0.95, 2.0, 0.6), 0.2], alike=1.0)
    curve = learning_curve(Right(), baseline=scored("zero-shot", baseline), steps=steps_of(scores))
    assert curve.examples_to_beat is not None
    assert asdict(curve.examples_to_beat) == {"value": 50, "low": 50, "high": 50}
    assert curve.beats == "met"
    assert "it takes 50 examples or fewer to reach the baseline;" in curve.sentence


def test_a_curve_that_falls_says_so():
    *scores, baseline = drawn(np.random.default_rng(4), [0.6, 0.8, 0.8, 0.75, 0.5, 0.7])
    curve = learning_curve(Right(), baseline=scored("few-shot", baseline), steps=steps_of(scores))
    assert curve.fell
    assert "All the data scored worse than a fraction of them" in curve.sentence


def test_a_noisy_curve_is_wide_and_holds_its_own_value():
    *scores, baseline = drawn(np.random.default_rng(5), [0.5, 0.6, 0.55, 0.65, 0.6, 0.66], count=40)
    curve = learning_curve(Right(), baseline=scored("few-shot", baseline), steps=steps_of(scores))
    needed = curve.examples_to_beat
    assert needed is not None
    assert needed.low <= needed.value <= needed.high == math.inf
    assert all(point.low <= point.mean <= point.high for point in curve.drawn)


def test_two_points_are_a_weak_line_and_one_is_none():
    *scores, baseline = drawn(np.random.default_rng(6), [0.5, 0.6, 0.65])
    two = learning_curve(Right(), baseline=scored("b", baseline), steps=steps_of(scores, (100, 1000)))
    assert (two.form, two.ceiling, len(two.drawn)) == ("line", None, 40)
    assert "Two points are weak evidence" in two.sentence

    one = learning_curve(Right(), baseline=scored("b", baseline), steps=steps_of(scores[1:], (1000,)))
    assert (one.form, one.drawn, one.doubling, one.examples_to_beat) == ("none", (), None, None)
    assert "One point makes no curve" in one.sentence


def test_samples_of_one_group_foretell_nothing():
    grouped = [scored("x", [0.0, 1.0] * 10, groups=["g"] * 20) for _ in range(4)]
    steps = [CurveStep(size / 400, size, part) for size, part in zip((100, 200, 400), grouped, strict=False)]
    curve = learning_curve(Right(), baseline=grouped[-1], steps=steps)
    assert (curve.form, curve.doubling) == ("none", None)
    assert "All DEV samples are of one group: what more data would bring is unknown." in curve.sentence


def test_the_gain_and_the_points_are_those_of_the_comparison():
    *scores, baseline = drawn(np.random.default_rng(7), [*law(SIZES, 0.9, 2.0, 0.4), 0.6])
    curve = learning_curve(Right(), baseline=scored("b", baseline), steps=steps_of(scores)[::-1])
    found = compare(Right(), split="dev", baseline=scored("b", baseline), tuned=scored("lora", scores[-1]))
    assert asdict(curve.gain) == {"value": found.difference, "low": found.low, "high": found.high}
    assert [point.examples for point in curve.points] == list(SIZES)
    assert curve.points[-1].mean == found.tuned_mean


def test_lower_is_better_where_the_metric_says_so():
    generator = np.random.default_rng(8)
    noise = generator.normal(0, 0.3, 300)
    losses = [1.0 + 6.0 * size**-0.5 + noise + generator.normal(0, 0.05, 300) for size in SIZES]
    steps = [CurveStep(size / 800, size, scored("lora", loss)) for size, loss in zip(SIZES, losses, strict=True)]
    curve = learning_curve(Loss(), baseline=scored("b", 1.15 + noise), steps=steps, at_least=0.05)
    assert curve.amplitude is not None
    assert curve.amplitude < 0
    assert curve.doubling is not None
    assert curve.doubling.high < 0
    assert curve.examples_to_beat is not None
    assert curve.examples_to_beat.low <= 1600 <= curve.examples_to_beat.high
    assert "for -0.05" in curve.sentence


def test_a_metric_of_the_whole_set_is_recomputed_on_each_resample():
    generator = np.random.default_rng(9)
    tokens = generator.integers(3, 30, 200)

    def perplexities(mean: float) -> SystemScores:
        nats = tokens * (mean + generator.normal(0, 0.05, 200))
        details = tuple([float(total), int(units)] for total, units in zip(nats, tokens, strict=True))
        return scored("lora", nats / tokens, details=(details,))

    steps = [CurveStep(size / 800, size, perplexities(0.5 + 4 * size**-0.5)) for size in SIZES]
    curve = learning_curve(Perplexity(), baseline=perplexities(0.6), steps=steps)
    assert curve.points[-1].mean == pytest.approx(math.exp(0.5 + 4 * 800**-0.5), rel=0.02)
    assert curve.examples_to_beat is not None
    assert curve.examples_to_beat.low <= 1600 <= curve.examples_to_beat.high


def test_seeds_that_differ_widen_the_forecast_and_groups_are_drawn_whole():
    generator = np.random.default_rng(10)
    values = (generator.random(60) < 0.5).astype(float)
    one, many = scored("a", values), scored("a", np.stack([values, np.clip(values + 0.3, 0, 1), values * 0.7]))
    spreads = [resampled(Right(), [system], resamples=2000, seed=0).replicates[:, 0].std() for system in (one, many)]
    assert spreads[1] > 1.2 * spreads[0]

    doubled = scored("a", np.repeat(values, 2), groups=[f"g{place // 2}" for place in range(120)])
    twice = resampled(Right(), [doubled], resamples=2000, seed=0).replicates[:, 0].std()
    assert twice == pytest.approx(spreads[0], rel=0.1)


def test_a_fraction_trained_once_may_have_been_as_lucky_as_one_of_several_trainings():
    generator = np.random.default_rng(11)
    part, other, baseline = ((generator.random(400) < share).astype(float) for share in (0.5, 0.6, 0.3))
    whole = np.stack([np.clip(other + 0.1, 0, 1), other * 0.9])  # shape (2 seeds, 400)
    systems = [scored("part", part), scored("whole", whole), scored("b", baseline)]

    alone, among = (resampled(Right(), systems, resamples=4000, seed=0, tuned=tuned).replicates for tuned in (0, 2))

    apart = float(np.diff(whole.mean(axis=1))[0])  # of two trainings: their spread is |apart| / sqrt(2)
    assert among[:, 0].std() == pytest.approx(math.hypot(alone[:, 0].std(), apart / math.sqrt(2)), rel=0.05)
    assert among[:, 0].mean() == pytest.approx(part.mean(), abs=0.01)
    assert among[:, 2].std() == pytest.approx(alone[:, 2].std(), rel=0.05)  # the baseline was not trained


def test_luck_in_training_is_outside_the_curve_only_where_nothing_was_trained_twice():
    scores = [*drawn(np.random.default_rng(13), law(SIZES, 0.9, 2.0, 0.4))]
    once = steps_of(scores)
    twice = [*once[:-1], CurveStep(1.0, SIZES[-1], scored("lora", np.stack([scores[-1], 1 - scores[-1]])))]

    curves = [learning_curve(Right(), baseline=scored("b", scores[0]), steps=steps) for steps in (once, twice)]

    assert ["luck in training is not in these intervals" in curve.sentence for curve in curves] == [True, False]


def test_what_cannot_be_drawn_is_refused_with_the_reason():
    right = scored("b", [1.0, 0.0])
    with pytest.raises(Incomparable, match="compares two answers"):
        learning_curve(Preference(), baseline=right, steps=[CurveStep(1.0, 10, right)])
    with pytest.raises(Incomparable, match=r"different numbers of examples from 1 up, not \[10, 10\]"):
        learning_curve(Right(), baseline=right, steps=[CurveStep(0.5, 10, right), CurveStep(1.0, 10, right)])
    with pytest.raises(Incomparable, match="of 10 examples were scored on different samples"):
        learning_curve(Right(), baseline=right, steps=[CurveStep(1.0, 10, scored("lora", [1.0]))])


def test_a_curve_is_json():
    *scores, baseline = drawn(np.random.default_rng(12), [*law(SIZES, 0.9, 2.0, 0.4), 0.7])
    curve = learning_curve(Right(), baseline=scored("b", baseline), steps=steps_of(scores))
    assert json.loads(json.dumps(asdict(curve)))["points"][0]["examples"] == 50
