import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from harness.errors import Incomparable
from harness.metrics.usage import Latency
from harness.stats.compare import Comparison, SystemScores, compare, standing
from harness.stats.intervals import clustered_interval, paired_interval, seed_interval, seed_p
from harness.stats.paired_tests import bonett_price_interval, conditional_interval, mcnemar_p, paired_p, wilson_interval
from harness.stats.seeds import average_repeats
from harness.types.protocols import Direction
from harness.types.samples import Answer, Sample, Score
from tests.analysis.scores import Right, Seconds

ONE_SEED = "one seed: training variance was not measured"


@dataclass(frozen=True)
class MeanLoss:
    """exp of the weighted mean of the details: a metric of the set that is no mean of scores."""

    name: str = "exp_loss"
    better: Direction = "lower"

    def score(self, sample: Sample, answer: Answer) -> Score:
        raise NotImplementedError

    def statistic(self, details: Sequence[object], weights: np.ndarray) -> np.ndarray:
        losses = np.array(details, dtype=float)
        return np.exp(weights @ losses / weights.sum(axis=1))


@dataclass(frozen=True)
class ShareSquared(MeanLoss):
    """The square of the share that is right: bounded, and no mean."""

    name: str = "share_squared"
    better: Direction = "higher"

    def statistic(self, details: Sequence[object], weights: np.ndarray) -> np.ndarray:
        return (weights @ np.array(details, dtype=float) / weights.sum(axis=1)) ** 2


def scored(system: str, scores: object, groups: Sequence[str | None] = ()) -> SystemScores:
    values = np.atleast_2d(np.asarray(scores, dtype=float))
    details = tuple(tuple(float(score) for score in row) for row in values)
    return SystemScores(system, tuple(f"s{place}" for place in range(values.shape[1])), values, details, tuple(groups))


def holdout(metric: object, baseline: SystemScores, tuned: SystemScores) -> Comparison:
    return compare(metric, split="holdout", baseline=baseline, tuned=tuned)  # type: ignore[arg-type]


def pairs(lost: int, gained: int, n: int) -> tuple[SystemScores, SystemScores]:
    ties = n - lost - gained
    baseline = [1] * lost + [0] * gained + [0, 1] * (ties // 2) + [1] * (ties % 2)
    tuned = [0] * lost + [1] * gained + [0, 1] * (ties // 2) + [1] * (ties % 2)
    return scored("few_shot", baseline), scored("lora", tuned)


def bounds(comparison: Comparison) -> tuple[float, float]:
    return comparison.low, comparison.high


def test_many_right_or_wrong_answers_get_the_t_interval_and_the_exact_test() -> None:
    baseline, tuned = pairs(15, 35, 500)
    found = holdout(Right(), baseline, tuned)
    differences = tuned.scores[0] - baseline.scores[0]
    t = paired_interval(differences)
    before = wilson_interval(240 / 500, 500)
    after = wilson_interval(260 / 500, 500)
    assert found == Comparison(
        metric="right",
        better="higher",
        split="holdout",
        baseline="few_shot",
        tuned="lora",
        baseline_mean=0.48,
        baseline_low=before.low,
        baseline_high=before.high,
        tuned_mean=0.52,
        tuned_low=after.low,
        tuned_high=after.high,
        difference=0.04,
        low=t.low,
        high=t.high,
        p_value=mcnemar_p(15, 35),
        samples=500,
        seeds=1,
        spread=pytest.approx(differences.std(ddof=1)),  # type: ignore[arg-type]
        method="t interval, 500 samples; McNemar's exact test",
        notes=(ONE_SEED,),
        unit="%",
        seed_spread=0.0,
    )


@pytest.mark.parametrize(("lost", "gained", "n"), [(4, 24, 150), (0, 8, 400)])
def test_few_samples_or_few_discordant_pairs_get_bonett_price(lost: int, gained: int, n: int) -> None:
    baseline, tuned = pairs(lost, gained, n)
    found = holdout(Right(), baseline, tuned)
    expected = bonett_price_interval(tuned.scores[0] - baseline.scores[0])
    assert bounds(found) == (expected.low, expected.high)
    assert found.method == f"Bonett-Price interval, {n} samples; McNemar's exact test"


def test_an_interval_never_excludes_0_where_the_exact_test_does_not() -> None:
    baseline, tuned = pairs(0, 5, 20)
    assert bonett_price_interval(tuned.scores[0] - baseline.scores[0]).low + 0.01 > 0
    for lost, gained, n in [(0, 5, 20), (0, 5, 5), (2, 9, 60), (1, 7, 30), (15, 28, 250), (14, 27, 400)]:
        found = holdout(Right(), *pairs(lost, gained, n))
        assert (found.low <= 0 <= found.high) == (found.p_value > 0.05)


def test_where_they_disagree_the_bound_is_that_of_the_exact_test() -> None:
    baseline, tuned = pairs(0, 5, 5)
    found = holdout(Right(), baseline, tuned)
    assert bounds(found) == (conditional_interval(0, 5, 5).low, 1.0)
    assert found.notes == (
        "the exact test does not exclude 0 (p = 0.062): the interval is widened to its bound",
        ONE_SEED,
    )


def test_two_systems_without_a_failure_still_leave_doubt() -> None:
    found = holdout(Right(), scored("a", [1] * 250), scored("b", [1] * 250))
    assert found.low < 0 < found.high
    assert found.baseline_low < 1.0
    assert found.tuned_low == wilson_interval(1.0, 250).low
    assert found.p_value == 1.0


def test_identical_systems_with_several_seeds_still_leave_doubt() -> None:
    found = holdout(Right(), scored("a", [1] * 250), scored("b", [[1] * 250] * 3))
    assert found.low < 0 < found.high
    assert found.tuned_low < 1.0


def test_the_score_of_a_sample_is_its_mean_over_seeds() -> None:
    generator = np.random.default_rng(1)
    baseline = scored("a", generator.random(400))
    once = generator.random(400)
    tuned = scored("b", np.stack([once, 1 - once, once]))
    found = holdout(Right(), baseline, tuned)
    items = tuned.scores.mean(axis=0) - baseline.scores[0]
    expected = paired_interval(items).hull(seed_interval(tuned.scores.mean(axis=1), baseline.scores.mean(axis=1)))
    assert found.difference == pytest.approx(items.mean())
    assert bounds(found) == pytest.approx((expected.low, expected.high))
    assert (found.p_value > paired_p(items), found.samples, found.seeds) == (True, 400, 3)
    assert ONE_SEED not in found.notes


def test_seeds_that_disagree_widen_the_interval() -> None:
    base = np.tile([0.3, 0.7], 300)
    noise = np.repeat(np.linspace(-0.1, 0.1, 300), 2)
    tuned = np.stack([base + noise + shift for shift in (0.01, 0.10, 0.19)])
    found = holdout(Right(), scored("a", base), scored("b", tuned))
    expected = seed_interval(np.array([0.01, 0.10, 0.19]))
    assert bounds(found) == pytest.approx((expected.low, expected.high))
    assert found.seed_spread == pytest.approx(0.09)
    assert found.p_value == pytest.approx(seed_p(np.array([0.01, 0.10, 0.19]), np.zeros(1)))
    assert found.notes == ("the 3 seeds differ more than the samples explain: the interval is widened to theirs",)
    assert found.method == "t interval, 600 samples; paired t test; at least the t interval of 3 seeds"


def test_samples_of_one_group_count_together() -> None:
    generator = np.random.default_rng(2)
    groups = [f"g{place // 10}" for place in range(400)]
    shift = np.repeat(generator.normal(0.05, 0.1, 40), 10)
    base = generator.uniform(0.3, 0.6, 400)
    found = holdout(Right(), scored("a", base, groups), scored("b", base + shift, groups))
    expected = clustered_interval(shift, np.repeat(np.arange(40), 10))
    assert bounds(found) == pytest.approx((expected.low, expected.high))
    assert found.method == "clustered t interval, 40 groups of 400 samples; clustered t test"
    assert found.spread > 2 * shift.std()


def test_few_groups_are_tested_by_flipping_signs() -> None:
    groups = [f"g{place // 4}" for place in range(32)]
    base = np.full(32, 0.5)
    gains = np.repeat([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.2, 0.3], 4)
    found = holdout(Right(), scored("a", base, groups), scored("b", base + gains, groups))
    assert found.p_value == 2 / 2**8
    assert found.method == "clustered t interval, 8 groups of 32 samples; sign-flip test of groups"


def test_groups_of_one_sample_each_are_no_clusters() -> None:
    baseline, tuned = pairs(15, 35, 500)
    groups = [None if place % 2 else f"g{place}" for place in range(500)]
    grouped = holdout(Right(), scored("few_shot", baseline.scores, groups), scored("lora", tuned.scores, groups))
    assert grouped == holdout(Right(), baseline, tuned)


def test_a_single_group_says_nothing() -> None:
    found = holdout(Seconds(), scored("a", [1, 2, 3.0], ["g"] * 3), scored("b", [2, 3, 5.0], ["g"] * 3))
    assert bounds(found) == (-math.inf, math.inf)
    assert found.notes[0] == "only 1 group: the next one may differ"


def test_no_failure_in_groups_still_leaves_doubt() -> None:
    groups = [f"g{place // 5}" for place in range(200)]
    found = holdout(Right(), scored("a", [1] * 200, groups), scored("b", [1] * 200, groups))
    assert found.low < 0 < found.high
    assert found.tuned_low == wilson_interval(1.0, 40).low


def test_times_are_bootstrapped_and_keep_their_unit() -> None:
    generator = np.random.default_rng(3)
    slow, fast = generator.lognormal(0, 1, 120), generator.lognormal(-0.5, 1, 120)
    found = holdout(Seconds(), scored("a", slow), scored("b", fast))
    assert found.method == "wider of BCa bootstrap and t, 120 samples; paired t test"
    assert found.unit == "s"
    assert found.low < found.difference < found.high
    assert found == holdout(Seconds(), scored("a", slow), scored("b", fast))


def test_the_interval_of_times_is_at_least_the_t_interval_and_of_one_system_never_below_0() -> None:
    rng = np.random.default_rng(11)
    slow, fast = rng.lognormal(0, 1.5, 25), rng.lognormal(-0.5, 1.5, 25)
    fast[0] = 60.0
    found, t = holdout(Seconds(), scored("a", slow), scored("b", fast)), paired_interval(fast - slow)
    assert found.low <= t.low * 0.97
    assert found.high >= t.high * 0.97
    assert paired_interval(fast).low < 0 <= found.tuned_low
    assert found.tuned_high >= paired_interval(fast).high * 0.97


def test_a_corpus_metric_is_recomputed_on_each_resample() -> None:
    generator = np.random.default_rng(4)
    before = generator.gamma(2, 0.4, 300)
    after = before * 0.8
    found = holdout(MeanLoss(), scored("a", before), scored("b", after))
    assert found.baseline_mean == pytest.approx(math.exp(before.mean()))
    assert found.difference == pytest.approx(math.exp(after.mean()) - math.exp(before.mean()))
    # Paired draws: the difference is far surer than either perplexity.
    assert found.high - found.low < (found.baseline_high - found.baseline_low) / 2
    assert found.p_value == pytest.approx(paired_p(after - before))
    assert (found.method, found.unit) == ("wider of BCa bootstrap and t, 300 samples; paired t test of the scores", "")


def test_a_corpus_metric_of_right_or_wrong_is_tested_by_swapping_the_systems() -> None:
    baseline, tuned = pairs(15, 35, 300)
    found = holdout(ShareSquared(), baseline, tuned)
    assert found.difference == pytest.approx((160 / 300) ** 2 - (140 / 300) ** 2)
    assert found.p_value == pytest.approx(mcnemar_p(15, 35), abs=0.004)
    assert found.method == "wider of BCa bootstrap and t, 300 samples; swap test of the metric"
    assert found.unit == "%"


def test_a_perfect_corpus_metric_still_leaves_doubt() -> None:
    found = holdout(ShareSquared(), scored("a", [1] * 100), scored("b", [1] * 100))
    assert found.low < 0 < found.high
    assert found.tuned_low < 1


@pytest.mark.parametrize("metric", [Right(), ShareSquared(), MeanLoss()])
def test_swapping_the_systems_negates_the_difference(metric: object) -> None:
    baseline, tuned = pairs(5, 12, 120)
    forth, back = holdout(metric, baseline, tuned), holdout(metric, tuned, baseline)
    assert forth.difference == pytest.approx(-back.difference)
    assert bounds(forth) == pytest.approx((-back.high, -back.low), abs=0.002)
    assert forth.p_value == pytest.approx(back.p_value)


unhurried = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
right_or_wrong = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=60)
shares = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=40)


@unhurried
@given(st.one_of(right_or_wrong, shares), st.booleans())
def test_whatever_the_scores_swapping_the_systems_mirrors_everything(
    rows: list[tuple[float, float]], grouped: bool
) -> None:
    groups = [f"g{place % 9}" for place in range(len(rows))] if grouped else []
    old, new = (scored(name, [row[side] for row in rows], groups) for side, name in enumerate("ab"))
    forth, back = holdout(Right(), old, new), holdout(Right(), new, old)
    assert bounds(forth) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert forth.p_value == pytest.approx(back.p_value, abs=1e-9)
    assert (forth.tuned_mean, forth.tuned_low, forth.tuned_high) == (
        back.baseline_mean,
        back.baseline_low,
        back.baseline_high,
    )
    assert forth.low - 1e-12 <= forth.difference <= forth.high + 1e-12
    assert forth.tuned_low - 1e-12 <= forth.tuned_mean <= forth.tuned_high + 1e-12


@unhurried
@given(st.one_of(right_or_wrong, shares))
def test_a_system_against_itself_is_never_better(rows: list[tuple[float, float]]) -> None:
    system = scored("a", [row[0] for row in rows])
    found = holdout(Right(), system, system)
    assert found.low <= 0 <= found.high
    assert found.p_value == 1.0


@unhurried
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8), st.integers(2, 4))
def test_copies_of_each_sample_in_its_group_add_nothing(rows: list[tuple[float, float]], copies: int) -> None:
    names = [f"g{place}" for place in range(len(rows))]
    old, new = ([row[side] for row in rows] for side in (0, 1))
    spread = float(np.std(np.array(new) - np.array(old)))
    assume(spread > 1e-3)
    once = clustered_interval(np.array(new) - np.array(old), np.arange(len(rows)))
    found = holdout(
        Right(),
        scored("a", np.repeat(old, copies), np.repeat(names, copies).tolist()),
        scored("b", np.repeat(new, copies), np.repeat(names, copies).tolist()),
    )
    assert found.low <= max(once.low, -1) + 1e-9
    assert found.high >= min(once.high, 1) - 1e-9


@unhurried
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 40), st.integers(1, 40))
def test_more_ties_leave_the_p_value_as_it_is(lost: int, gained: int, ties: int, more: int) -> None:
    assume(lost + gained + ties > 0)
    few, many = pairs(lost, gained, lost + gained + ties), pairs(lost, gained, lost + gained + ties + more)
    assert holdout(Right(), *few).p_value == holdout(Right(), *many).p_value


def test_repeats_of_an_answer_never_raise_n() -> None:
    repeats = np.random.default_rng(12).integers(0, 2, size=(5, 80)).astype(float)
    baseline = scored("a", np.random.default_rng(13).integers(0, 2, size=80))
    found = holdout(Right(), baseline, scored("b", average_repeats(repeats)))
    assert (found.samples, found.seeds) == (80, 1)
    same = holdout(Right(), baseline, scored("b", average_repeats(np.tile(repeats, (3, 1)))))
    assert bounds(same) == pytest.approx(bounds(found))


LEVEL = 0.99


def test_every_interval_is_at_the_level_that_was_asked_for() -> None:
    (baseline, tuned), rng = pairs(15, 35, 500), np.random.default_rng(8)
    found = compare(Right(), split="holdout", baseline=baseline, tuned=tuned, level=LEVEL)
    t = paired_interval(tuned.scores[0] - baseline.scores[0], level=LEVEL)
    before, after = wilson_interval(0.48, 500, level=LEVEL), wilson_interval(0.52, 500, level=LEVEL)
    assert bounds(found) == (t.low, t.high)
    assert (found.baseline_low, found.baseline_high) == (before.low, before.high)
    assert (found.tuned_low, found.tuned_high, found.level) == (after.low, after.high, LEVEL)
    assert found.method == "t interval, 500 samples; McNemar's exact test; 99 % confidence"
    pairs_of_kinds = [
        (Right(), scored("a", rng.random(40)), scored("b", rng.random((3, 40)))),
        (Seconds(), scored("a", rng.gamma(2, 1, 40)), scored("b", rng.gamma(2, 1, 40))),
        (MeanLoss(), scored("a", rng.random(40)), scored("b", rng.random(40))),
        (Right(), scored("a", rng.random(80), ["g", "h"] * 40), scored("b", rng.random(80), ["g", "h"] * 40)),
        (Right(), scored("a", [1] * 30), scored("b", [1] * 30)),
    ]
    for metric, old, new in pairs_of_kinds:
        usual = holdout(metric, old, new)
        wider = compare(metric, split="holdout", baseline=old, tuned=new, level=LEVEL)  # type: ignore[arg-type]
        assert wider.low < usual.low < usual.high < wider.high
        assert wider.tuned_high - wider.tuned_low > usual.tuned_high - usual.tuned_low
        own = standing(metric, split="holdout", system=new, level=LEVEL)  # type: ignore[arg-type]
        assert (own.tuned_low, own.tuned_high, own.level) == (wider.tuned_low, wider.tuned_high, LEVEL)


def test_the_exact_test_decides_at_the_level_that_was_asked_for() -> None:
    for lost, gained, n in [(0, 5, 20), (0, 7, 20), (0, 8, 20), (1, 11, 60), (2, 9, 60), (15, 33, 250), (14, 31, 400)]:
        baseline, tuned = pairs(lost, gained, n)
        found = compare(Right(), split="holdout", baseline=baseline, tuned=tuned, level=LEVEL)
        assert (found.low <= 0 <= found.high) == (found.p_value > 1 - LEVEL)


def test_groups_too_few_to_reject_at_a_strict_level_are_not_left_to_the_sign_flips() -> None:
    groups = [f"g{place // 4}" for place in range(28)]  # Seven groups: 2 / 2^7 is below 0.05 and above 0.01.
    rng = np.random.default_rng(9)
    baseline, tuned = scored("a", rng.random(28), groups), scored("b", rng.random(28), groups)
    assert holdout(Right(), baseline, tuned).method.endswith("sign-flip test of groups")
    strict = compare(Right(), split="holdout", baseline=baseline, tuned=tuned, level=LEVEL)
    assert "only 7 groups: the next one may differ" in strict.notes


def test_many_uneven_groups_are_judged_like_few() -> None:
    rng, even, uneven = np.random.default_rng(14), [3] * 35, [100, 60, 60] + [3] * 32
    for sizes, test in [(even, "clustered t test"), (uneven, "sign-flip test of groups")]:
        names = [f"g{code}" for code in np.repeat(np.arange(35), sizes)]
        baseline, tuned = (scored(name, rng.random(len(names)), names) for name in "ab")
        found = holdout(Right(), baseline, tuned)
        assert found.method == f"clustered t interval, 35 groups of {len(names)} samples; {test}"


def test_a_standing_is_a_system_beside_itself() -> None:
    system = scored("few_shot", [1, 0, 1, 1])
    found = standing(Right(), split="dev", system=system)
    wilson = wilson_interval(0.75, 4)
    assert (found.baseline, found.tuned, found.split) == ("few_shot", "few_shot", "dev")
    assert (found.tuned_mean, found.tuned_low, found.tuned_high) == (0.75, wilson.low, wilson.high)
    assert (found.baseline_mean, found.difference, found.low, found.high, found.p_value) == (0.75, 0, 0, 0, 1)
    assert (found.method, found.notes) == ("Wilson interval, 4 samples", ())


def test_a_corpus_standing_has_its_bootstrap_interval() -> None:
    found = standing(MeanLoss(), split="dev", system=scored("a", np.random.default_rng(5).gamma(2, 0.4, 100)))
    assert found.tuned_low < found.tuned_mean < found.tuned_high
    assert found.method == "wider of BCa bootstrap and t, 100 samples"


def test_the_order_of_the_samples_changes_nothing() -> None:
    baseline, tuned = pairs(15, 35, 500)
    order = np.random.default_rng(6).permutation(500)
    moved = [
        SystemScores(side.system, tuple(side.sample_ids[place] for place in order), side.scores[:, order])
        for side in (baseline, tuned)
    ]
    assert bounds(holdout(Right(), *moved)) == pytest.approx(bounds(holdout(Right(), baseline, tuned)))


def test_unequal_samples_are_named() -> None:
    tuned = SystemScores("lora", ("s0", "s1", "x"), np.ones((1, 3)))
    with pytest.raises(Incomparable, match=r"different samples: 2 only in a \(s2, s3\); 1 only in lora \(x\)"):
        holdout(Right(), scored("a", [1, 1, 0, 0]), tuned)


def test_another_order_is_refused_rather_than_paired_wrongly() -> None:
    tuned = SystemScores("lora", ("s1", "s0"), np.ones((1, 2)))
    with pytest.raises(Incomparable, match="another order"):
        holdout(Right(), scored("a", [1, 1]), tuned)


def test_other_groups_for_the_same_samples_are_refused() -> None:
    with pytest.raises(Incomparable, match="other groups"):
        holdout(Right(), scored("a", [1, 1, 0], ["g", "g", "h"]), scored("b", [1, 1, 0], ["g", "h", "h"]))


def test_a_corpus_metric_without_details_is_refused() -> None:
    plain = SystemScores("a", ("s0", "s1"), np.ones((1, 2)))
    with pytest.raises(Incomparable, match="exp_loss: a has no detail"):
        holdout(MeanLoss(), plain, plain)


def test_a_corpus_statistic_that_is_no_number_names_its_metric() -> None:
    with pytest.raises(Incomparable, match=r"exp_loss: .* not finite"), np.errstate(over="ignore", invalid="ignore"):
        holdout(MeanLoss(), scored("a", [900.0, 1.0, 2.0]), scored("b", [1.0, 1.0, 2.0]))


def test_short_times_are_seconds_not_shares() -> None:
    found = holdout(Latency(), scored("a", [0.1, 0.2, 0.3]), scored("b", [0.2, 0.3, 0.3]))
    assert found.unit == "s"
