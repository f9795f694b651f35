from dataclasses import replace

import pytest

from harness.analysis.advice import gentler
from harness.analysis.decision_context import Situation
from harness.analysis.estimate import Estimate
from harness.analysis.insights import Insights
from harness.analysis.recipe_ranking import Forgot, Ladder, Rung
from harness.experiment.criteria import Finding, NoWorse
from tests.analysis.scores import Right
from tests.analysis.test_advice import compared


def rung(system: str, mean: float, harm: float, *, chosen: bool = False, wide: float = 0.02) -> Rung:
    harmed = Estimate(harm, harm - wide * harm, harm + wide * harm)
    return Rung(
        system=system,
        chosen=chosen,
        mean=Estimate(mean, mean - 0.1, min(1.0, mean + 0.1)),
        forgot=(Forgot(guard="story: perplexity", better="lower", unit="", untuned=30.0, difference=harmed),),
        seeds=1,
        examples=10,
        tokens=100,
        seconds=1.0,
    )


def failed() -> Finding:
    found = NoWorse(Right(), by_at_most=0.05).judge([compared(0.8, 0.5)])
    return replace(found, metric="story: perplexity", good_side="below", unit="")


def said(*rungs: Rung, finding: Finding | None = None) -> list[str]:
    race = Ladder(
        metric="tone",
        better="higher",
        unit="%",
        level=0.95,
        samples=10,
        rungs=rungs,
        equal_budget=True,
        budget_ratio=1.0,
        choosing_seconds=0.0,
        choosing_tokens=0,
        holdout_mean=None,
        optimism=None,
        sentence="",
    )
    insights = Insights(ladder=race)
    return list(gentler(Situation(verdict="NO_GO", baseline="b", findings=[finding or failed()], insights=insights)))


def test_the_recipe_that_harms_least_among_the_as_good_is_named_with_both_numbers() -> None:
    found = said(
        rung("sft", 1.0, 120.0, chosen=True), rung("orpo", 0.95, 30.0), rung("dpo", 0.90, 6.0), rung("ipo", 0.89, 1.0)
    )
    assert found == [
        "Try dpo in place of sft: on DEV its tone is 90.0 % [80.0, 100.0] beside 100.0 % [90.0, 100.0], and it moves "
        "story: perplexity by +6.00 [+5.88, +6.12] in place of +120.0 [+117.6, +122.4]."
    ]


@pytest.mark.parametrize(
    "rungs",
    [
        (rung("sft", 1.0, 120.0, chosen=True),),
        (rung("sft", 1.0, 120.0, chosen=True), rung("two samples worse", 0.8, 6.0)),
        (rung("sft", 1.0, 120.0, chosen=True), rung("as harmful", 1.0, 119.0)),
        (rung("sft", 1.0, 120.0), rung("dpo", 1.0, 6.0)),
    ],
    ids=["alone", "not as good", "intervals overlap", "none chosen"],
)
def test_nothing_is_said_that_the_numbers_do_not_show(rungs: tuple[Rung, ...]) -> None:
    assert said(*rungs) == []


def test_a_guard_that_is_kept_needs_no_other_recipe() -> None:
    kept = replace(failed(), status="met")
    assert said(rung("sft", 1.0, 120.0, chosen=True), rung("dpo", 1.0, 6.0), finding=kept) == []
