"""An engine that is never asked two things at once: what batches change in its answers is gone."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from harness.protocols import Batch, Engine, LikelihoodBatch
from harness.samples import Decoding, Messages


class OneAtATime:
    """`engine`, asked singly; see `harness.protocols.Engine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return {**self._engine.description, "at_once": 1}

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        for place, prompt in enumerate(prompts):
            if place not in done:
                yield from (((place,), found) for _, found in self._engine.generate([prompt], decoding))

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        # The texts that are weighed after one prompt, such as a task's choices, are one question.
        for _, places in groupby(range(len(requests)), key=lambda place: requests[place][0]):
            asked = [place for place in places if place not in done]
            for inner, found in self._engine.likelihoods([requests[place] for place in asked]) if asked else ():
                yield tuple(asked[place] for place in inner), found

    def use(self, adapter: Path | None) -> None:
        self._engine.use(adapter)

    def close(self) -> None:
        self._engine.close()
