"""A small experiment on the scripted engine: the whole path with no weights."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness import ExactMatch, Experiment, Gain, Message, Sample, Split, ZeroShot
from harness.inference.scripted import Scripted, ScriptedTuning
from harness.store.store import Store
from harness.types.samples import Messages

_COLOURS = ("red", "green", "blue", "amber", "white")
_SIZES = {Split.TRAIN: 60, Split.DEV: 40, Split.HOLDOUT: 200}


def numbers(split: Split) -> tuple[Sample, ...]:
    """Questions that share no text between splits, with one-word answers."""
    start = sum(_SIZES[earlier] for earlier in list(Split)[: list(Split).index(split)])
    return tuple(
        Sample(id=f"{split.value}-{n}", input=f"lamp {n * 7919} please", reference=_COLOURS[n % 5])
        for n in range(start, start + _SIZES[split])
    )


@dataclass(frozen=True)
class Lamps:
    """Which colour has lamp n? `wording` is the prompt, `rows` the samples of each split."""

    wording: str = "Which colour has"
    rows: dict[Split, tuple[Sample, ...]] = field(default_factory=lambda: {split: numbers(split) for split in Split})
    name: str = "lamps"
    answer_tokens: int = 8

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return self.rows[split]

    def prompt(self, sample: Sample) -> Messages:
        return (Message("user", f"{self.wording} {sample.input}"),)

    def read(self, text: str) -> object | None:
        return text.strip() or None

    def with_rows(self, split: Split, rows: tuple[Sample, ...]) -> "Lamps":
        return replace(self, rows={**self.rows, split: rows})


def table(task: Lamps, split: Split, *, right: float) -> dict[str, str]:
    """Right answers to the first share `right` of a split's prompts."""
    samples = task.samples(split)
    return {task.prompt(s)[-1].content: s.reference for s in samples[: round(right * len(samples))]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "reports" / "results.duckdb")


@pytest.fixture
def lamps() -> Lamps:
    return Lamps()


def lamps_experiment(
    *, base: float = 0.2, tuned: float = 0.9, task: Lamps | None = None, seconds: float = 0.0, **changes: Any
) -> Experiment:
    """Return an experiment whose base model knows `base` of DEV and HOLDOUT, and `tuned` after tuning."""
    task = task or Lamps()
    known, learned = {}, {}
    for split in (Split.DEV, Split.HOLDOUT):
        known |= table(task, split, right=base)
        learned |= table(task, split, right=tuned)
        wrong = {prompt: "no" for prompt in known if prompt not in learned}
        learned |= wrong
    model = Scripted(answers=known, after_tuning=learned, seconds_per_answer=seconds)
    fields: dict[str, Any] = {
        "question": "Should the lamps be tuned?",
        "task": task,
        "model": model,
        "baselines": [ZeroShot()],
        "recipes": [ScriptedTuning()],
        "metrics": [ExactMatch()],
        "go_if": [Gain(ExactMatch(), at_least=0.05)],
    }
    return Experiment(**{**fields, **changes})


@pytest.fixture
def make_experiment() -> Callable[..., Experiment]:
    """The maker of small experiments: `lamps_experiment`."""
    return lamps_experiment


# Different in each of two runs that measure the same.
_TIMED = {"break_even", "ladder"}  # insights that hold seconds
_GAUGED = {"seconds", "memory"}  # of each training step
_TIMES = {"started_at", "seconds", "lookup_seconds", "environment", "decided_at", "looked_at", "created_at"}


def final_tables(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Return every table of the store, rows sorted, without times and environments."""
    tables = {}
    for (name,) in store.query("SELECT table_name FROM duckdb_tables() ORDER BY table_name")[1]:
        columns, rows = store.query(f'SELECT * FROM "{name}"')
        kept = [place for place, column in enumerate(columns) if column not in _TIMES]
        if name == "insights":
            rows = [row for row in rows if row[columns.index("kind")] not in _TIMED]
        if name == "training_log":
            rows = [row for row in rows if row[columns.index("name")] not in _GAUGED]
        tables[name] = sorted((tuple(row[place] for place in kept) for row in rows), key=repr)
    return tables


@pytest.fixture
def tables() -> Callable[[Store], dict[str, list[tuple[object, ...]]]]:
    """What a store holds at the end, to be compared with another: `final_tables`."""
    return final_tables
