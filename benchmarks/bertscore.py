"""BERTScore of 2,000 pairs on the packaged encoder, against the bert-score package's own scorer."""

import random
from collections.abc import Iterator, Sequence
from functools import cache

from bert_score import BERTScorer

from benchmarks.row import Row, timed
from benchmarks.setting import version
from harness import Answer, BERTScore, Sample, Split
from harness.inference.bertscore import _open_encoder, _packaged_folder, score_all
from harness.metrics.model_based import PACKAGE
from tasks.home_commands import HomeCommands

PAIRS = 2000
_LAYER = 5
_NOTHING_TO_SHARE = (
    "no text comes twice, so both encode every text: that arithmetic is all but the whole time, and ours differs by "
    "the padding it does without"
)

_Pairs = list[tuple[str, str]]


def rows() -> Iterator[Row]:
    shared = shared_references(PAIRS)
    yield compared(f"BERTScore, {PAIRS:,} pairs: two systems' answers to {PAIRS // 2:,} samples", shared, target=1.5)
    flat = [[pair for system in distinct(PAIRS) for pair in system]]
    yield compared(f"BERTScore, {PAIRS:,} pairs, all texts distinct", flat, target=None, note=_NOTHING_TO_SHARE)


def shared_references(count: int) -> list[_Pairs]:
    """Return the pairs of two systems on the same samples.

    A fifth of a system's answers are another sample's answer too, as labels and set phrases are, and a third of the
    second system's are the first's; a tuned model's right answers are the reference.
    """
    drawn = random.Random(0)  # noqa: S311 - a fixed draw
    references = commands()[: count // 2]
    spare = commands()[count // 2 :]
    first = [drawn.choice(spare[:50]) if drawn.random() < 0.2 else drawn.choice(spare) for _ in references]
    second = [
        drawn.choices((reference, said, drawn.choice(spare)), weights=(1, 1, 1))[0]
        for reference, said in zip(references, first, strict=True)
    ]
    return [list(zip(said, references, strict=True)) for said in (first, second)]


def distinct(count: int) -> list[_Pairs]:
    texts = commands()
    return [list(zip(texts[:count], texts[count : 2 * count], strict=True))]


@cache
def commands() -> list[str]:
    """Return distinct texts: two commands to a home in a row, of 10 to 50 tokens."""
    task = HomeCommands(language="en")
    single = sorted({sample.input for split in Split for sample in task.samples(split)})
    drawn = random.Random(1)  # noqa: S311 - a fixed draw
    found = dict.fromkeys(f"{drawn.choice(single)}, then {drawn.choice(single)}" for _ in range(3 * PAIRS))
    return list(found)[: 2 * PAIRS]


def compared(work: str, systems: Sequence[_Pairs], *, target: float | None, note: str = "") -> Row:
    metric = BERTScore()
    package = BERTScorer(model_type=str(_packaged_folder()), num_layers=_LAYER, device="cpu", nthreads=1)
    encoder = _open_encoder(metric.model, metric.layers, metric.batch_size, metric.content_key)

    def ours() -> list[list[float]]:
        encoder.kept.clear()  # nothing of the repeat before
        return [numbers for pairs in systems for numbers in scored(metric, pairs)]

    def theirs() -> list[list[float]]:
        return [numbers for pairs in systems for numbers in scored_by_package(package, pairs)]

    our_seconds, got = timed(ours)
    their_seconds, expected = timed(theirs)
    farthest = max(
        abs(a - b) for mine, other in zip(got, expected, strict=True) for a, b in zip(mine, other, strict=True)
    )
    texts = {text for pairs in systems for pair in pairs for text in pair}
    return Row(
        work=f"{work}, {len(texts):,} distinct texts",
        against=f"{version('bert-score')}, {PACKAGE} layer {_LAYER}, a call a system",
        ours=our_seconds,
        theirs=their_seconds,
        equal=f"precision, recall and F1 within {farthest:.0e}",
        target=target,
        note=note,
    )


def scored(metric: BERTScore, pairs: _Pairs) -> list[list[float]]:
    samples = [Sample(id=str(place), input="", reference=reference) for place, (_, reference) in enumerate(pairs)]
    answers = [Answer(sample_id=str(place), text=text) for place, (text, _) in enumerate(pairs)]
    found = []
    for score in score_all(metric, samples, answers):
        assert isinstance(score.detail, dict)
        found.append([score.detail["precision"], score.detail["recall"], score.value])
    return found


def scored_by_package(package: BERTScorer, pairs: _Pairs) -> list[list[float]]:
    answers, references = (list(side) for side in zip(*pairs, strict=True))
    precision, recall, f1 = package.score(answers, references)
    return [list(numbers) for numbers in zip(precision.tolist(), recall.tolist(), f1.tolist(), strict=True)]
