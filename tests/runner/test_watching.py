"""A metric that is watched while a recipe trains: from the declaration to the store and the page."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import SFT, ExactMatch, Experiment, Full, Gain, Model, Sample, Split, ZeroShot
from harness.experiment.decide import Verdict
from harness.report.page import render_page
from harness.runner.run import run_plan
from harness.store.store import Store
from harness.types.samples import Message, Messages

_NEXT = {"red": "green", "green": "blue", "blue": "amber", "amber": "red"}


@dataclass(frozen=True)
class NextColour:
    """Which colour comes after this one? Answered by the likeliest of four choices."""

    name: str = "next-colour"
    choices: tuple[str, ...] = tuple(_NEXT)

    def samples(self, split: Split) -> tuple[Sample, ...]:
        start, count = {Split.TRAIN: (0, 48), Split.DEV: (100, 16), Split.HOLDOUT: (200, 40)}[split]
        rows = [(number, list(_NEXT)[number % 4]) for number in range(start, start + count)]
        return tuple(
            Sample(
                id=f"{split.value}-{number}",
                input=f"{colour} number {number * 7919}",
                reference=_NEXT[colour],
                expected=_NEXT[colour],
            )
            for number, colour in rows
        )

    def prompt(self, sample: Sample) -> Messages:
        return (Message("user", sample.input),)

    def read(self, text: str) -> object:
        return text.strip() or None


@pytest.mark.parametrize("evaluated_on", [16, 4])
def test_the_watched_metric_chooses_is_stored_and_drawn(tiny_model: Path, store: Store, evaluated_on: int) -> None:
    experiment = Experiment(
        question="Can the tiny model learn which colour comes next?",
        task=NextColour(),
        model=Model(str(tiny_model), dtype="float32"),
        baselines=[ZeroShot()],
        recipes=[
            SFT(
                adapter=Full(),
                epochs=4,
                learning_rate=5e-3,
                evaluate_every=6,
                evaluate_on=evaluated_on,
                watch=ExactMatch(),
            )
        ],
        metrics=[ExactMatch()],
        go_if=[Gain(ExactMatch(), at_least=0.1)],
    )
    assert run_plan(experiment, name="lamps", store=store).decision.verdict is Verdict.GO

    evidence = store.evidence("lamps")
    marks = [(row.step, row.value) for row in evidence.training_log if row.name == "dev_exact_match"]
    (tuned,) = [stage for stage in evidence.stages if stage.kind == "tune"]
    best = max(value for _, value in marks)
    assert isinstance(tuned.environment, dict)
    assert tuned.environment["watched"] == "exact_match"
    assert tuned.environment["best_step"] == next(step for step, value in marks if value == best)
    assert "exact_match (watched)" in render_page(evidence)
