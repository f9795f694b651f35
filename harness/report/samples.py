"""Sample by sample: the question, the reference and what each of the two systems said.

Stored scores of one sample -> what changed between the chosen baseline and the tuned system.

Which outcomes are unexpected: what to read first among the samples that changed.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean
from typing import Literal

from harness.metrics.perplexity import PER, Perplexity
from harness.report.read import DEV, HOLDOUT, chosen, directions, finite, main_stages, primary_metric
from harness.store.rows import AnswerRow, Evidence, SampleRow, ScoreRow, SystemRow

Outcome = Literal["regressed", "improved", "both_wrong", "both_right", "same", "wrong", "right", "unscored"]

# In reading order: what tuning broke first.
LABELS: dict[Outcome, str] = {
    "regressed": "Regressed",
    "improved": "Improved",
    "both_wrong": "Both wrong",
    "both_right": "Both right",
    "same": "Same score",
    "wrong": "Wrong",
    "right": "Right",
    "unscored": "Not scored",
}


def is_binary(scores: Sequence[float]) -> bool:
    """Say whether every score is 0 or 1, so that an answer is right or wrong."""
    return bool(scores) and all(score in (0.0, 1.0) for score in scores)


def compare_outcome(baseline: Sequence[float], tuned: Sequence[float], *, better: str, binary: bool) -> Outcome:
    """Return how the tuned scores of one sample (one a seed) stand against the baseline's.

    With several seeds the share of right answers is compared, so one lost seed of three is a regression.
    """
    if not baseline or not tuned:
        return "unscored"
    before, after = sum(baseline) / len(baseline), sum(tuned) / len(tuned)
    if before != after:
        return "improved" if (after > before) == (better == "higher") else "regressed"
    if not binary or before not in (0.0, 1.0):
        return "same"
    return "both_right" if is_right(before, better=better) else "both_wrong"


def single_outcome(scores: Sequence[float], *, better: str, binary: bool) -> Outcome:
    """Return how one system alone did on one sample: all its answers right, or not."""
    if not scores or not binary:
        return "unscored" if not scores else "same"
    return "right" if all(is_right(score, better=better) for score in scores) else "wrong"


def is_right(score: float, *, better: str) -> bool:
    return score == (0.0 if better == "lower" else 1.0)


# The metrics whose details are [negative log-likelihood, units].
_OF_LIKELIHOOD = {Perplexity(per).name for per in PER}
# In a smaller slice hardly any outcome is usual.
_SMALLEST_SLICE = 8


def surprises(
    outcomes: Sequence[str], slices: Sequence[Collection[tuple[str, str]]], changes: Sequence[float | None]
) -> list[float]:
    """Return how surprising each sample's outcome is, 0 or more; larger is read first.

    Args:
        changes: Of the log-likelihood of the reference from baseline to tuned system, in nats, if it was
            measured: its size is the surprise, since the model itself changed its mind most there.
        slices: The (tag, value) pairs of each sample; if no change is known, the surprise is the information of
            the outcome, in bits, within the slice of its own in which it is rarest: -log2 of the outcome's share.
            Slices of fewer than 8 samples count as the whole set.

    Raises:
        ValueError: If the three differ in length.
    """
    sizes: Counter[tuple[str, str]] = Counter(pair for pairs in slices for pair in set(pairs))
    hits: Counter[tuple[tuple[str, str], str]] = Counter()
    for outcome, pairs in zip(outcomes, slices, strict=True):
        hits.update((pair, outcome) for pair in set(pairs))
    overall = Counter(outcomes)
    found = []
    for outcome, pairs, change in zip(outcomes, slices, changes, strict=True):
        if change is not None:
            found.append(abs(change))
            continue
        shares = [hits[pair, outcome] / sizes[pair] for pair in pairs if sizes[pair] >= _SMALLEST_SLICE]
        found.append(-math.log2(min(shares, default=overall[outcome] / len(outcomes))) + 0.0)
    return found


def likelihood_changes(evidence: Evidence, split: str, systems: Sequence[str]) -> dict[str, float]:
    """Return by how many nats the reference's log-likelihood rose from the first system to the second, by sample id.

    Perplexity's scores hold it: their detail is [negative log-likelihood, units]. Empty if it was not measured.
    """
    if len(systems) != 2:
        return {}
    found: dict[str, dict[str, list[float]]] = {system: {} for system in systems}
    for row in evidence.scores:
        if row.split == split and row.system in found and row.metric in _OF_LIKELIHOOD and isinstance(row.detail, list):
            found[row.system].setdefault(row.sample_id, []).append(-float(row.detail[0]))
    before, after = (found[system] for system in systems)
    return {name: fmean(after[name]) - fmean(before[name]) for name in before.keys() & after.keys()}


MOST_CARDS = 2000
TEXT_BUDGET_BYTES = 2_800_000
_TEXT_LIMITS = (20_000, 8_000, 4_000, 2_000, 1_000, 500, 250, 120)  # characters
_MOST_TAG_VALUES = 40

# How an answer ended, where it did not end by itself.
_ENDED: Mapping[str, str] = {
    "length": "cut at the token limit",
    "filter": "stopped by a content filter",
    "refusal": "refused",
    "tool": "a tool call",
    "empty": "empty answer",
}
_Key = tuple[str, str]  # system, sample id
_Run = tuple[int, AnswerRow, ScoreRow | None]  # seed, what was said, its score


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAnswer:
    """One distinct answer and the seeds that gave it.

    Args:
        right: None if the metric is not right-or-wrong.
        ended: In words, empty if it ended by itself.
    """

    text: str
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    right: bool | None
    ended: str
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One system's answers to one sample; right and runs count its seeds (and repeats)."""

    system: str
    role: str
    said: tuple[ShownAnswer, ...]
    right: int | None
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """change: of the reference's log-likelihood from the first side to the second, in nats, if it was measured."""

    number: int
    sample_id: str
    input: str
    reference: str
    group: str | None
    tags: tuple[tuple[str, str], ...]
    outcome: Outcome
    sides: tuple[Side, ...]
    change: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleList:
    """The cards, what tuning broke first and of that the most surprising. total: samples of the split, of which
    `cards` may be a part.

    Args:
        counts: (outcome, label, how many) of all samples.
        text_limit: Characters after which texts were cut, or None.
    """

    split: str
    metric: str | None
    systems: tuple[str, ...]
    total: int
    cards: tuple[Card, ...]
    counts: tuple[tuple[Outcome, str, int], ...]
    tag_choices: tuple[tuple[str, tuple[str, ...]], ...]
    text_limit: int | None


@dataclass(frozen=True, slots=True)
class _Scale:
    """What the primary metric's scores mean; `mark` is None if no score is right or wrong."""

    better: str
    binary: bool

    @property
    def mark(self) -> str | None:
        return self.better if self.binary else None


@dataclass(frozen=True, slots=True)
class _Answered:
    sample: SampleRow
    sides: tuple[tuple[SystemRow, tuple[_Run, ...]], ...]
    outcome: Outcome
    change: float | None = None


def sample_list(evidence: Evidence) -> SampleList:
    """Return the chosen pair on the holdout, or the best baseline alone on DEV if nothing was tuned."""
    split, systems = _what_to_show(evidence)
    metric = primary_metric(evidence)
    answered, scale = _answered(evidence, split, systems, metric)
    # Of 100,000 samples 2,000 become cards: the others are only counted.
    cards = [_card(one, scale) for one in answered[:MOST_CARDS]]
    limit = _fitting_limit(cards)
    return SampleList(
        split=split,
        metric=metric,
        systems=tuple(system.system for system in systems),
        total=len(answered),
        cards=tuple(_shortened(card, limit) for card in cards) if limit else tuple(cards),
        counts=_counts(answered),
        tag_choices=_tag_choices(cards),
        text_limit=limit,
    )


def _what_to_show(evidence: Evidence) -> tuple[str, tuple[SystemRow, ...]]:
    pair = [system for role in ("baseline", "tuned") if (system := chosen(evidence, role))]
    answered = {(row.system, row.split) for row in main_stages(evidence)}
    if len(pair) == 2 and all((system.system, HOLDOUT) in answered for system in pair):
        return HOLDOUT, tuple(pair)
    for system in (*pair, *evidence.systems):
        for split in (HOLDOUT, DEV):
            if (system.system, split) in answered:
                return split, (system,)
    return HOLDOUT, ()


def _answered(
    evidence: Evidence, split: str, systems: Sequence[SystemRow], metric: str | None
) -> tuple[list[_Answered], _Scale]:
    """Return every sample of the split in reading order, and what its scores mean."""
    if not systems:
        return [], _Scale(better="higher", binary=False)
    answers = _answers(evidence, split, {system.system for system in systems})
    scores = _scores(evidence, split, metric)
    known = [value for row in scores.values() if (value := finite(row.score)) is not None]
    scale = _Scale(better=directions(evidence).get(metric or "", "higher"), binary=is_binary(known))
    found = []
    for sample in evidence.samples:
        if sample.split == split:
            sides = tuple((system, _runs(system.system, sample.sample_id, answers, scores)) for system in systems)
            found.append(_Answered(sample, sides, _outcome([runs for _, runs in sides], scale)))
    rank = {outcome: place for place, outcome in enumerate(LABELS)}
    changes = likelihood_changes(evidence, split, [system.system for system in systems])
    surprise = surprises(
        [one.outcome for one in found],
        [tuple(_tags(one.sample)) for one in found],
        [changes.get(one.sample.sample_id) for one in found],
    )
    order = sorted(zip(found, surprise, strict=True), key=lambda pair: _reading_order(rank, *pair))
    return [replace(one, change=changes.get(one.sample.sample_id)) for one, _ in order], scale


def _reading_order(rank: Mapping[Outcome, int], one: _Answered, surprise: float) -> tuple[int, float, int]:
    """What tuning broke first; within it the most surprising, to a tenth, then the order of the data."""
    return rank[one.outcome], -round(surprise, 1), one.sample.position


def _tags(sample: SampleRow) -> Iterator[tuple[str, str]]:
    tags = sample.tags if isinstance(sample.tags, Mapping) else {}
    return ((str(name), str(value)) for name, value in sorted(tags.items()))


def _answers(evidence: Evidence, split: str, systems: Collection[str]) -> dict[_Key, list[tuple[int, AnswerRow]]]:
    """Return (seed, answer) of each system and sample."""
    stages: dict[str, list[tuple[str, int]]] = {}
    for membership in main_stages(evidence):
        if membership.split == split and membership.system in systems:
            stages.setdefault(membership.stage_key, []).append((membership.system, membership.seed))
    found: dict[_Key, list[tuple[int, AnswerRow]]] = {}
    for answer in evidence.answers:
        for system, seed in stages.get(answer.stage_key, ()):
            found.setdefault((system, answer.sample_id), []).append((seed, answer))
    return found


def _scores(evidence: Evidence, split: str, metric: str | None) -> dict[tuple[str, str, int, int], ScoreRow]:
    return {
        (row.system, row.sample_id, row.seed, row.repeat): row
        for row in evidence.scores
        if row.split == split and row.metric == metric
    }


def _runs(
    system: str,
    sample_id: str,
    answers: Mapping[_Key, Sequence[tuple[int, AnswerRow]]],
    scores: Mapping[tuple[str, str, int, int], ScoreRow],
) -> tuple[_Run, ...]:
    """Return one system's answers to one sample with their scores, equal texts side by side."""
    found = answers.get((system, sample_id), ())
    if len(found) == 1:
        (seed, row) = found[0]
        return ((seed, row, scores.get((system, sample_id, seed, row.repeat))),)
    given = sorted(found, key=lambda run: (run[0], run[1].repeat))
    by_text: dict[str, list[_Run]] = {}
    for seed, row in given:
        by_text.setdefault(row.text, []).append((seed, row, scores.get((system, sample_id, seed, row.repeat))))
    return tuple(run for runs in by_text.values() for run in runs)


def _outcome(sides: Sequence[Sequence[_Run]], scale: _Scale) -> Outcome:
    scores = [_numbers(runs) for runs in sides]
    if len(scores) == 2:
        return compare_outcome(scores[0], scores[1], better=scale.better, binary=scale.binary)
    return single_outcome(scores[0], better=scale.better, binary=scale.binary)


def _numbers(runs: Sequence[_Run]) -> list[float]:
    return [value for _, _, row in runs if row and (value := finite(row.score)) is not None]


def _card(answered: _Answered, scale: _Scale) -> Card:
    sample = answered.sample
    return Card(
        number=sample.position,
        sample_id=sample.sample_id,
        input=sample.input,
        reference=sample.reference,
        group=sample.cluster,
        tags=tuple(_tags(sample)),
        change=answered.change,
        outcome=answered.outcome,
        sides=tuple(_side(system, runs, better=scale.mark) for system, runs in answered.sides),
    )


def _side(system: SystemRow, runs: Sequence[_Run], *, better: str | None) -> Side:
    """Say equal answers of several seeds once. better: None if the metric is not right-or-wrong."""
    said = tuple(_said(text, list(same), better) for text, same in groupby(runs, key=lambda run: run[1].text))
    marks = [is_right(score, better=better) for one in said for score in one.scores] if better else []
    return Side(
        system=system.system,
        role=system.role,
        said=said,
        right=sum(marks) if marks else None,
        runs=len(runs),
    )


def _said(text: str, runs: Sequence[_Run], better: str | None) -> ShownAnswer:
    scores = _numbers(runs)
    return ShownAnswer(
        text=text,
        seeds=tuple(dict.fromkeys(seed for seed, _, _ in runs)),
        scores=tuple(scores),
        right=all(is_right(score, better=better) for score in scores) if better and scores else None,
        ended=next((_ENDED[answer.ended] for _, answer, _ in runs if answer.ended in _ENDED), ""),
        error=next((row.error for _, _, row in runs if row and row.error), None),
    )


def _counts(answered: Sequence[_Answered]) -> tuple[tuple[Outcome, str, int], ...]:
    numbers = Counter(one.outcome for one in answered)
    return tuple((outcome, label, numbers[outcome]) for outcome, label in LABELS.items() if numbers[outcome])


def _tag_choices(cards: Sequence[Card]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    values: dict[str, set[str]] = {}
    for card in cards:
        for name, value in card.tags:
            values.setdefault(name, set()).add(value)
    return tuple((name, tuple(sorted(found))) for name, found in values.items() if len(found) <= _MOST_TAG_VALUES)


def _fitting_limit(cards: Sequence[Card]) -> int | None:
    """Return how many characters a text may have so that the page stays small; None if nothing is cut."""
    texts = [text for card in cards for text in _texts(card)]
    for limit in _TEXT_LIMITS:
        if sum(len(text[:limit].encode()) for text in texts) <= TEXT_BUDGET_BYTES:
            return limit if any(len(text) > limit for text in texts) else None
    return _TEXT_LIMITS[-1]


def _texts(card: Card) -> list[str]:
    return [card.input, card.reference, *(said.text for side in card.sides for said in side.said)]


def _shortened(card: Card, limit: int) -> Card:
    """Return the card with every text cut after `limit` characters, which an ellipsis marks."""
    sides = tuple(
        replace(side, said=tuple(replace(said, text=_cut(said.text, limit)) for said in side.said))
        for side in card.sides
    )
    return replace(card, input=_cut(card.input, limit), reference=_cut(card.reference, limit), sides=sides)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
