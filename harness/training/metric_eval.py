"""The dev examples, answered by the network in training and scored by a metric: what a recipe's `watch` asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from harness.errors import StageFailed
from harness.inference.models.loading import side_by_side
from harness.inference.models.rendering import answer_ids, end_id, prompt_ids, thought_apart
from harness.stats.compare import statistic_of
from harness.training.callbacks import CheckpointGoal, Watched
from harness.training.config import Precision, TrainingContext, TrainingSession
from harness.training.rows import draw_rows
from harness.types.protocols import AnyMetric, BatchMetric, CorpusMetric, Metric, Task, answer_tokens, choices_of
from harness.types.samples import Answer, Sample, Score

# Answers generated at once, and their longest where the task does not say.
_AT_ONCE = 32


@dataclass(frozen=True)
class WatchedSamples:
    """samples: those of the dev examples. prompts: token ids of each, as they are served.

    Args:
        padded: Whether rows of unlike length may stand side by side, padded on the left. Virtual tokens before the
            text would be parted from it by the padding, which changes every answer without a word.
    """

    metric: AnyMetric
    task: Task
    samples: tuple[Sample, ...]
    prompts: tuple[tuple[int, ...], ...]
    tokenizer: Any
    precision: Precision
    padded: bool

    def mark(self, network: Any) -> float:
        """Return the metric of the network's greedy answers; a task with choices is answered by the likeliest one."""
        training = network.training
        network.eval()
        try:
            with torch.no_grad(), self.precision.computing():
                texts = self._choose(network) if choices_of(self.task) else self._generate(network)
        finally:
            network.train(training)
        return scored_rows(self.metric, self.samples, [self._answer(place, text) for place, text in enumerate(texts)])

    def _answer(self, place: int, text: str) -> Answer:
        thought = thought_apart(text, prompt=self.tokenizer.decode(self.prompts[place]))
        value = self.task.read(thought.text)
        return Answer(sample_id=self.samples[place].id, text=thought.text, reasoning=thought.reasoning, value=value)

    def _generate(self, network: Any) -> list[str]:
        texts = [""] * len(self.prompts)
        end = end_id(self.tokenizer)
        most = answer_tokens(self.task)
        greedy = GenerationConfig(
            max_new_tokens=most, do_sample=False, eos_token_id=end, pad_token_id=self.tokenizer.pad_token_id or end
        )
        for places in self._batches():
            ids, mask = side_by_side([self.prompts[place] for place in places], greedy.pad_token_id, left=True)
            device = self.precision.device
            found = network.generate(input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=greedy)
            for place, row in zip(places, _answers(found, ids.shape[1]), strict=True):
                kept = row[: row.index(end)] if end in row else row
                texts[place] = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return texts

    def _choose(self, network: Any) -> list[str]:
        choices = choices_of(self.task)
        answers = [answer_ids(self.tokenizer, choice, end=False) for choice in choices]
        return [choices[_likeliest(network, prompt, answers, self.precision.device)] for prompt in self.prompts]

    def _batches(self) -> Iterator[list[int]]:
        def length(place: int) -> int:
            return len(self.prompts[place])

        order = sorted(range(len(self.prompts)), key=length)
        groups = [order] if self.padded else [list(group) for _, group in groupby(order, key=length)]
        for group in groups:
            yield from (group[start : start + _AT_ONCE] for start in range(0, len(group), _AT_ONCE))


def watched_samples(begun: TrainingContext) -> WatchedSamples:
    """Return the exam of the dev examples in the metric that the recipe watches.

    Raises:
        StageFailed: If there is none, or if nobody can say what a right answer is.
    """
    recipe, task, tokenizer = begun.recipe, begun.job.task, begun.tokenizer
    metric: AnyMetric = recipe.watch
    examples = draw_rows(begun.job.dev, recipe.evaluate_on, seed=begun.job.seed)
    samples = [example.sample for example in examples if example.sample is not None]
    if task is None or not examples or len(samples) < len(examples):
        raise StageFailed(
            f"watch={metric.name}: there is no dev example with its sample and task to be scored; "
            "give the task samples in Split.DEV, or leave watch out"
        )
    return WatchedSamples(
        metric=metric,
        task=task,
        samples=tuple(samples),
        prompts=tuple(tuple(prompt_ids(tokenizer, example.prompt)) for example in examples),
        tokenizer=tokenizer,
        precision=begun.precision,
        padded=recipe.adapter.pads,
    )


def watched(begun: TrainingContext, course: TrainingSession) -> TrainingSession:
    """Let the metric that the recipe watches choose the checkpoint."""
    recipe = begun.recipe
    exam = watched_samples(begun)
    goal = CheckpointGoal(key=f"eval_{recipe.watch.name}", higher=recipe.watch.better == "higher")
    trainer = course.trainer
    trainer.args.metric_for_best_model, trainer.args.greater_is_better = goal.key, goal.higher
    trainer.add_callback(Watched(lambda: exam.mark(trainer.model), key=goal.key))
    watched = recipe.watch.name
    return replace(
        course,
        goal=goal,
        logged={**course.logged, goal.key: f"dev_{watched}"},
        environment=lambda: {**course.environment(), "watched": watched},
    )


def scored_rows(metric: AnyMetric, samples: Sequence[Sample], answers: Sequence[Answer]) -> float:
    """Return the metric of all answers: its statistic if it has one, else the mean of its scores.

    Raises:
        StageFailed: If the metric raises.
    """
    try:
        if isinstance(metric, BatchMetric):
            found = list(metric.score_all(samples, answers))
        elif isinstance(metric, Metric):
            found = [metric.score(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
        else:
            raise StageFailed(f"watch={metric.name}: it has neither score() nor score_all(); a metric needs one")
        scores = [one if isinstance(one, Score) else Score(float(one)) for one in found]
        if isinstance(metric, CorpusMetric):
            return float(statistic_of(metric)([one.detail for one in scores], np.ones((1, len(scores))))[0])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise StageFailed(f"watch={metric.name}: the metric raised {type(error).__name__}: {error}") from error
    return float(np.mean([one.value for one in scores]))


def _answers(found: torch.Tensor, prompt: int) -> list[list[int]]:
    """Return the new tokens of each row of `found`, (rows, prompt + new)."""
    return [[int(token) for token in row] for row in found[:, prompt:].tolist()]


def _likeliest(network: Any, prompt: tuple[int, ...], answers: Sequence[list[int]], device: torch.device) -> int:
    """Return the place of the answer of highest likelihood. Padded on the right, if no token sees the padding."""
    width = max(map(len, answers))
    rows, mask = (each.to(device) for each in side_by_side([[*prompt, *answer] for answer in answers], 0, left=False))
    logits = network(input_ids=rows, attention_mask=mask, use_cache=False).logits[:, -width - 1 : -1]
    chances = logits.float().log_softmax(-1)  # (answers, width, vocabulary)
    targets = rows[:, -width:]
    picked = chances.gather(-1, targets[..., None])[..., 0] * mask[:, -width:]
    return int(picked.sum(-1).argmax())
