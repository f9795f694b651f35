"""Planted faults end as the verdict's table says: INVALID with its reason, or an error that names its cause."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness import (
    SFT,
    Accuracy,
    ExactMatch,
    Full,
    Gain,
    InvalidExperiment,
    LoRA,
    Model,
    Sample,
    Split,
    StageFailed,
    ZeroShot,
)
from harness.errors import MissingPackage
from harness.experiment.decide import Decision, Verdict
from harness.experiment.experiment import Experiment
from harness.runner.run import run_plan
from harness.store.store import Store
from harness.types.protocols import Task
from harness.types.samples import Answer, Message, Messages

_NEXT = {"red": "green", "green": "blue", "blue": "amber", "amber": "red"}


def verdict(experiment: Experiment, store: Store) -> Decision:
    return run_plan(experiment, name="lamps", store=store).decision


# -- data and training, on a real model ---------------------------------------------------------------------


@dataclass(frozen=True)
class NextColour:
    """Which colour comes after this one? Answered by the likeliest of four choices; `shuffled` spoils train."""

    shuffled: bool = False
    copied: bool = False
    name: str = "next-colour"
    choices: tuple[str, ...] = tuple(_NEXT)

    def samples(self, split: Split) -> tuple[Sample, ...]:
        start, count = {Split.TRAIN: (0, 48), Split.DEV: (100, 16), Split.HOLDOUT: (200, 40)}[split]
        rows = [self._row(split, number) for number in range(start, start + count)]
        if split is Split.TRAIN and self.shuffled:
            answers = [row.reference for row in rows]
            random.Random(1).shuffle(answers)
            rows = [replace(row, reference=answer) for row, answer in zip(rows, answers, strict=True)]
        if split is Split.TRAIN and self.copied:
            rows.append(replace(self._row(Split.HOLDOUT, 217), id="train-217-again"))
        return tuple(rows)

    def prompt(self, sample: Sample) -> Messages:
        return (Message("user", sample.input),)

    def read(self, text: str) -> object:
        return text.strip() or None

    def _row(self, split: Split, number: int) -> Sample:
        colour = list(_NEXT)[number % 4]
        return Sample(id=f"{split.value}-{number}", input=f"{colour} number {number * 7919}", reference=_NEXT[colour])


@pytest.fixture
def real(tiny_model: Path) -> Callable[..., Experiment]:
    """Make an experiment on the tiny model, which a good recipe teaches the order of the colours."""

    def make(task: Task, **recipe: object) -> Experiment:
        fields = {"adapter": Full(), "epochs": 4, "learning_rate": 5e-3, **recipe}
        return Experiment(
            question="Can the tiny model learn which colour comes next?",
            task=task,
            model=Model(str(tiny_model), dtype="float32"),
            baselines=[ZeroShot()],
            recipes=[SFT(**fields)],
            metrics=[Accuracy()],
            go_if=[Gain(Accuracy(), at_least=0.1)],
        )

    return make


def test_true_labels_are_go_and_shuffled_ones_are_not(real: Callable, store: Store) -> None:
    assert verdict(real(NextColour()), store).verdict is Verdict.GO
    assert verdict(real(NextColour(shuffled=True)), store).verdict in (Verdict.NO_GO, Verdict.INCONCLUSIVE)


def test_a_holdout_row_copied_into_train_is_invalid_and_named(real: Callable, store: Store) -> None:
    decision = verdict(real(NextColour(copied=True)), store)

    assert decision.verdict is Verdict.INVALID
    assert "holdout-217 (holdout) and train-217-again (train)" in decision.reason


def test_a_learning_rate_of_zero_is_invalid_because_the_adapter_changes_nothing(real: Callable, store: Store) -> None:
    decision = verdict(real(NextColour(), adapter=LoRA(rank=4), learning_rate=0, epochs=1), store)

    assert decision.verdict is Verdict.INVALID
    assert "the adapter changes no logit" in decision.reason
    assert store.evidence("lamps").looks == ()


def test_a_learning_rate_of_a_thousand_names_the_step(real: Callable, store: Store) -> None:
    with pytest.raises(StageFailed, match=r"^step \d+ of 24: .*learning rate 1000.*Lower learning_rate"):
        verdict(real(NextColour(), learning_rate=1e3), store)


def test_a_model_folder_without_tokenizer_is_named(tiny_model: Path, real: Callable, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare, ignore=shutil.ignore_patterns("tokenizer*", "special_tokens*", "chat_template*"))
    store = Store(tmp_path / "results.duckdb")

    with pytest.raises(InvalidExperiment, match=rf"{bare}.*tokenizer"):
        verdict(replace(real(NextColour()), model=Model(str(bare))), store)


def test_a_tuned_folder_that_was_deleted_is_made_again_with_the_same_answers(
    real: Callable, store: Store, tables: Callable
) -> None:
    experiment = real(NextColour(), epochs=1)
    verdict(experiment, store)
    before = tables(store)
    shutil.rmtree(store.folder / "artifacts")

    verdict(experiment, store)

    assert tables(store) == before
    assert list(store.folder.glob("artifacts/*/adapter/model.safetensors"))


def test_a_store_that_was_moved_still_serves_its_tuned_system(
    real: Callable, store: Store, tables: Callable, tmp_path: Path
) -> None:
    experiment = real(NextColour(), epochs=1)
    verdict(experiment, store)
    trained = store.query("SELECT key, started_at FROM stages WHERE kind = 'tune'")
    moved = Store(tmp_path / "elsewhere" / "results.duckdb")
    shutil.move(store.folder, moved.folder)
    # The answers of the tuned system are forgotten, so that they must be asked of the moved artifact.
    moved.forget([row[0] for row in moved.query("SELECT key FROM stages WHERE kind = 'answer'")[1]])

    assert verdict(experiment, moved) is not None

    assert moved.query("SELECT key, started_at FROM stages WHERE kind = 'tune'") == trained
    assert moved.query("SELECT count(*) FROM decisions")[1] == [(1,)]


# -- metrics and packages -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """A metric of a user that fails on some answers."""

    score_of_wrong: float | None = None
    name: str = "broken"
    better: ClassVar[str] = "higher"

    def score(self, sample: Sample, answer: Answer) -> float:
        if answer.value == sample.expected:
            return 1.0
        if self.score_of_wrong is None:
            raise ZeroDivisionError("division by zero")
        return self.score_of_wrong


def with_metric(make_experiment: Callable, metric: object) -> Experiment:
    return make_experiment(metrics=[ExactMatch(), metric])


def test_a_metric_that_raises_is_named_with_its_sample_and_its_answers_are_kept(
    make_experiment: Callable, store: Store
) -> None:
    with pytest.raises(
        StageFailed, match=r"metric 'broken' on zero-shot, sample 'dev-68' raised ZeroDivisionError: division by zero"
    ):
        verdict(with_metric(make_experiment, Broken()), store)
    # Found before anything was trained, and before the holdout was opened under a rule that must now change.
    measured = store.query("SELECT key, started_at, kind FROM stages")[1]
    assert {kind for _, _, kind in measured} == {"audit", "answer"}
    assert store.query("SELECT count(*) FROM looks")[1] == [(0,)]

    assert verdict(with_metric(make_experiment, Broken(score_of_wrong=0.0)), store).verdict is Verdict.GO
    assert set(measured) <= set(store.query("SELECT key, started_at, kind FROM stages")[1])  # nothing anew


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_metric_that_gives_no_finite_number_is_named(make_experiment: Callable, store: Store, score: float) -> None:
    with pytest.raises(StageFailed, match=rf"metric 'broken' on zero-shot gave {score} \(float\) for sample 'dev-68'"):
        verdict(with_metric(make_experiment, Broken(score_of_wrong=score)), store)


@dataclass(frozen=True)
class Measured:
    """A metric whose executor is a module of the user's own."""

    executor: str
    name: str = "measured"
    better: ClassVar[str] = "higher"


@pytest.mark.parametrize("place", ["module", "function"])
def test_a_missing_package_is_named_with_the_command_that_brings_it(
    place: str, make_experiment: Callable, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {"module": "import absent_package\ndef score_all(metric, samples, answers): ...\n"}
    lines["function"] = "def score_all(metric, samples, answers):\n    import absent_package\n"
    (tmp_path / f"executor_{place}.py").write_text(lines[place], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(MissingPackage, match=r" needs the package 'absent_package'; bring it with: pip install"):
        verdict(with_metric(make_experiment, Measured(f"executor_{place}:score_all")), store)


def test_a_path_that_leads_nowhere_is_refused_before_anything_runs(make_experiment: Callable, store: Store) -> None:
    with pytest.raises(InvalidExperiment, match="metric 'measured' names 'no_such_module:score_all'"):
        verdict(with_metric(make_experiment, Measured("no_such_module:score_all")), store)
    assert not store.path.exists()
