"""LmEvalTask asked of the local engine, against lm-eval's own evaluation with its HF backend: sample by sample."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from harness import LmEvalTask, Model, Split
from harness.inference.lm_eval_requests import ask
from harness.inference.local.engine import LocalEngine, open_engine
from harness.runner.context import SilentProgress
from harness.types.samples import Answer, Completion

WAYS = {
    "plain": {},
    "2 shots": {"num_fewshot": 2},
    "chat": {"chat": True},
    "2 shots as turns": {"num_fewshot": 2, "chat": True},
    "2 shots in one turn": {"num_fewshot": 2, "chat": True, "multiturn": False},
}


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[LocalEngine]:
    opened = open_engine(Model(str(tiny_model), dtype="float32", device="cpu"), progress=SilentProgress())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def theirs(tiny_model: Path) -> HFLM:
    return HFLM(str(tiny_model), dtype="float32", device="cpu", batch_size=4)


def evaluated(model: HFLM, name: str, folder: Path, way: dict[str, Any]) -> dict[str, Any]:
    found = simple_evaluate(
        model,
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        num_fewshot=way.get("num_fewshot"),
        apply_chat_template=way.get("chat", False),
        fewshot_as_multiturn=way.get("chat", False) and way.get("multiturn", True),
    )
    assert found is not None
    return found


def answers_of(task: LmEvalTask, engine: LocalEngine, *, done: frozenset[int] = frozenset()) -> dict[int, Completion]:
    asked = [(sample, task.prompt(sample)) for sample in task.samples(Split.HOLDOUT)]
    return {
        position: completion
        for positions, batch in ask(task, engine, asked, done=done)
        for position, completion in zip(positions, batch, strict=True)
    }


def scored(task: LmEvalTask, completions: dict[int, Completion], metric: Any) -> list[Any]:
    samples = task.samples(Split.HOLDOUT)
    return [
        metric.score(sample, Answer(sample_id=sample.id, text=found.text, likelihoods=found.likelihoods))
        for sample, found in ((sample, completions[place]) for place, sample in enumerate(samples))
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("lamps_choice", ("acc", "acc_norm", "acc_mutual_info")),
        ("lamps_word", ("acc",)),
        ("lamps_inputs", ("acc",)),
    ],
)
def test_weighed_answers_have_lm_evals_values(
    engine: LocalEngine, theirs: HFLM, folder: Path, name: str, metrics: tuple[str, ...], way: str
) -> None:
    task = LmEvalTask(name, include_path=folder, **WAYS[way])  # type: ignore[arg-type]
    completions = answers_of(task, engine)
    expected = evaluated(theirs, name, folder, WAYS[way])

    for place, sample in enumerate(expected["samples"][name]):
        values, greedy = zip(*sample["filtered_resps"], strict=True)
        found = completions[place].likelihoods
        assert [one.logprob for one in found] == pytest.approx(values, abs=1e-4)
        assert [one.greedy for one in found] == [*greedy]
    for metric in metrics:
        scores = scored(task, completions, task.metric(metric))
        assert scores == [sample[metric] for sample in expected["samples"][name]]
        assert float(np.mean(scores)) == pytest.approx(expected["results"][name][f"{metric},none"])


@pytest.mark.parametrize("way", WAYS)
def test_written_answers_are_lm_evals_under_each_filter(
    engine: LocalEngine, theirs: HFLM, folder: Path, way: str
) -> None:
    task = LmEvalTask("lamps_answer", include_path=folder, **WAYS[way])  # type: ignore[arg-type]
    completions = answers_of(task, engine)
    expected = evaluated(theirs, "lamps_answer", folder, WAYS[way])

    for name in ("first-letter", "whole"):
        samples = [sample for sample in expected["samples"]["lamps_answer"] if sample["filter"] == name]
        assert [completions[place].text for place in range(len(samples))] == [s["resps"][0][0] for s in samples]
        scores = scored(task, completions, task.metric("exact_match", filter=name))
        assert scores == [sample["exact_match"] for sample in samples]


@pytest.mark.parametrize("way", ["plain", "2 shots"])
def test_whole_texts_have_lm_evals_perplexities(engine: LocalEngine, theirs: HFLM, folder: Path, way: str) -> None:
    task = LmEvalTask("lamps_text", include_path=folder, **WAYS[way])  # type: ignore[arg-type]
    completions = answers_of(task, engine)
    expected = evaluated(theirs, "lamps_text", folder, WAYS[way])

    assert max(found.likelihoods[0].tokens for found in completions.values()) > 512  # more than one window
    for place, sample in enumerate(expected["samples"]["lamps_text"]):
        assert completions[place].likelihoods[0].logprob == pytest.approx(sample["filtered_resps"][0], rel=1e-6)
    for metric in task.metrics():
        details = [score.detail for score in scored(task, completions, metric)]
        (found,) = metric.statistic(details, np.ones((1, len(details))))  # type: ignore[union-attr]
        assert found == pytest.approx(expected["results"]["lamps_text"][f"{metric.name},none"], rel=1e-5)


def test_the_perplexity_of_a_word_is_lm_evals(engine: LocalEngine, theirs: HFLM, folder: Path) -> None:
    task = LmEvalTask("lamps_word", include_path=folder)
    metric = task.metric("perplexity")
    details = [score.detail for score in scored(task, answers_of(task, engine), metric)]
    expected = evaluated(theirs, "lamps_word", folder, {})["results"]["lamps_word"]["perplexity,none"]

    (found,) = metric.statistic(details, np.ones((1, len(details))))  # type: ignore[union-attr]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["lamps_choice", "lamps_answer", "lamps_text"])
def test_what_is_done_is_not_asked_again(engine: LocalEngine, folder: Path, name: str) -> None:
    task = LmEvalTask(name, include_path=folder)
    whole = answers_of(task, engine)
    rest = answers_of(task, engine, done=frozenset({0, 3, 4}))

    assert sorted(rest) == [1, 2, 5, 6, 7]
    assert {place: found.text for place, found in rest.items()} == {place: whole[place].text for place in rest}
