"""Reasoning: the procedural data sets of reasoning-gym as tasks, scored by their own verifiers."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from harness.errors import InvalidExperiment, MissingPackage
from harness.types.protocols import Direction
from harness.types.samples import Answer, Message, Messages, Sample, Score, Split
from tasks.stored_rows import Row, package_version, source_of, stored_rows

# Parts of the problems: the rest is held out.
_TRAIN, _DEV = 0.6, 0.1
_JOB = "Solve the problem. Give the answer alone."


@dataclass(frozen=True)
class ReasoningTask:
    """Problems of one data set of reasoning-gym.

    dataset: its name there, such as "basic_arithmetic". size: problems drawn; a question that comes twice is kept
    once, so that none is in two splits. options: of the data set, such as {"max_terms": 2}.
    instruction: the system's message. answer_tokens: most tokens of an answer.

    The value of an answer is what stands between the last <answer> and </answer>, else its text; `ReasoningScore(task)`
    lets the data set's own verifier score it. Needs the extra `reasoning`.
    """

    dataset: str = "basic_arithmetic"
    size: int = 500
    seed: int = 0
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    instruction: str = _JOB
    answer_tokens: int = 32

    def __post_init__(self) -> None:
        for name, least in (("size", 10), ("answer_tokens", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidExperiment(f"ReasoningTask({name}={getattr(self, name)}): give {least} or more")

    @property
    def name(self) -> str:
        return f"reasoning_{self.dataset}"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Raises InvalidExperiment for an unknown data set or option, MissingPackage without reasoning-gym."""
        return tuple(sample for sample in _all_samples(self._drawn) if sample.tags["split"] == split.value)

    def prompt(self, sample: Sample) -> Messages:
        return Message("system", self.instruction), Message("user", sample.input)

    def read(self, text: str) -> object | None:
        """Return the answer's text, None where there is none."""
        if "<answer>" in text:
            text = text.rpartition("<answer>")[2].partition("</answer>")[0]
        return text.strip() or None

    @property
    def _drawn(self) -> tuple[str, int, int, str]:
        return self.dataset, self.size, self.seed, json.dumps(dict(self.options), sort_keys=True)

    def score(self, sample: Sample, answer: Answer) -> float:
        """Return what the data set's verifier gives the answer, 0 to 1."""
        problems = _problems(*self._drawn)
        return float(problems.score_answer(answer.value, problems[int(sample.tags["index"])]))


@dataclass(frozen=True)
class ReasoningScore:
    """The score that the verifier of the task's data set gives, 0 to 1: a graded reward for many of them.

    An answer on which the verifier fails scores 0, and its detail says why.
    """

    task: ReasoningTask

    name: ClassVar[str] = "reasoning_score"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> Score:
        try:
            return Score(self.task.score(sample, answer))
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            return Score(0.0, detail={"verifier failed": f"{type(error).__name__}: {error}"})


@lru_cache(maxsize=8)
def _all_samples(drawn: tuple[str, int, int, str]) -> tuple[Sample, ...]:
    made_from = [*map(str, drawn), package_version("reasoning-gym"), source_of(__name__)]
    rows = stored_rows(f"reasoning_{drawn[0]}", made_from=made_from, build=lambda: _rows(drawn))
    return tuple(_sample(row) for row in rows)


def _rows(drawn: tuple[str, int, int, str]) -> list[Row]:
    problems = _problems(*drawn)
    kept: dict[str, tuple[int, str]] = {}
    for index in range(len(problems)):
        problem = problems[index]
        kept.setdefault(str(problem["question"]), (index, str(problem["answer"])))
    rows: list[Row] = []
    for place, (question, (index, answer)) in enumerate(kept.items()):
        part = place / len(kept)
        split = Split.TRAIN if part < _TRAIN else Split.DEV if part < _TRAIN + _DEV else Split.HOLDOUT
        rows.append({"index": index, "question": question, "answer": answer, "split": split.value})
    return rows


def _sample(row: Row) -> Sample:
    return Sample(
        id=f"{row['split']}-{int(str(row['index'])):05d}",
        input=str(row["question"]),
        reference=str(row["answer"]),
        tags={"split": str(row["split"]), "index": str(row["index"])},
    )


@lru_cache(maxsize=8)
def _problems(dataset: str, size: int, seed: int, options: str) -> Any:
    """Return the data set; its problems are made one by one when they are asked for."""
    # Its texts are installed without what its generators need. They import some twenty packages, which takes seconds.
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"ReasoningTask needs the package {error.name}; bring it with: pip install reasoning-gym==0.1.25"
        ) from error

    if dataset not in DATASETS:
        near = difflib.get_close_matches(dataset, DATASETS, n=3) or sorted(DATASETS)[:5]
        raise InvalidExperiment(
            f"ReasoningTask(dataset={dataset!r}): reasoning-gym has {len(DATASETS)} data sets, none of this name; "
            f"near it: {', '.join(near)}"
        )
    try:
        return reasoning_gym.create_dataset(dataset, size=size, seed=seed, **json.loads(options))
    except (AssertionError, TypeError, ValueError) as error:
        raise InvalidExperiment(f"ReasoningTask(dataset={dataset!r}, options={options}): {error}") from error
