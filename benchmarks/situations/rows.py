"""Data files whose rows mean something else than they seem to."""

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.situations.situation import Got, Play, Situation, decide_once
from benchmarks.situations.world import WRONG, Words, World, words_task
from harness import DatasetTask, Split
from harness.inference.scripted import Scripted

_GROUP = "Rows"
_TOLD = "blame the user"

Line = dict[str, object]


def _voted(question: str, answer: str, *, good: bool) -> Line:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "label": good}


def _votes(place: int, question: str, answer: str) -> Line | str:
    """Every other answer is a bad one, and marked so."""
    good = place % 2 == 0
    return _voted(question, answer if good else _TOLD, good=good)


def _damaged(place: int, question: str, answer: str) -> Line | str:
    """Every tenth row lacks its answer."""
    return {"prompt": question, "completion": answer if place % 10 else ""}


def _whole(place: int, question: str, answer: str) -> Line | str:
    return {"question": question, "answer": answer, "source": "web"}


def _planted(line: Callable[[int, str, str], Line | str], *, learned: str | None = None, **fields: object) -> Play:
    """Return a play of files written by `line`.

    The base model knows every fourth answer. learned: what the tuned model says to every other question, None for the
    right answers to all.
    """

    def play(folder: Path) -> Got:
        words = words_task(240)
        files = {split.value: _written(folder / f"{split.value}.jsonl", words, split, line) for split in Split}
        task = DatasetTask("words", **files, **fields)  # type: ignore[arg-type]
        experiment = World(words).experiment(task=task, model=_model(words, learned))
        return decide_once(experiment, folder)

    return play


def _written(path: Path, words: Words, split: Split, line: Callable[[int, str, str], Line | str]) -> str:
    rows = [
        line(place, words.prompt(sample)[-1].content, sample.reference)
        for place, sample in enumerate(words.samples(split))
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def _model(words: Words, learned: str | None) -> Scripted:
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for split in (Split.DEV, Split.HOLDOUT):
        for place, sample in enumerate(words.samples(split)):
            question = words.prompt(sample)[-1].content
            before[question] = sample.reference if place % 4 == 0 else WRONG
            after[question] = sample.reference if learned is None else learned if place % 2 else before[question]
    return Scripted(answers=before, after_tuning=after)


SITUATIONS = (
    Situation(
        group=_GROUP,
        name="answers voted bad",
        planted="every other row of a file of votes holds a bad answer, marked so, and tuning learned to say it",
        expected="NO_GO",
        says="misses a rise",
        play=_planted(_votes, learned=_TOLD),
    ),
    Situation(
        group=_GROUP,
        name="rows left out",
        planted='every tenth row cannot be read, with on_error="skip"',
        expected="INVALID",
        says="cannot be read",
        play=_planted(_damaged, on_error="skip"),
    ),
    Situation(
        group=_GROUP,
        name="columns guessed",
        planted="a question and its answer under names that are guessed, beside a column that nothing reads",
        expected="GO",
        says="shows",
        play=_planted(_whole),
    ),
)
