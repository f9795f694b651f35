"""Models that go wrong in one way each, or know more when they are asked better."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from harness.inference.scripted import Pairs, Scripted, ScriptedEngine
from harness.types.protocols import Batch, LikelihoodBatch, Progress
from harness.types.samples import Completion, Decoding, Messages


@dataclass(frozen=True)
class Misbehaving:
    """A `Scripted` model with a fault.

    fault: "jittery" answers every `stride`-th prompt otherwise when it is asked alone; "silent" leaves the last answer
    out; "shy" knows `hidden` only where the system message asks for an expert.
    """

    model: Scripted
    fault: str
    stride: int = 10
    hidden: Pairs = ()
    name: str = "misbehaving"

    engine: ClassVar[str] = "benchmarks.situations.engines:open_engine"


@dataclass(frozen=True)
class Partial:
    """A judge that always prefers the answer shown first, or the one that the table knows.

    says: its reply, with {winner} for A, B or tie. mumbles: every so many-th question gets a reply that says nothing.
    """

    prefers: str = "A"
    right: tuple[str, ...] = ()
    says: str = "Winner: {winner}"
    mumbles: int | None = None
    name: str = "judge"

    engine: ClassVar[str] = "benchmarks.situations.engines:open_judge"


def open_engine(model: Misbehaving, *, progress: Progress) -> "MisbehavingEngine":
    """Return what answers with the fault."""
    return MisbehavingEngine(model)


def open_judge(model: Partial, *, progress: Progress) -> "JudgeEngine":
    """Return what judges."""
    return JudgeEngine(model)


class MisbehavingEngine:
    """See `harness.types.protocols.Engine`."""

    def __init__(self, model: Misbehaving) -> None:
        self._model = model
        self._inner = ScriptedEngine(model.model)

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return {**self._inner.description, "fault": self._model.fault}

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        for places, completions in self._inner.generate(prompts, decoding, done=done):
            kept = [(place, self._said(prompts, place, one)) for place, one in zip(places, completions, strict=True)]
            if self._model.fault == "silent":
                kept = [pair for pair in kept if pair[0] != len(prompts) - 1]
            yield tuple(place for place, _ in kept), tuple(one for _, one in kept)

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        return self._inner.likelihoods(requests, done=done)

    def use(self, adapter: Path | None) -> None:
        self._inner.use(adapter)

    def close(self) -> None:
        self._inner.close()

    def _said(self, prompts: Sequence[Messages], place: int, one: Completion) -> Completion:
        prompt = prompts[place]
        if self._model.fault == "shy" and prompt[0].role == "system" and "expert" in prompt[0].content:
            return replace(one, text=dict(self._model.hidden).get(prompt[-1].content, one.text))
        alone = len(prompts) == 1 and sum(prompt[-1].content.encode()) % self._model.stride == 0
        return replace(one, text="otherwise") if self._model.fault == "jittery" and alone else one


class JudgeEngine:
    """Answers "Winner: A" or "Winner: B", or as it is told to; see `harness.types.protocols.Engine`."""

    def __init__(self, model: Partial) -> None:
        self._model = model

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return {"engine": "judge", "prefers": self._model.prefers}

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        for place, prompt in enumerate(prompts):
            if place not in done:
                said = self._model.says.replace("{winner}", self._winner(prompt[-1].content))
                said = "Both have merits." if self._mumbled(place) else said
                yield (place,), (Completion(text=said, prompt="", tokens_in=1, tokens_out=2, seconds=0.0),)

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        return iter(())

    def use(self, adapter: Path | None) -> None:
        """There is nothing to adapt."""

    def close(self) -> None:
        """Nothing is held."""

    def _mumbled(self, place: int) -> bool:
        return self._model.mumbles is not None and place % self._model.mumbles == 0

    def _winner(self, question: str) -> str:
        if self._model.prefers != "right":
            return self._model.prefers
        first, second = (_between(question, f"answer_{name}") in self._model.right for name in "ab")
        return "tie" if first == second else "A" if first else "B"


def _between(text: str, tag: str) -> str:
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0].strip()
