import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from harness.errors import Incomparable, InvalidExperiment
from harness.experiment.criteria import AtLeast, AtMost, Criterion, Finding, Gain, NoWorse
from harness.experiment.decide import Decision, Verdict, better_of, decide, enough
from harness.stats.compare import Comparison, SystemScores, compare, standing
from harness.types.samples import Check
from tests.analysis.scores import Right, Seconds


@dataclass(frozen=True)
class Always:
    """A criterion of a user's own: any object that judges."""

    status: str
    needed: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return ()

    def judge(self, comparisons: Sequence[Comparison]) -> Finding:
        return Finding(
            criterion=f"always {self.status}",
            metric="right",
            status=self.status,  # type: ignore[arg-type]
            value=0.0,
            low=-1.0,
            high=1.0,
            threshold=0.0,
            sentence=f"It is {self.status} ({self.needed}).",
            needed_samples=self.needed,
        )


MET, FAILED, OPEN = Always("met"), Always("failed"), Always("open", 900)
FINE = Check(name="leakage", status="ok", detail="no leakage")
WARNED = Check(name="size", status="warning", detail="only 200 samples")


def scored(system: str, scores: object) -> SystemScores:
    values = np.atleast_2d(np.asarray(scores, dtype=float))
    return SystemScores(system, tuple(f"s{place}" for place in range(values.shape[1])), values)


def verdict_of(criteria: Sequence[Criterion], guards: Sequence[Criterion] = (), *, post_hoc: bool = False) -> Decision:
    return decide(criteria, guards, (), (FINE, WARNED), post_hoc=post_hoc)


@pytest.mark.parametrize(
    ("criteria", "guards", "verdict"),
    [
        ([MET], [], Verdict.GO),
        ([MET, MET], [MET], Verdict.GO),
        ([MET, OPEN], [], Verdict.INCONCLUSIVE),
        ([MET], [OPEN], Verdict.INCONCLUSIVE),
        ([MET, FAILED], [], Verdict.NO_GO),
        ([MET], [FAILED], Verdict.NO_GO),
        ([OPEN, FAILED], [OPEN], Verdict.NO_GO),
    ],
)
def test_every_criterion_and_guard_must_be_met(
    criteria: list[Criterion], guards: list[Criterion], verdict: Verdict
) -> None:
    decision = verdict_of(criteria, guards)
    assert decision.verdict is verdict
    assert len(decision.findings) == len(criteria) + len(guards)


def test_the_reason_is_the_finding_that_settles_it() -> None:
    assert verdict_of([MET, FAILED], [FAILED]).reason == "It is failed (None). 1 more criterion fails."
    assert verdict_of([MET, MET, MET]).reason == "It is met (None). 2 more criteria are met."
    assert verdict_of([MET]).reason == "It is met (None)."


def test_the_reason_names_the_largest_count_it_would_take() -> None:
    reason = verdict_of([Always("open", 900), Always("open", 4000)]).reason
    assert reason == "It is open (4000). 1 more criterion is open."
    assert verdict_of([Always("open", 900), Always("open", None)]).reason.startswith("It is open (None).")


def test_an_invalid_check_outranks_everything_and_nothing_is_judged() -> None:
    leaked = Check(name="leakage", status="invalid", detail="h17 of the holdout is in train (t3)")
    crossed = Check(name="groups", status="invalid", detail="group g is in train and holdout")
    assert decide([MET], [], (), (FINE, leaked), post_hoc=False) == Decision(
        verdict=Verdict.INVALID, reason="h17 of the holdout is in train (t3)"
    )
    both = decide([FAILED], [], (), (leaked, crossed), post_hoc=True)
    assert (both.verdict, both.reason) == (
        Verdict.INVALID,
        "h17 of the holdout is in train (t3) (1 more invalid: groups)",
    )


def test_a_rule_changed_after_the_holdout_was_opened_cannot_give_go() -> None:
    decision = verdict_of([MET], post_hoc=True)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert decision.reason == (
        "The rule changed after the holdout was opened, so meeting it proves nothing: "
        "confirm it on a fresh holdout. It is met (None)."
    )
    assert verdict_of([FAILED], post_hoc=True).verdict is Verdict.NO_GO
    assert verdict_of([OPEN], post_hoc=True).verdict is Verdict.INCONCLUSIVE


def test_no_criterion_is_no_rule() -> None:
    with pytest.raises(InvalidExperiment, match="go_if is empty"):
        verdict_of([], [MET])


def test_five_wins_of_five_are_not_go() -> None:
    comparison = compare(Right(), split="holdout", baseline=scored("a", [0] * 5), tuned=scored("b", [1] * 5))
    decision = decide([Gain(Right(), at_least=0)], [], [comparison], (), post_hoc=False)
    assert decision.verdict is Verdict.INCONCLUSIVE


def test_identical_systems_are_never_go() -> None:
    generator = np.random.default_rng(0)
    for values in ([1.0] * 300, generator.random(300), 5 + generator.random(300)):
        same = compare(Right(), split="holdout", baseline=scored("a", values), tuned=scored("b", values))
        assert decide([Gain(Right(), at_least=0)], [], [same], (), post_hoc=False).verdict is not Verdict.GO


def test_a_clear_gain_without_a_loss_of_speed_is_go() -> None:
    generator = np.random.default_rng(1)
    baseline, tuned = generator.random(400) < 0.5, generator.random((3, 400)) < 0.8
    seconds = generator.lognormal(size=400)
    comparisons = [
        compare(Right(), split="holdout", baseline=scored("a", baseline), tuned=scored("b", tuned)),
        compare(Seconds(), split="holdout", baseline=scored("a", seconds), tuned=scored("b", seconds * 0.9)),
    ]
    rules: list[Criterion] = [Gain(Right(), at_least=0.1), NoWorse(Seconds(), by_at_most=0.0)]
    decision = decide(rules, [], comparisons, (FINE,), post_hoc=False)
    assert decision.verdict is Verdict.GO
    assert decision.reason.startswith("right went from")
    assert decision.reason.endswith("1 more criterion is met.")


def test_a_baseline_that_is_surely_enough_stops() -> None:
    good = standing(Right(), split="dev", system=scored("rag", [1] * 195 + [0] * 5))
    decision = enough([AtLeast(Right(), 0.9)], [good])
    assert decision is not None
    assert decision.verdict is Verdict.NO_GO
    assert decision.reason == (
        "The baseline rag is already enough, so nothing was tuned. "
        "right of rag is 97.5 % [94.3, 98.9], n = 200, 1 seed. The whole 95 % interval shows at least 90.0 %."
    )


def test_a_baseline_that_may_be_enough_does_not_stop() -> None:
    good = standing(Right(), split="dev", system=scored("rag", [1] * 190 + [0] * 10))
    assert enough([AtLeast(Right(), 0.94)], [good]) is None
    assert enough([AtLeast(Right(), 0.9), AtMost(Right(), 0.1)], [good]) is None
    assert enough([], [good]) is None


@pytest.mark.parametrize("rule", [Gain(Right(), 0.0), NoWorse(Right(), 0.1)])
def test_a_rule_about_a_difference_cannot_stop(rule: Criterion) -> None:
    good = standing(Right(), split="dev", system=scored("rag", [1] * 200))
    with pytest.raises(InvalidExperiment, match="stop_if is about the baseline alone"):
        enough([rule], [good])


def test_the_best_system_in_the_metrics_direction_first_of_equals() -> None:
    right = [standing(Right(), split="dev", system=scored(name, [1] * k + [0] * (9 - k))) for name, k in
             (("zero_shot", 3), ("few_shot", 7), ("rag", 7))]  # fmt: skip
    seconds = [standing(Seconds(), split="dev", system=scored(name, [k, k + 1])) for name, k in (("a", 3), ("b", 2))]
    assert better_of(Right(), [*seconds, *right]) == "few_shot"
    assert better_of(Seconds(), [*right, *seconds]) == "b"
    with pytest.raises(Incomparable, match="no system was measured with seconds"):
        better_of(Seconds(), right)


def test_rules_and_verdicts_import_neither_scipy_nor_torch() -> None:
    code = "import sys, harness.experiment.decide; HEAVY = ('scipy', 'torch', 'duckdb', 'pandas')"
    code += "; print([m for m in HEAVY if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_gain_within_the_noise_of_measuring_is_open() -> None:
    pair = {"baseline": scored("old", [0.0] * 300 + [1.0] * 300), "tuned": scored("new", [0.0] * 270 + [1.0] * 330)}
    comparison = compare(Right(), split="holdout", **pair)
    criteria = [Gain(Right(), at_least=0.0)]

    quiet = decide(criteria, (), [replace(comparison, noise=0.01)], (FINE,), post_hoc=False)
    noisy = decide(criteria, (), [replace(comparison, noise=0.0512345)], (FINE,), post_hoc=False)

    assert (quiet.verdict, noisy.verdict) == (Verdict.GO, Verdict.INCONCLUSIVE)
    assert noisy.reason.endswith(
        "But asking the same system again moves right by up to 5.1 pts: it may be noise. "
        "One seed: training variance was not measured."
    )


def test_noise_is_no_excuse_for_a_guard_or_a_loss() -> None:
    pair = {"baseline": scored("old", [1.0] * 600), "tuned": scored("new", [0.0] * 30 + [1.0] * 570)}
    comparison = compare(Right(), split="holdout", **pair)

    decision = decide([NoWorse(Right(), 0.01)], (), [replace(comparison, noise=0.5)], (FINE,), post_hoc=False)

    assert decision.verdict is Verdict.NO_GO


@pytest.mark.parametrize(("before", "after"), [(0.3, 0.8), (0.8, 0.3), (0.5, 0.5)])
def test_a_verdict_on_one_training_says_that_luck_in_training_was_not_measured(before: float, after: float) -> None:
    luck = np.random.default_rng(2).random(300)
    said = {}
    for seeds in (1, 2):
        tuned = scored("new", np.tile(luck < after, (seeds, 1)))
        pair = compare(Right(), split="holdout", baseline=scored("old", luck < before), tuned=tuned)
        said[seeds] = decide([Gain(Right(), at_least=0.05)], (), [pair], (FINE,), post_hoc=False).reason

    assert said[1].endswith(" One seed: training variance was not measured.")
    assert "training variance" not in said[2]
