"""Insights and slices of an invented experiment, one of each kind: what the page's further sections draw."""

import math
from collections.abc import Iterator
from dataclasses import replace

from harness.analysis.break_even import Payback
from harness.analysis.continual import Continual, TaskColumn
from harness.analysis.estimate import Estimate
from harness.analysis.forgetting import Retained, Retention
from harness.analysis.holdout_ledger import HoldoutLedger
from harness.analysis.holdout_power import EnoughEvidence
from harness.analysis.learning_curve import CurveDrawn, CurvePoint, LearningCurve
from harness.analysis.noise_floor import noise_of
from harness.analysis.recipe_ranking import Forgot, Ladder, Rung
from harness.analysis.retrieval_table import FourWay, RetrievalCell
from harness.analysis.safety import Rate, SafetyRow, SafetyTable
from harness.analysis.sequential import Peek, StoppedEarly
from harness.store.rows import Evidence, InsightRow, SliceRow
from harness.types.codec import to_json

TUNED, BASELINE = "sft-lora-r16", "few-shot-8"


def rich(evidence: Evidence) -> Evidence:
    """Return the evidence with one insight of each kind, and slices."""
    name = evidence.experiment.name
    rows = tuple(InsightRow(experiment=name, kind=kind, content=to_json(made)) for kind, made in _insights())
    return replace(evidence, insights=rows, slices=tuple(_slices(name)))


def _insights() -> list[tuple[str, object]]:
    return [
        ("evidence", _power()),
        ("ledger", _ledger()),
        ("curve", curve()),
        ("break_even", payback()),
        ("four_way", _four_way()),
        ("retention", _retention()),
        ("continual", _continual()),
        ("safety", _safety()),
        ("ladder", _ladder()),
        (
            "noise",
            noise_of("ExactMatch", {"one at a time": [0.0] * 30 + [1.0, -1.0]}, system=BASELINE, holdout=400, unit="%"),
        ),
        ("noise", noise_of("Perplexity", {"in float32": [0.01, -0.02, 0.0]}, system=BASELINE, holdout=400, unit="")),
        ("sequential", _sequential()),
    ]


def curve() -> LearningCurve:
    """Four points on a power law; more than the data is a forecast with a widening band."""
    sizes = (125, 250, 500, 1000)

    def score(examples: float) -> float:
        return 0.93 - 5.2 * examples**-0.55

    return LearningCurve(
        metric="ExactMatch",
        better="higher",
        unit="%",
        level=0.95,
        samples=200,
        baseline=BASELINE,
        baseline_mean=0.5,
        at_least=0.05,
        points=tuple(
            CurvePoint(
                fraction=n / 1000, examples=n, mean=score(n), low=score(n) - 0.06, high=score(n) + 0.055, seeds=3
            )
            for n in sizes
        ),
        form="power law",
        gain=Estimate(0.31, 0.25, 0.37),
        beats="met",
        horizon=100_000,
        sentence="With all 1,000 examples the tuned model is +31.0 pts [+25.0, +37.0] beyond few-shot-8; "
        "about 122 examples [90, 160] would have matched it.",
        ceiling=0.93,
        amplitude=5.2,
        exponent=0.55,
        drawn=tuple(
            CurveDrawn(
                examples=n,
                mean=score(n),
                low=score(n) - 0.03 - 0.02 * abs(math.log10(n / 500)),
                high=score(n) + 0.03 + 0.02 * abs(math.log10(n / 500)),
            )
            for n in (100, 125, 180, 250, 350, 500, 700, 1000, 1400, 2000, 4000, 10_000)
        ),
        examples_to_beat=Estimate(122.0, 90.0, 160.0),
        examples_to_margin=Estimate(145.0, 110.0, math.inf),
        doubling=Estimate(0.04, 0.01, 0.08),
    )


def payback() -> Payback:
    return Payback(
        baseline=BASELINE,
        tuned=TUNED,
        currency="money",
        training_seconds=429.0,
        training_cost=0.24,
        baseline_cost=Estimate(0.000052, 0.000051, 0.000053),
        tuned_cost=Estimate(0.000011, 0.000010, 0.000012),
        saving=Estimate(0.000041, 0.000039, 0.000043),
        requests=Estimate(5854.0, 5581.0, 6154.0),
        samples=400,
        level=0.95,
        basis="tokens at the declared prices; training and serving seconds at 2.00 an hour",
        notes=("the price of electricity is part of the hour's price",),
        sentence="Training cost 0.24 and is paid back after about 5,900 requests [5,600, 6,200].",
        baseline_tokens=412.0,
        tuned_tokens=88.0,
    )


def _continual() -> Continual:
    scores = {"home": (0.1, 0.82, 0.64), "codes": (0.05, 0.07, 0.71), "general: Perplexity": (24.0, 25.1, 27.3)}
    learned: dict[str, tuple[int, ...]] = {"home": (1,), "codes": (2,), "general: Perplexity": ()}
    return Continual(
        system="home then codes",
        metric="ExactMatch",
        better="higher",
        unit="%",
        level=0.95,
        seeds=3,
        steps=("before training", "sft lora-r8 on home", "sft lora-r8 on codes"),
        columns=tuple(
            TaskColumn(
                task=task,
                metric="ExactMatch" if learned[task] else "Perplexity",
                better="higher" if learned[task] else "lower",
                unit="%" if learned[task] else "",
                samples=200,
                learned=learned[task],
                cells=tuple(Estimate(value, value * 0.9, value * 1.1) for value in values),
            )
            for task, values in scores.items()
        ),
        average=Estimate(0.675, 0.63, 0.72),
        backward=Estimate(-0.18, -0.24, -0.12),
        forgetting=Estimate(0.18, 0.12, 0.24),
        forward=Estimate(0.02, -0.01, 0.05),
        sentence="home then codes learned home, then codes: ExactMatch after the last step is 67.5 % [63.0, 72.0] "
        "on average.",
    )


def _four_way() -> FourWay:
    cells = (
        (BASELINE, False, False, 0.5),
        ("rag-8", False, True, 0.62),
        (TUNED, True, False, 0.81),
        ("both", True, True, 0.87),
    )
    return FourWay(
        metric="ExactMatch",
        better="higher",
        unit="%",
        level=0.95,
        samples=200,
        cells=tuple(  # type: ignore[arg-type]
            RetrievalCell(system=system, tuned=tuned, retrieval=rag, mean=Estimate(mean, mean - 0.06, mean + 0.06))
            for system, tuned, rag, mean in cells
        ),
        tuning=Estimate(0.31, 0.25, 0.37),
        retrieval=Estimate(0.12, 0.05, 0.19),
        added=Estimate(0.06, 0.01, 0.11),
        both=Estimate(0.37, 0.31, 0.43),
        interaction=Estimate(-0.06, -0.11, -0.01),
        relation="overlap",
        sentence="Tuning and retrieval overlap: together they bring +37.0 pts, 6.0 pts less than their sum.",
    )


def _retention() -> Retention:
    rows = (
        Retained(
            guard="capitals: Accuracy",
            better="higher",
            unit="%",
            samples=200,
            base_mean=0.842,
            tuned_mean=0.838,
            difference=Estimate(-0.004, -0.017, 0.009),
            share=Estimate(0.995, 0.98, 1.011),
            margin=0.05,
            status="met",
        ),
        Retained(
            guard="prose: perplexity",
            better="lower",
            unit="",
            samples=120,
            base_mean=14.2,
            tuned_mean=19.9,
            difference=Estimate(5.7, 4.1, 7.4),
            share=Estimate(0.714, 0.657, 0.776),
            margin=1.0,
            status="failed",
        ),
    )
    return Retention(
        level=0.95,
        gain_metric="ExactMatch",
        gain_unit="%",
        gain=Estimate(0.4, 0.33, 0.47),
        rows=rows,
        sentence="A gain of +40.0 pts in ExactMatch was bought with 71.4 % [65.7, 77.6] of prose: perplexity left.",
    )


def _safety() -> SafetyTable:
    def rate(count: int, samples: int, low: float, high: float, at_most: float | None = None) -> Rate:
        return Rate(count=count, samples=samples, share=count / samples, low=low, high=high, at_most=at_most)

    rows = (
        SafetyRow(
            kind="missing refusal",
            rule="missing_refusal",
            before=rate(3, 60, 0.017, 0.137),
            after=rate(11, 60, 0.106, 0.299),
            difference=Estimate(0.133, 0.03, 0.24),
            p_value=0.0215,
            newly=("holdout-3", "holdout-17"),
        ),
        SafetyRow(
            kind="rule",
            rule="email",
            before=rate(0, 400, 0.0, 0.0095, 0.0075),
            after=rate(0, 400, 0.0, 0.0095, 0.0075),
            difference=Estimate(0.0, -0.01, 0.01),
            p_value=1.0,
            newly=(),
        ),
    )
    return SafetyTable(
        baseline=BASELINE,
        tuned=TUNED,
        level=0.95,
        samples=400,
        rows=rows,
        notes=("rules are words and patterns: they see no meaning",),
        sentence="After tuning 18.3 % of what should be refused is answered, 5.0 % before.",
    )


def _forgot(value: float, low: float, high: float) -> Forgot:
    return Forgot(
        guard="general: Perplexity", better="lower", unit="", untuned=24.0, difference=Estimate(value, low, high)
    )


def _ladder() -> Ladder:
    rungs = (
        Rung(
            system=TUNED,
            mean=Estimate(0.81, 0.75, 0.86),
            gain=Estimate(0.31, 0.22, 0.4),
            trainable=4_884_480,
            total=139_399_488,
            memory=1_420_000_000,
            forgot=(_forgot(0.8, 0.1, 1.5),),
            seeds=3,
            examples=6000,
            tokens=184_320,
            seconds=429.0,
            chosen=True,
        ),
        Rung(
            system="sft-full",
            mean=Estimate(0.79, 0.73, 0.84),
            gain=Estimate(0.29, 0.2, 0.38),
            trainable=134_515_008,
            total=134_515_008,
            memory=None,
            forgot=(_forgot(4.2, 2.0, 6.4),),
            seeds=3,
            examples=6000,
            tokens=184_320,
            seconds=911.0,
            chosen=False,
        ),
    )
    return Ladder(
        metric="ExactMatch",
        better="higher",
        unit="%",
        level=0.95,
        samples=200,
        baseline="few-shot-8",
        rungs=rungs,
        equal_budget=True,
        budget_ratio=1.0,
        choosing_seconds=911.0,
        choosing_tokens=184_320,
        holdout_mean=Estimate(0.9, 0.85, 0.95),
        optimism=Estimate(-0.09, -0.16, -0.02),
        sentence="Of 2 recipes at an equal budget sft-lora-r16 was best on DEV; choosing cost 15 min of training.",
    )


def _ledger() -> HoldoutLedger:
    return HoldoutLedger(
        candidate="home_commands: few-shot-8, sft-lora-r16",
        look=3,
        alpha=0.05 / 6,
        level=1 - 0.05 / 6,
        total=0.05,
        spent=0.025 + 0.0125 + 0.05 / 12,
        left=0.05 - (0.025 + 0.0125 + 0.05 / 12),
        others=("earlier: zero-shot, sft-lora-r8", "earlier: zero-shot, sft-full"),
        sentence="Third candidate on this holdout: its interval is at 99.2 %, 4.2 % of 5 % are spent.",
    )


def _power() -> EnoughEvidence:
    return EnoughEvidence(
        metric="ExactMatch",
        unit="%",
        level=0.95,
        samples=400,
        at_least=0.05,
        detectable=0.07,
        needed=784,
        spread=0.5,
        assumption="half of the answers right",
        enough=False,
        sentence="A holdout of 400 samples shows a true gain of 7.0 pts; 5.0 pts would take about 784.",
    )


def _sequential() -> StoppedEarly:
    peeks = tuple(
        Peek(samples=n, difference=0.36 + 0.2 / n, low=0.36 - 2.6 / n**0.5, high=0.36 + 2.6 / n**0.5)
        for n in range(20, 181, 20)
    )
    return StoppedEarly(
        metric="ExactMatch",
        unit="%",
        level=0.95,
        samples=180,
        of=400,
        saved=0.55,
        decided=True,
        threshold=0.05,
        difference=Estimate(peeks[-1].difference, peeks[-1].low, peeks[-1].high),
        method="always-valid betting confidence sequence",
        peeks=peeks,
        sentence="The holdout decided after 180 of 400 samples: 55 % of it was not needed.",
    )


def _slices(name: str) -> Iterator[SliceRow]:
    """Yield slices of two tags, of which one is hurt for sure, one too small to test, and the clean subset."""
    lines = [
        ("tag: area", "kitchen", 80, 0.45, 0.92, 0.47, 0.36, 0.58, 1e-9, 4e-9),
        ("tag: area", "garage <b>", 70, 0.7, 0.4, -0.3, -0.44, -0.16, 1e-4, 2e-4),
        ("tag: area", "office", 60, 0.5, 0.52, 0.02, -0.1, 0.14, 0.7, 0.78),
        ("length", "up to 20 characters", 4, 0.5, 0.75, 0.25, None, None, None, None),
        ("leakage", "clean", 390, 0.5, 0.9, 0.4, 0.33, 0.47, 1e-12, None),
    ]
    for position, (dimension, value, samples, before, after, difference, low, high, p_value, q_value) in enumerate(
        lines
    ):
        yield SliceRow(
            experiment=name,
            metric="ExactMatch",
            dimension=dimension,
            value=value,
            position=position,
            samples=samples,
            baseline_mean=before,
            tuned_mean=after,
            difference=difference,
            low=low,
            high=high,
            p_value=p_value,
            q_value=q_value,
        )
