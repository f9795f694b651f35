"""The likeliest of many labels after shots: against lm-eval, against what the network can compute, and by shots."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from benchmarks.row import REPEATS, Row, timed
from benchmarks.setting import SAMPLES, SHOTS, engine, lm_eval, network, tokenizer, version
from harness import DatasetTask, FewShot, Split
from harness.inference.local.loglikelihood import LogLikelihood
from harness.inference.models.prefix_tree import SharedPrefix, shared_prefix, token_tree
from harness.inference.models.rendering import answer_ids, prompt_ids
from tasks.icd10_codes import Icd10Codes

# A folder with banking77's train.csv and test.csv (columns text and category); else the built-in codes are used.
BANKING77 = os.environ.get("BENCH_BANKING77")
# Samples of theirs: a sample has all its labels, each a row of its own.
_THEIR_SAMPLES = {20: 4, 77: 1}
_THEIR_BATCHES = (1, 8, 32)
_SHOT_COUNTS = (0, 4, 16, 64)
_SHOT_SAMPLES, _SHOT_LABELS = 40, 20
# Their labels at each number of shots: 20 labels after 64 shots would take them two minutes a sample.
_THEIR_LABELS = 4
_DENSE_SHAPES = ((4, 128), (8, 64), (8, 128), (16, 64), (16, 128), (32, 64))


@dataclass(frozen=True)
class Work:
    """Labels to weigh after prompts. rows: one a prompt and label, a prompt's labels side by side."""

    name: str
    labels: tuple[str, ...]
    rows: tuple[LogLikelihood, ...]

    def first(self, samples: int, labels: int | None = None) -> list[LogLikelihood]:
        """Return the rows of the first samples and labels."""
        count = len(self.labels)
        return [self.rows[at * count + label] for at in range(samples) for label in range(labels or count)]


def rows() -> Iterator[Row]:
    pace = None
    for labels, target in ((20, 25.0), (77, 60.0)):
        work = work_of(labels, SHOTS, SAMPLES)
        row, batch = against_lm_eval(work, target)
        yield row
        pace = pace or DensePace(network())
        yield against_the_bound(work, row, pace)
    yield from by_shots(batch)


def against_lm_eval(work: Work, target: float) -> tuple[Row, int]:
    """Return the row and the batch size that is best for lm-eval."""
    count, few = len(work.labels), _THEIR_SAMPLES[len(work.labels)]
    batch = best_batch(work.first(1)[:16])
    samples = len(work.rows) // count
    ours, got = timed(lambda: weighed(work.rows))
    theirs, expected = timed(lambda: weighed_by_lm_eval(lm_eval(batch), work.first(few)))
    same = sum(best(got[at : at + count]) == best(expected[at : at + count]) for at in range(0, few * count, count))
    worst = max(abs(one - other) for one, other in zip(got, expected, strict=False))
    return Row(
        work=f"choice among {count} labels, {SHOTS} shots, {work.name}, a sample of {samples}",
        against=f"{version('lm-eval')} HF backend, batches of {batch}, a sample of {few}",
        ours=tuple(seconds / samples for seconds in ours),
        theirs=tuple(seconds / few for seconds in theirs),
        equal=f"same choice {same} of {few}; log-likelihoods within {worst:.1e}",
        target=target,
    ), batch


def against_the_bound(work: Work, row: Row, pace: "DensePace") -> Row:
    """Return our time against that of a dense forward pass over as many tokens as are distinct."""
    samples = len(work.rows) // len(work.labels)
    tokens, scored = distinct(work.rows)
    least = tuple(tokens / pace.tokens_a_second(scored / tokens) / samples for _ in range(REPEATS))
    return Row(
        work=f"choice among {len(work.labels)} labels, beside the bound",
        against=f"the bound: {tokens} distinct tokens at the network's best pace, the head at {scored / tokens:.0%}",
        ours=row.ours,
        theirs=least,
        equal=f"{tokens / sum(len(one.read) for one in work.rows):.1%} of all tokens",
        target=1 / 1.25,
    )


def by_shots(batch: int) -> Iterator[Row]:
    """Yield our time against lm-eval's at each number of shots, and ours at the most shots against none."""
    cost: dict[int, tuple[float, ...]] = {}
    for shots in _SHOT_COUNTS:
        work = work_of(_SHOT_LABELS, shots, _SHOT_SAMPLES)
        ours, _ = timed(lambda work=work: weighed(work.rows))  # type: ignore[misc]
        before = prefix_seconds(work.rows)
        theirs, _ = timed(lambda work=work: weighed_by_lm_eval(lm_eval(batch), work.first(1, _THEIR_LABELS)), repeats=1)  # type: ignore[misc]
        cost[shots] = tuple((seconds - before) / _SHOT_SAMPLES for seconds in ours)
        yield Row(
            work=f"choice among {_SHOT_LABELS} labels, {shots} shots, the prefix too, a sample of {_SHOT_SAMPLES}",
            against=f"{version('lm-eval')} HF backend, of {_THEIR_LABELS} labels of one sample",
            ours=tuple(seconds / _SHOT_SAMPLES for seconds in ours),
            theirs=tuple(theirs[0] * _SHOT_LABELS / _THEIR_LABELS for _ in ours),
        )
    most = max(_SHOT_COUNTS)
    yield Row(
        work=f"choice among {_SHOT_LABELS} labels after {most} shots, the prefix apart",
        against="ours after none",
        ours=cost[most],
        theirs=cost[0],
        target=1 / 1.3,
    )


def work_of(labels: int, shots: int, samples: int) -> Work:
    task, names = _task(labels)
    prompter = FewShot(shots=shots).bind(task) if shots else task.prompt
    known = tokenizer()
    answers = [tuple(answer_ids(known, name, end=False)) for name in names]
    prompts = [tuple(prompt_ids(known, prompter(sample))) for sample in task.samples(Split.HOLDOUT)[:samples]]
    rows = [LogLikelihood(prompt, answer, 1) for prompt in prompts for answer in answers]
    return Work(task.name, names, tuple(rows))


def _task(labels: int) -> tuple[Any, tuple[str, ...]]:
    if BANKING77 is None:
        codes = Icd10Codes()
        return codes, tuple(sorted({sample.reference for sample in codes.samples(Split.TRAIN)})[:labels])
    folder = Path(BANKING77)
    task = DatasetTask(
        "banking77",
        train=str(folder / "train.csv"),
        holdout=str(folder / "test.csv"),
        input_column="text",
        reference_column="category",
    )
    return task, tuple(sorted({sample.reference for sample in task.samples(Split.TRAIN)})[:labels])


def weighed(rows: Sequence[LogLikelihood]) -> list[float]:
    found: dict[int, float] = {}
    for places, likelihoods in engine().likelihoods_of_tokens(rows):
        found |= {place: item.logprob for place, item in zip(places, likelihoods, strict=True)}
    return [found[place] for place in range(len(rows))]


def weighed_by_lm_eval(reference: HFLM, rows: Sequence[LogLikelihood]) -> list[float]:
    asked = [(("", str(place)), list(row.prompt), list(row.answer)) for place, row in enumerate(rows)]
    return [logprob for logprob, _ in reference._loglikelihood_tokens(asked, disable_tqdm=True)]


def _weighed_at(size: int, rows: Sequence[LogLikelihood]) -> list[float]:
    return weighed_by_lm_eval(lm_eval(size), rows)


def best_batch(rows: Sequence[LogLikelihood]) -> int:
    """Return the batch size at which lm-eval weighs `rows` in the least time."""
    seconds = {size: timed(partial(_weighed_at, size, rows), repeats=1)[0] for size in _THEIR_BATCHES}
    return min(seconds, key=seconds.__getitem__)


def distinct(rows: Sequence[LogLikelihood]) -> tuple[int, int]:
    """Return how many distinct tokens rows read, and at how many of them something is scored."""
    tree = token_tree([row.read for row in rows])
    places = {
        place for path, row in zip(tree.paths, rows, strict=True) for place in path[len(path) - len(row.answer) :]
    }
    return len(tree), len(places)


def prefix_seconds(rows: Sequence[LogLikelihood]) -> float:
    """Return the seconds that the beginning shared by all takes."""
    with torch.inference_mode():
        seconds, _ = timed(lambda: shared_prefix(network(), [row.prompt for row in rows], virtual=SharedPrefix()))
    return min(seconds)


class DensePace:
    """How fast a network reads batches without padding, at the shape where it is fastest."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def tokens_a_second(self, share: float) -> float:
        """Return tokens a second where logits are wanted of `share` of them."""
        return max(self._pace(rows, width, share) for rows, width in _DENSE_SHAPES)

    def _pace(self, rows: int, width: int, share: float) -> float:
        ids = torch.randint(0, 1000, (rows, width))
        keep = max(1, round(share * width))
        with torch.inference_mode():
            seconds = []
            for _ in range(4):
                began = time.perf_counter()
                self._model(input_ids=ids, use_cache=False, logits_to_keep=keep)
                seconds.append(time.perf_counter() - began)
        return rows * width / min(seconds)


def best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
