"""A metric on DEV while a model trains."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.models.loading import load_model, load_tokenizer
from harness.inference.models.rendering import prompt_ids
from harness.metrics import ExactMatch, MacroF1, Perplexity, Preference
from harness.recipes import SFT, Full
from harness.training.config import choose_precision
from harness.training.metric_eval import watched_samples
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Answer, Message, Sample, Split

Jobs = Callable[..., TuneJob]


@dataclass(frozen=True)
class Colours:
    """Answers are colours, read as they stand."""

    name: str = "colours"
    answer_tokens: int = 6

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return ()

    def prompt(self, sample: Sample) -> tuple[Message, ...]:
        return (Message("user", sample.input),)

    def read(self, text: str) -> object:
        return text.strip()


@dataclass(frozen=True)
class Chosen(Colours):
    choices: tuple[str, ...] = ("red", "green", "blue", "amber")


def asked(examples, *, wrong: bool = False):
    """Return the examples with the samples they came from."""
    return tuple(
        replace(
            example,
            sample=Sample(
                id=example.id,
                input=example.prompt[0].content,
                reference="never said" if wrong else example.answer,
                expected="never said" if wrong else example.answer,
            ),
        )
        for example in examples
    )


def series(result, name):
    return [(point.step, point.value) for point in result.log if point.name == name]


def watched_of(tiny: Model, recipe: SFT, task: Any, examples: Any) -> Any:
    """Return the exam of `examples` in what `recipe` watches."""
    begun = SimpleNamespace(
        recipe=recipe,
        job=SimpleNamespace(task=task, dev=tuple(examples), seed=0),
        tokenizer=load_tokenizer(tiny),
        precision=choose_precision(tiny, recipe.adapter),
    )
    return watched_samples(begun)  # type: ignore[arg-type]


def test_the_watched_metric_is_logged_and_chooses_the_checkpoint(job: Jobs, heard) -> None:
    recipe = SFT(
        adapter=Full(), epochs=8, learning_rate=1e-2, batch_size=4, evaluate_every=6, patience=None, watch=ExactMatch()
    )
    made = job(recipe)
    result = fit(replace(made, dev=asked(made.dev), task=Colours()), progress=heard)

    marks = series(result, "dev_exact_match")
    assert [step for step, _ in marks] == [6, 12, 18, 24, 30, 36, 42, 48]
    assert max(value for _, value in marks) == 1.0
    first_best = next(step for step, value in marks if value == 1.0)
    assert result.environment["best_step"] == first_best
    # The dev loss goes on falling after every answer is right: by the loss another checkpoint would be kept.
    losses = series(result, "dev_loss")
    assert min(losses, key=lambda point: point[1])[0] > first_best
    assert any("exact_match 1.000" in note for note in heard.notes)


def test_a_task_whose_choices_are_none_is_asked_freely(tiny: Model, job: Jobs) -> None:
    task = Chosen(choices=())  # as any DatasetTask is, unless it declares choices
    exam = watched_of(tiny, SFT(adapter=Full(), watch=ExactMatch()), task, asked(job(SFT()).dev))

    free = watched_of(tiny, SFT(adapter=Full(), watch=ExactMatch()), Colours(), asked(job(SFT()).dev))

    network = load_model(tiny, dtype=torch.float32)
    assert exam.mark(network) == free.mark(network)


def test_patience_is_the_watched_metrics(job: Jobs, heard) -> None:
    recipe = SFT(epochs=20, learning_rate=1e-3, evaluate_every=3, patience=2, watch=ExactMatch())
    made = job(recipe)
    result = fit(replace(made, dev=asked(made.dev, wrong=True), task=Colours()), progress=heard)

    # No answer ever is right: the first evaluation stays the best, though the dev loss falls at each.
    assert [value for _, value in series(result, "dev_exact_match")] == [0.0, 0.0, 0.0]
    assert result.environment["steps"] == 9
    assert result.environment["best_step"] == 3


@pytest.mark.parametrize("padded", [True, False])
def test_answers_are_those_of_each_prompt_alone(tiny: Model, job: Jobs, padded: bool) -> None:
    network, tokenizer = load_model(tiny, dtype=torch.float32), load_tokenizer(tiny)
    examples = asked(job(SFT()).dev)
    heard_texts: list[str] = []

    class Told(ExactMatch):
        def score(self, sample: Sample, answer: Answer) -> float:
            heard_texts.append(answer.text)
            return 0.5

    exam = watched_of(tiny, SFT(adapter=Full(), watch=Told()), Colours(), examples)
    assert replace(exam, padded=padded).mark(network) == 0.5

    alone = []
    for example in examples:
        ids = list(prompt_ids(tokenizer, example.prompt))
        new: list[int] = []
        while len(new) < 6:
            with torch.no_grad():
                token = int(network(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            new.append(token)
        alone.append(tokenizer.decode(new, skip_special_tokens=True))
    assert heard_texts == alone


def test_a_task_with_choices_is_answered_by_the_likeliest(tiny: Model, job: Jobs) -> None:
    network, tokenizer = load_model(tiny, dtype=torch.float32), load_tokenizer(tiny)
    examples = asked(job(SFT()).dev)
    texts: list[str] = []

    class Told(ExactMatch):
        def score(self, sample: Sample, answer: Answer) -> float:
            texts.append(answer.text)
            return 0.0

    watched_of(tiny, SFT(watch=Told()), Chosen(), examples).mark(network)

    likeliest = []
    for example in examples:
        prompt = list(prompt_ids(tokenizer, example.prompt))
        scores = {}
        for choice in Chosen().choices:
            answer = tokenizer(choice, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = network(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
            chances = logits.log_softmax(-1)
            scores[choice] = float(chances[range(len(answer)), answer].sum())
        likeliest.append(max(scores, key=lambda choice: scores[choice]))
    assert texts == likeliest


def test_a_metric_of_the_whole_set_is_its_statistic(tiny: Model, job: Jobs) -> None:
    examples = asked(job(SFT()).dev)
    exam = watched_of(tiny, SFT(watch=MacroF1()), Chosen(), examples)
    assert 0.0 <= exam.mark(load_model(tiny, dtype=torch.float32)) <= 1.0


def test_examples_without_a_sample_cannot_be_scored(job: Jobs, heard) -> None:
    with pytest.raises(StageFailed, match=r"watch=exact_match: there is no dev example with its sample and task"):
        fit(job(SFT(epochs=1, watch=ExactMatch())), progress=heard)


@pytest.mark.parametrize(
    ("metric", "fact"),
    [
        (Preference(by=ExactMatch()), "compares two systems"),
        (Perplexity(), "the dev loss already shows"),
        (ExactMatch, r"is a class; write ExactMatch\(\)"),
    ],
)
def test_a_metric_that_cannot_be_watched_is_refused(metric: object, fact: str) -> None:
    with pytest.raises(InvalidExperiment, match=fact):
        SFT(watch=metric)  # type: ignore[arg-type]
