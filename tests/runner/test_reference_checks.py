"""Metrics look at the references before anything is asked."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness import BERTScore, ExactMatch, Gain, Guard, HFMetric, Numeric, Preference, Split
from harness.experiment.decide import Verdict
from harness.runner.run import run_plan
from harness.store.store import Store

GERMAN = "Bitte schalte das Licht in der Küche ein und nicht im Flur, Nummer {}."
RUSSIAN = "Включи свет на кухне, пожалуйста, номер {}."


def with_references(task, make: Callable[[int], str]):  # type: ignore[no-untyped-def]
    """Return the task with the references of DEV and HOLDOUT that `make` makes of their places."""
    rows = {
        split: tuple(replace(s, reference=make(place)) for place, s in enumerate(task.samples(split)))
        for split in (Split.DEV, Split.HOLDOUT)
    }
    changed = replace(task)
    object.__setattr__(changed, "samples", lambda split: rows.get(split) or task.samples(split))
    return changed


def outcome_of(make_experiment: Callable, store: Store, task: object, metric: object, **fields: object):  # type: ignore[no-untyped-def]
    return run_plan(
        make_experiment(task=task, metrics=[metric], go_if=[Gain(metric, at_least=0.05)], **fields),
        name="lamps",
        store=store,
    )


@pytest.mark.parametrize(
    ("metric", "make", "reason"),
    [
        (Numeric(), "1{}:30", "references are no single number ('dev-60': '10:30' is no number but a time: 10:30;"),
        (Preference(by=Numeric()), "1{}:30", "references are no single number"),
        (BERTScore(), "打开厨房的灯{}", "of the references' tokens, and all of these look alike to it; use Chrf()"),
        (
            HFMetric("rouge", key="rougeL"),
            "打开厨房的灯{}",
            "drops every letter but a to z, 100% of those in the references",
        ),
        (HFMetric("rouge", key="rougeL"), RUSSIAN, "use Rouge() or Chrf(), which read every script"),
    ],
)
def test_references_that_a_metric_cannot_score_are_invalid_before_anything_is_asked(
    make_experiment: Callable, lamps: object, store: Store, metric: object, make: str, reason: str
) -> None:
    task = with_references(lamps, lambda place: make.format(place % 10))

    decision = outcome_of(make_experiment, store, task, metric).decision

    assert decision.verdict is Verdict.INVALID
    assert reason in decision.reason
    assert store.query("SELECT count(*) FROM answers")[1] == [(0,)]


def test_the_references_of_a_guard_are_looked_at_too(make_experiment: Callable, lamps: object, store: Store) -> None:
    other = with_references(lamps, lambda place: "3 to 4")
    guard = Guard(other, Numeric(), by_at_most=0.02)

    decision = outcome_of(make_experiment, store, lamps, ExactMatch(), guards=[guard]).decision

    assert decision.verdict is Verdict.INVALID
    assert "'3 to 4' holds 2 numbers (3, 4)" in decision.reason


@pytest.mark.parametrize(("text", "code"), [(GERMAN, "de"), (RUSSIAN, "another alphabet")])
def test_references_in_a_language_that_the_encoder_does_not_know_are_a_warning(
    make_experiment: Callable, lamps: object, store: Store, text: str, code: str
) -> None:
    task = with_references(lamps, text.format)

    outcome_of(make_experiment, store, task, BERTScore(), recipes=make_experiment().recipes)

    (check,) = [check for check in store.evidence("lamps").checks if check.name == "language of bertscore"]
    assert check.status == "warning"
    assert f"bertscore knows en, and the references are in other languages ({code} 100%)" in check.detail
    assert "Chrf()" in check.detail
