"""The prompts of the tuned system's answers are those of its training, or the fault is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import Experiment, Message, Model, Split
from harness.inference.models.loading import load_tokenizer
from harness.inference.models.rendering import prompt_ids, prompt_text
from harness.inference.scripted import ScriptedTuning
from harness.plan import Plan
from harness.runner.answers import Answered, answered
from harness.runner.checks import PARITY, evaluation_parity
from harness.runner.context import Engines, Run, SilentProgress
from harness.store.store import Store
from harness.types.jobs import Round, System
from harness.types.samples import Answer, Check

Maker = Callable[..., Experiment]


@pytest.fixture
def run(make_experiment: Maker, store: Store, tiny_model: Path) -> Run:
    """A run on a real tokenizer; nothing is trained."""
    experiment = replace(make_experiment(), model=Model(str(tiny_model), dtype="float32"))
    return Run(Plan(experiment, "lamps"), store, SilentProgress(), Engines(SilentProgress()))


def asked(run: Run) -> tuple[System, Answered]:
    """Return the tuned system, and answers to DEV with the prompts of an engine that renders as training does."""
    system, task = run.plan.tuned[0], run.plan.experiment.task
    assert isinstance(system.model, Model)
    tokenizer = load_tokenizer(system.model)
    samples = run.samples(task, Split.DEV)
    answers = tuple(
        Answer(
            sample_id=sample.id,
            text="red",
            prompt=prompt_text(tokenizer, system.strategy.messages(task, sample)),
            tokens_in=len(prompt_ids(tokenizer, system.strategy.messages(task, sample))),
        )
        for sample in samples
    )
    stage = run.plan.answer(system, task, Split.DEV, 0)
    return system, Answered(system, stage, samples, answers)


def with_first(seen: Answered, **changes: Any) -> Answered:
    return replace(seen, answers=(replace(seen.answers[0], **changes), *seen.answers[1:]))


def test_prompts_as_in_training_are_in_order_and_looked_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    system, seen = asked(run)

    check = evaluation_parity(run, system, seen)
    monkeypatch.setattr("harness.inference.models.loading.load_tokenizer", lambda *_, **__: pytest.fail("it is stored"))

    assert check == Check(
        name=PARITY,
        status="ok",
        detail="scripted-tuning: 40 prompts were asked with the text and the number of tokens of training",
    )
    assert evaluation_parity(run, system, seen) == check


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no generation prompt", "the generation prompt is missing"),
        ("bypassed", "the chat template is bypassed"),
        ("other prompt", "the prompt differs from the served one at token"),
        ("token more", "a BOS or an end token is added to the prompt"),
        ("tokens fewer", "the text is tokenised otherwise"),
    ],
)
def test_a_prompt_asked_otherwise_is_invalid_and_named(run: Run, fault: str, said: str) -> None:
    system, seen = asked(run)
    first = seen.answers[0]
    changes: dict[str, dict[str, object]] = {
        "no generation prompt": {"prompt": first.prompt.rpartition("<|im_start|>")[0]},
        "bypassed": {"prompt": system.strategy.messages(run.plan.experiment.task, seen.samples[0])[-1].content},
        "other prompt": {"prompt": first.prompt.replace("colour", "color")},
        "token more": {"tokens_in": first.tokens_in + 1},
        "tokens fewer": {"tokens_in": first.tokens_in - 2},
    }

    check = evaluation_parity(run, system, with_first(seen, **changes[fault]))

    assert (check.name, check.status) == (PARITY, "invalid")
    (item,) = check.items
    assert item["id"] == seen.samples[0].id  # type: ignore[index]
    assert said in item["fault"]  # type: ignore[index]
    assert check.detail.startswith("scripted-tuning: 1 of 40 prompts were asked otherwise than in training")


def test_what_renders_nothing_is_not_compared_and_says_why(make_experiment: Maker, run: Run, store: Store) -> None:
    system, seen = asked(run)
    table = make_experiment()
    scripted = Run(Plan(table, "lamps"), store, SilentProgress(), Engines(SilentProgress()))

    check = evaluation_parity(
        scripted, scripted.plan.tuned[0], answered(scripted, scripted.plan.tuned[0], table.task, Split.DEV, Round())
    )
    otherwise = evaluation_parity(run, replace(system, served=run.plan.plain_prompt), seen)

    assert (check.status, check.detail) == (
        "ok",
        "scripted-tuning: not compared, Scripted has no tokenizer to render with",
    )
    assert otherwise.detail.endswith("it is asked otherwise than it was trained, as declared")


def test_the_engine_that_runs_here_asks_as_training_does(run: Run) -> None:
    baseline, task = run.plan.baselines[0], run.plan.experiment.task
    few = replace(task, rows={**task.rows, Split.DEV: task.rows[Split.DEV][:3]})  # type: ignore[attr-defined, type-var]
    plan = Plan(replace(run.plan.experiment, task=few, recipes=[ScriptedTuning()]), "lamps")
    work = replace(run, plan=plan)

    seen = answered(work, plan.baselines[0], few, Split.DEV, Round())

    assert baseline.name == plan.baselines[0].name
    assert evaluation_parity(work, plan.baselines[0], seen).status == "ok"
    assert seen.answers[0].prompt.startswith("<|im_start|>user\n")
    assert task.prompt(seen.samples[0]) == (Message("user", f"Which colour has {seen.samples[0].input}"),)
