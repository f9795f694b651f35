"""Shots: answered training samples shown as earlier turns of the conversation."""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.errors import InvalidExperiment
from harness.prompting.messages import (
    Several,
    check_choice,
    check_count,
    check_text,
    single,
    split_system,
    system_name,
    with_instruction,
)
from harness.prompting.retrieval import (
    RETRIEVERS,
    RetrieverName,
    Retrieving,
    build_retriever,
    nearest,
    retriever_version,
    without,
)
from harness.types.models import AnyModel, as_model
from harness.types.numbers import equals_before
from harness.types.protocols import HasShots, Prompter, Task
from harness.types.samples import Message, Messages, Sample, Split, plain_message

Select = Literal["fixed", "random", "balanced", "nearest"]


@dataclass(frozen=True)
class FewShot:
    """Show answered training samples before the question.

    A training sample is never its own shot; if it was drawn, the next one drawn stands in for it.

    Args:
        shots: How many, 1 or more. Several numbers are tried on DEV, each a baseline of its own.
        select: "fixed" takes the first of the training split; "random" one seeded draw for all samples, so that all
            prompts share their beginning; "balanced" the same with as equal a number of each label as there can be;
            "nearest" the training samples most like each sample, the most similar last.
        seed: Of the draw.
        instruction: Replaces the task's system message, or adds one. Several are tried on DEV; None is the task's own.
        model: Answers in place of the experiment's model; a string means `Model(string)`.
        retriever: What "nearest" means by similar, as in `RAG`.
        balance_by: The tag that holds the label, for "balanced"; None is the reference.
        label: The system's name on pages and in tables, if two would otherwise be called the same.

    Raises:
        InvalidExperiment: If a field has an unknown value, or `balance_by` is given without "balanced".

    Examples:
        >>> FewShot(shots=8, select="nearest").name
        '8-shot nearest'
    """

    shots: Several[int] = 8
    select: Select = "fixed"
    seed: int = 0
    instruction: Several[str | None] = None
    model: str | AnyModel | None = field(default=None, metadata={"key": False})
    retriever: RetrieverName = field(default="bm25", kw_only=True)
    balance_by: str | None = field(default=None, kw_only=True)
    label: str | None = field(default=None, metadata={"key": False}, kw_only=True)

    @property
    def retrieves(self) -> bool:
        """Whether the shots are looked up for each prompt."""
        return self.select == "nearest"

    def __post_init__(self) -> None:
        check_count("FewShot", "shots", self.shots)
        check_choice("FewShot", "select", self.select, allowed=("fixed", "random", "balanced", "nearest"))
        check_choice("FewShot", "retriever", self.retriever, allowed=RETRIEVERS)
        check_text("FewShot", "instruction", self.instruction)
        if self.balance_by is not None and self.select != "balanced":
            raise InvalidExperiment(f'FewShot(balance_by={self.balance_by!r}) is read only with select="balanced"')
        if self.model is not None:
            object.__setattr__(self, "model", as_model(self.model))

    @property
    def name(self) -> str:
        words = [f"{self.shots}-shot"]
        words += [self.select] if self.select != "fixed" else []
        words += [self.retriever] if self.select == "nearest" and self.retriever != "bm25" else []
        return system_name(" ".join(words), label=self.label, model=self.model)

    @property
    def _count(self) -> int:
        return single("FewShot", "shots", self.shots)

    def messages(self, task: Task, sample: Sample) -> Messages:
        """Return the conversation for one sample; `bind` once to ask for many."""
        return self.bind(task)(sample)

    def bind(self, task: Task) -> Prompter:
        """Draw the shots, or index the training split, once.

        Raises:
            InvalidExperiment: If the training split holds fewer samples than `shots`.
            MissingPackage: If the retriever's package is absent.
        """
        pool, instruction = self._pool(task), single("FewShot", "instruction", self.instruction)

        def prompt(sample: Sample, shots: Sequence[Sample]) -> Messages:
            system, question = split_system(with_instruction(task.prompt(sample), instruction))
            turns = [turn for shot in shots for turn in _shot(task, shot)]
            return (*system, *turns, *question)

        if self.select != "nearest":
            drawn = self._drawn(pool)
            return lambda sample: prompt(sample, drawn(sample))
        nearest_to = self._nearest(pool)

        def find(sample: Sample) -> tuple[Messages, int]:
            shots, found = nearest_to(sample)
            return prompt(sample, shots), found

        return Retrieving(find)

    def reads(self, task: Task) -> object:
        """Return, for a cache key, what the prompts are made from besides the samples' own prompts.

        The rendered shots, or the whole training split if shots are retrieved; nothing is indexed.
        """
        pool = self._pool(task)
        if self.select != "nearest":
            return self, [_shot(task, shot) for shot in self._draw(pool)]
        rows = [[shot.id, shot.input, shot.group, [plain_message(turn) for turn in _shot(task, shot)]] for shot in pool]
        return self, retriever_version(self.retriever), hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def _pool(self, task: Task) -> Sequence[Sample]:
        pool = task.samples(Split.TRAIN)
        if len(pool) < self._count:
            raise InvalidExperiment(
                f"{self.name}: task {task.name!r} has {len(pool)} training samples, fewer than its shots; "
                f"lower shots= or add training samples"
            )
        return pool

    def _draw(self, pool: Sequence[Sample]) -> Sequence[Sample]:
        """Return the shots and one spare, which stands in when a shot is itself the question."""
        wanted = self._count + 1
        if self.select == "fixed":
            return pool[:wanted]
        shuffled = random.Random(self.seed).sample(list(pool), len(pool))  # noqa: S311 -- a draw to repeat, not a secret
        if self.select == "random":
            return shuffled[:wanted]
        return _balanced(shuffled, [self._label(sample) for sample in shuffled])[:wanted]

    def _label(self, sample: Sample) -> str:
        if self.balance_by is None:
            return sample.reference
        if self.balance_by not in sample.tags:
            raise InvalidExperiment(
                f"{self.name}: sample {sample.id!r} has no tag {self.balance_by!r} to balance by; "
                f"it has {sorted(sample.tags) or 'none'}"
            )
        return sample.tags[self.balance_by]

    def _drawn(self, pool: Sequence[Sample]) -> Callable[[Sample], Sequence[Sample]]:
        drawn = self._draw(pool)
        return lambda sample: [shot for shot in drawn if shot.id != sample.id][: self._count]

    def _nearest(self, pool: Sequence[Sample]) -> Callable[[Sample], tuple[Sequence[Sample], int]]:
        """Return what gives the shots of a sample, and how many of them the retriever found."""
        retriever = build_retriever(self.retriever, [sample.input for sample in pool])
        own = without({sample.id: sample.group for sample in pool}, [(shot.id, shot.group) for shot in pool])

        def shots_of(sample: Sample) -> tuple[Sequence[Sample], int]:
            found = nearest(own(sample, retriever.scores(sample.input)), self._count)
            chosen = [pool[place] for place in found]
            # Too few share a word with the question, or all of them are of its group: the first of the pool fill up.
            taken = {sample.id} | {shot.id for shot in chosen}
            chosen += [shot for shot in pool[: 2 * self._count + 1] if shot.id not in taken]
            return chosen[: self._count][::-1], len(found)

        return shots_of


def _shot(task: Task, shot: Sample) -> Messages:
    if isinstance(task, HasShots):
        return task.shot(shot)
    return (*split_system(task.prompt(shot))[1], Message("assistant", shot.reference))


def _balanced(pool: Sequence[Sample], labels: Sequence[str]) -> list[Sample]:
    """Return `pool` reordered: the first of each label, then the second of each, in order of appearance."""
    turns = equals_before(labels)
    return [pool[place] for place in sorted(range(len(pool)), key=lambda place: turns[place])]
