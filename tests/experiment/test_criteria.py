from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from harness.errors import Incomparable, InvalidExperiment
from harness.experiment.criteria import AtLeast, AtMost, BreakEven, Criterion, Finding, Gain, Guard, NoWorse
from harness.fingerprint import fingerprint
from harness.stats.compare import Comparison, SystemScores, compare
from harness.types.samples import Message, Messages, Sample, Split
from tests.analysis.scores import Right, Seconds


@dataclass(frozen=True)
class Trivia:
    name: str = "trivia"

    def samples(self, split: Split) -> Sequence[Sample]:
        return ()

    def prompt(self, sample: Sample) -> Messages:
        return (Message("user", sample.input),)

    def read(self, text: str) -> object | None:
        return text


GAINED = Comparison(
    metric="right",
    better="higher",
    split="holdout",
    baseline="few_shot",
    tuned="lora",
    baseline_mean=0.61,
    baseline_low=0.56,
    baseline_high=0.66,
    tuned_mean=0.742,
    tuned_low=0.70,
    tuned_high=0.78,
    difference=0.132,
    low=0.081,
    high=0.183,
    p_value=0.0001,
    samples=400,
    seeds=3,
    spread=0.52,
    method="t interval, 400 samples; paired t test",
    unit="%",
)
FASTER = replace(
    GAINED,
    metric="seconds",
    better="lower",
    baseline_mean=1.5,
    tuned_mean=1.25,
    tuned_low=1.2,
    tuned_high=1.3,
    difference=-0.25,
    low=-0.3,
    high=-0.2,
    unit="s",
)


PAID = replace(
    FASTER,
    metric="break_even",
    baseline_mean=0.0,
    tuned_mean=12_000.0,
    tuned_low=8_000.0,
    tuned_high=20_000.0,
    unit="requests",
)


def judged(rule: Criterion, comparison: Comparison, **changes: object) -> str:
    return rule.judge([replace(comparison, **changes)]).status  # type: ignore[arg-type]


def test_a_gain_above_the_threshold_is_met_and_says_so() -> None:
    assert Gain(Right(), at_least=0.05).judge([GAINED]) == Finding(
        criterion="right: a rise of at least 5.0 pts",
        metric="right",
        status="met",
        value=0.132,
        low=0.081,
        high=0.183,
        threshold=0.05,
        sentence=(
            "right went from 61.0 % to 74.2 %: +13.2 pts [+8.1, +18.3], n = 400, 3 seeds. "
            "The whole 95 % interval shows a rise of at least 5.0 pts."
        ),
        unit="%",
    )


def test_a_gain_inside_the_noise_is_open_and_says_what_it_would_take() -> None:
    found = Gain(Right(), at_least=0.10).judge([GAINED])
    assert (found.status, found.needed_samples) == ("open", 1017)
    assert found.sentence.endswith(
        "The 95 % interval neither shows nor rules out a rise of at least 10.0 pts; "
        "about 1,017 holdout samples would decide, if they show the same difference and spread."
    )


def test_a_gain_that_falls_short_is_failed() -> None:
    found = Gain(Right(), at_least=0.20).judge([GAINED])
    assert found.status == "failed"
    assert found.sentence.endswith("The whole 95 % interval misses a rise of at least 20.0 pts.")


def test_where_lower_is_better_a_gain_is_a_fall() -> None:
    found = Gain(Seconds(), at_least=0.1).judge([FASTER])
    assert (found.status, found.threshold, found.good_side) == ("met", -0.1, "below")
    assert found.sentence == (
        "seconds went from 1.50 s to 1.25 s: -0.25 s [-0.30, -0.20], n = 400, 3 seeds. "
        "The whole 95 % interval shows a fall of at least 0.1 s."
    )
    assert judged(Gain(Seconds(), at_least=0.25), FASTER) == "open"
    assert judged(Gain(Seconds(), at_least=0.4), FASTER) == "failed"


@pytest.mark.parametrize(
    ("rule", "low", "high", "status"),
    [
        (Gain(Right(), 0.05), 0.05, 0.2, "met"),
        (Gain(Right(), 0.05), 0.0499, 0.2, "open"),
        (Gain(Right(), 0.05), -0.1, 0.05, "open"),
        (Gain(Right(), 0.05), -0.1, 0.0499, "failed"),
        (Gain(Right(), 0.0), 1e-6, 0.2, "met"),
        (Gain(Right(), 0.0), 0.0, 0.2, "open"),
        (Gain(Right(), 0.0), 0.0, 0.0, "failed"),
        (Gain(Right(), 0.0), -0.2, -0.1, "failed"),
        (NoWorse(Right(), 0.02), -0.02, 0.2, "met"),
        (NoWorse(Right(), 0.02), -0.03, 0.2, "open"),
        (NoWorse(Right(), 0.02), -0.2, -0.03, "failed"),
        (NoWorse(Right(), 0.0), 0.0, 0.0, "met"),
        (Gain(Right(), 0.05), float("-inf"), float("inf"), "open"),
    ],
)
def test_a_difference_against_its_threshold(rule: Criterion, low: float, high: float, status: str) -> None:
    assert judged(rule, GAINED, low=low, high=high, difference=(max(low, -1) + min(high, 1)) / 2) == status


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        (AtLeast(Right(), 0.70), "met"),
        (AtLeast(Right(), 0.75), "open"),
        (AtLeast(Right(), 0.79), "failed"),
        (AtMost(Right(), 0.78), "met"),
        (AtMost(Right(), 0.72), "open"),
        (AtMost(Right(), 0.69), "failed"),
    ],
)
def test_a_mean_against_its_threshold(rule: Criterion, status: str) -> None:
    assert rule.judge([GAINED]).status == status


def test_a_mean_is_judged_by_its_own_interval() -> None:
    found = AtLeast(Right(), 0.75).judge([GAINED])
    assert (found.value, found.low, found.high, found.threshold) == (0.742, 0.70, 0.78, 0.75)
    assert found.criterion == "right: at least 75.0 %"
    assert found.sentence.startswith("right of lora is 74.2 % [70.0, 78.0], n = 400, 3 seeds.")
    assert found.needed_samples is not None
    assert found.needed_samples > 400


def test_a_loss_within_the_allowance_is_met() -> None:
    found = NoWorse(Seconds(), 0.5).judge([FASTER])
    assert (found.status, found.threshold) == ("met", 0.5)
    assert found.criterion == "seconds: a rise of at most 0.5 s"


def test_where_seeds_are_the_limit_more_seeds_are_asked_for() -> None:
    rights = (0, 1600, 800)  # of three trainings, beside a baseline that is right on 100 of 2,000 samples
    tuned, baseline = (
        SystemScores(
            name, tuple(map(str, range(2000))), np.array([np.arange(2000) < right for right in own], dtype=float)
        )
        for name, own in (("tuned", rights), ("baseline", (100,)))
    )
    found = Gain(Right(), 0.05).judge([compare(Right(), split="holdout", baseline=baseline, tuned=tuned)])
    assert (found.status, found.needed_samples) == ("open", None)
    assert found.sentence.endswith("a rise of at least 5.0 pts; it would take about 10 seeds.")


def test_a_difference_on_the_threshold_is_decided_by_no_number_of_samples() -> None:
    found = Gain(Right(), 0.132).judge([GAINED])
    assert (found.status, found.needed_samples) == ("open", None)
    assert found.sentence.endswith("no number of samples would decide at this result.")


def test_a_guard_looks_at_its_own_task() -> None:
    guard = Guard(Trivia(), Right(), by_at_most=0.02)
    assert guard.metrics == (guard.comparison_name,) == ("trivia: right",)
    kept = replace(GAINED, metric="trivia: right", difference=-0.001, low=-0.01, high=0.008)
    assert guard.judge([GAINED, kept]).status == "met"
    with pytest.raises(Incomparable, match="a criterion needs trivia: right, but what was compared is right"):
        guard.judge([GAINED])


def test_the_level_of_the_comparison_is_the_level_of_the_finding() -> None:
    stricter = replace(GAINED, level=1 - 0.05 / 6)
    met, still_open = Gain(Right(), 0.05).judge([stricter]), Gain(Right(), 0.10).judge([stricter])
    assert met.level == stricter.level
    assert met.sentence.endswith("The whole 99.17 % interval shows a rise of at least 5.0 pts.")
    assert "The 99.17 % interval neither shows nor rules out" in still_open.sentence


@pytest.mark.parametrize(
    ("requests", "status"), [(20_000, "met"), (19_999, "open"), (8_000, "open"), (7_999, "failed")]
)
def test_payback_against_the_requests_it_may_take(requests: float, status: str) -> None:
    assert BreakEven(requests).judge([GAINED, PAID]).status == status


def test_payback_is_said_with_its_doubt() -> None:
    assert BreakEven(50_000).judge([PAID]) == Finding(
        criterion="break_even: payback within 50,000 requests",
        metric="break_even",
        status="met",
        value=12_000.0,
        low=8_000.0,
        high=20_000.0,
        threshold=50_000,
        sentence=(
            "Training has paid for itself after about 12,000 requests [8,000; 20,000]. "
            "The whole 95 % interval shows payback within 50,000 requests."
        ),
        good_side="below",
        unit="requests",
        about="requests",
    )
    unsure = BreakEven(50_000).judge([replace(PAID, tuned_high=float("inf"))])
    assert (unsure.status, unsure.needed_samples) == ("open", None)
    assert unsure.sentence.endswith("The 95 % interval neither shows nor rules out payback within 50,000 requests.")


def test_a_request_that_saves_nothing_never_pays_back() -> None:
    never = replace(PAID, tuned_mean=float("inf"), tuned_low=float("inf"), tuned_high=float("inf"))
    found = BreakEven(50_000).judge([never])
    assert (found.status, found.metric) == ("failed", "break_even")
    assert found.sentence == (
        "Training never pays for itself. The whole 95 % interval misses payback within 50,000 requests."
    )


def test_payback_without_costs_names_the_way_out() -> None:
    assert BreakEven(10).metrics == ()
    with pytest.raises(Incomparable, match=r"give the experiment costs=Costs"):
        BreakEven(10).judge([GAINED])


def test_a_comparison_may_be_neither_missing_nor_doubled() -> None:
    with pytest.raises(Incomparable, match="needs seconds, but what was compared is nothing"):
        Gain(Seconds(), 0.1).judge([])
    with pytest.raises(Incomparable, match="2 comparisons are named right"):
        Gain(Right(), 0.1).judge([GAINED, GAINED])


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Gain(Right, 0.1), r"Gain\(Right\): pass a metric object, Right\(\)"),
        (lambda: Gain("right", 0.1), r"Gain\('right'\): a metric has `name` and `better`"),
        (lambda: Gain(Right(better="more"), 0.1), "better is 'more'"),  # type: ignore[arg-type]
        (lambda: Gain(Right(), -0.1), "is below 0: use NoWorse to allow a loss"),
        (lambda: NoWorse(Right(), -0.1), "is below 0: use Gain to ask for a gain"),
        (lambda: Gain(Right(), float("nan")), "at_least=nan.: give a finite number"),
        (lambda: AtLeast(Right(), float("inf")), "value=inf.: give a finite number"),
        (lambda: AtMost(Right(), True), "value=True.: give a finite number"),
        (lambda: NoWorse(Right(), "0.1"), "by_at_most='0.1'.: give a finite number"),
        (lambda: BreakEven(0), "requests=0.: give a number above 0"),
        (lambda: BreakEven(float("inf")), "requests=inf.: give a number above 0"),
        (lambda: BreakEven(True), "requests=True.: give a number above 0"),
        (lambda: Guard(Right(), Right(), 0.1), r"Guard\(task=Right.*: pass a task object"),
        (lambda: Guard(Trivia, Right(), 0.1), "pass a task object"),
    ],
)
def test_a_rule_that_cannot_be_judged_is_refused_when_written(declare: object, message: str) -> None:
    with pytest.raises(InvalidExperiment, match=message):
        declare()  # type: ignore[operator]


def test_rules_are_values_with_a_key() -> None:
    rules = [Gain(Right(), 0.05), Gain(Right(), 0.06), NoWorse(Right(), 0.05), Guard(Trivia(), Right(), 0.05)]
    rules.append(BreakEven(100))
    assert len({fingerprint(rule) for rule in rules}) == 5
    assert all(isinstance(rule, Criterion) for rule in rules)
