"""Jobs that train the tiny model in a second or two."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.recipes import SFT
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.protocols import Recipe
from harness.types.samples import Example, Message, Pair, Vote

_COLOURS = ("red", "green", "blue", "amber")


@dataclass
class Heard:
    """A progress that keeps its lines, its meters as (label, total, done), and the notes of each advance."""

    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    meters: list[tuple[str, int, int]] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self.notes += [note] * amount

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator["Heard"]:
        self.meters.append((label, total, done))
        yield self


def colours(count: int, *, prefix: str) -> tuple[Example, ...]:
    """Return examples whose answer follows from the prompt; prompts are of several lengths."""
    return tuple(
        Example(
            id=f"{prefix}{place}",
            prompt=(Message("user", f"{_COLOURS[place % 4]}{'!' * (place % 5)}"),),
            answer=_COLOURS[(place + 1) % 4],
        )
        for place in range(count)
    )


def colour_pairs(count: int, *, prefix: str) -> tuple[Pair, ...]:
    """Return pairs of `colours`' answer and another colour."""
    return tuple(
        Pair(id=one.id, prompt=one.prompt, chosen=one.answer, rejected=_COLOURS[(place + 2) % 4])
        for place, one in enumerate(colours(count, prefix=prefix))
    )


@pytest.fixture
def preferring(job: Callable[..., TuneJob]) -> Callable[..., TuneJob]:
    """Return a maker of jobs that learn from preferences: 24 pairs, each also a good and a bad vote, and 8 of dev."""

    def make(recipe: Recipe, **changed: object) -> TuneJob:
        pairs, dev = colour_pairs(24, prefix="t"), colour_pairs(8, prefix="d")
        fields = {"pairs": pairs, "dev_pairs": dev, "votes": _votes(pairs), "dev_votes": _votes(dev)}
        return job(recipe, **{**fields, **changed})

    def _votes(pairs: tuple[Pair, ...]) -> tuple[Vote, ...]:
        return tuple(
            Vote(id=f"{pair.id} {good}", prompt=pair.prompt, answer=pair.chosen if good else pair.rejected, good=good)
            for pair in pairs
            for good in (True, False)
        )

    return make


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def tiny(tiny_model: Path) -> Model:
    return Model(str(tiny_model), dtype="float32")


@pytest.fixture
def job(tiny: Model, tmp_path: Path) -> Callable[..., TuneJob]:
    """Return a maker of jobs: job(SFT(...)), with other fields of TuneJob by name."""

    def make(recipe: SFT, **changed: object) -> TuneJob:
        fields: dict[str, object] = {
            "model": tiny,
            "train": colours(24, prefix="t"),
            "dev": colours(8, prefix="d"),
            "seed": 1,
            "folder": tmp_path / "run",
        }
        return TuneJob(recipe=recipe, **{**fields, **changed})  # type: ignore[arg-type]

    return make
