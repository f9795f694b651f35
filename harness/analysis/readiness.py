"""What should stand before anyone tunes, as a list of checks with their reasons."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from harness.analysis.slices import has_labels, label_of, word_count
from harness.prompting import RAG
from harness.stats.compare import Comparison
from harness.stats.wording import FRACTION, change, count, rounded
from harness.types.protocols import Strategy
from harness.types.samples import Check, Sample

FLOOR = 10
EFFECT = 50
_FEW_OF_A_LABEL = 10
_SHORT_WORDS = 8
_MOST_SHOWN = 20

TaskKind = Literal["labels", "short or structured answers", "free text"]
# From which number of examples tuning is usually worth trying, and where more rarely helps. The floor of 10 and an
# effect from 50 to 100 on are OpenAI's fine-tuning guide; the rest is custom, which the learning curve corrects.
USUAL: dict[TaskKind, tuple[int, int]] = {
    "labels": (500, 2_000),
    "short or structured answers": (1_000, 5_000),
    "free text": (2_000, 10_000),
}
_WHY: dict[TaskKind, str] = {
    "labels": "the answers are known, and only the borders between them must be learned",
    "short or structured answers": "a form and where its parts come from must be learned",
    "free text": "wording and judgement have the most ways to vary",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredGoal:
    """One criterion of go_if. threshold: in score units; None if the criterion keeps it to itself, as a user's own
    may. scored: of `samples` on DEV.
    """

    metric: str
    threshold: float | None
    scored: int
    samples: int
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One baseline and its standing on DEV by the primary metric."""

    strategy: Strategy
    standing: Comparison


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What was prepared before tuning.

    Args:
        tried: Every baseline variant.
        train: The training samples, `expected` filled in if it can be.
        dev: DEV's samples.
        corpus: Passages that the task brings.
        checks: Those of the data.
    """

    goals: Sequence[MeasuredGoal]
    tried: Sequence[Tried]
    train: Sequence[Sample]
    dev: int
    corpus: int
    checks: Sequence[Check]


def readiness(prepared: Preparation) -> tuple[Check, ...]:
    """Return one check a question, "ok" or "warning": none of them stops a run, all of them are shown."""
    return (
        _goal(prepared.goals),
        _prompting(prepared.tried),
        _retrieval(prepared),
        _baseline(prepared),
        training_examples(prepared.train),
        _data(prepared.checks),
    )


def task_kind(samples: Sequence[Sample]) -> TaskKind:
    """Return what kind of answers the references are: a few labels, short or structured ones, or free text."""
    if has_labels([label_of(sample) for sample in samples]):
        return "labels"
    structured = sum(_is_structured(sample.reference) for sample in samples)
    if (
        10 * structured >= 9 * len(samples)
        or median(word_count(sample.reference) for sample in samples) <= _SHORT_WORDS
    ):
        return "short or structured answers"
    return "free text"


def _goal(goals: Sequence[MeasuredGoal]) -> Check:
    vague = [goal for goal in goals if goal.threshold == 0]
    partial = [goal for goal in goals if goal.scored < goal.samples]
    if partial:
        shown = ", ".join(f"{goal.metric} scored {goal.scored:,} of {goal.samples:,}" for goal in partial)
        return _check("measurable goal", "warning", f"a goal is measured on every sample, but {shown}.")
    if goals and len(vague) == len(goals):
        names = ", ".join(goal.metric for goal in vague)
        return _check(
            "measurable goal",
            "warning",
            f"any gain in {names} would do: say in go_if how large a gain would be worth its costs.",
        )
    sizes = [change(goal.threshold, unit=goal.unit, sign=False) if goal.threshold else "" for goal in goals]
    shown = ", ".join(f"{goal.metric} {size}".rstrip() for goal, size in zip(goals, sizes, strict=True))
    return _check("measurable goal", "ok", f"a threshold is set, and every sample is scored for it: {shown}.")


def _prompting(tried: Sequence[Tried]) -> Check:
    shown = ", ".join(f"{one.standing.tuned} {_mean(one.standing)}" for one in tried[:_MOST_SHOWN])
    items = tuple({"system": one.standing.tuned, "mean": one.standing.tuned_mean} for one in tried)
    best = max((one.standing for one in tried), key=_goodness)
    if best.unit == FRACTION and best.better == "higher" and best.tuned_mean == 0:
        said = f"no prompt got a single sample right on DEV ({shown}): look at the prompts, or at how answers are read"
        return _check("prompting tried", "warning", f"{said}, before tuning makes up for it.", items)
    if len(tried) < 2:
        said = f"one prompt alone was tried on DEV ({shown}): a weak one makes any tuning look good"
        way = "add FewShot(shots=(2, 8)), or several instructions: the best on DEV is the baseline"
        return _check("prompting tried", "warning", f"{said}; {way}.", items)
    return _check("prompting tried", "ok", f"{count(len(tried), 'prompt')} tried on DEV: {shown}.", items)


def _retrieval(prepared: Preparation) -> Check:
    found = [one.standing for one in prepared.tried if isinstance(one.strategy, RAG)]
    if found:
        best = max(found, key=_goodness)
        return _check("retrieval tried", "ok", f"retrieval was tried on DEV: {best.tuned} {_mean(best)}.")
    if prepared.corpus:
        said = f"the task brings {count(prepared.corpus, 'passage')} and no baseline retrieves them"
        return _check("retrieval tried", "warning", f"{said}: add RAG(), which needs no training when facts change.")
    return _check("retrieval tried", "ok", "the task brings no corpus, so there is nothing to retrieve from.")


def _baseline(prepared: Preparation) -> Check:
    short = [one.standing for one in prepared.tried if one.standing.samples != prepared.dev]
    if short:
        shown = ", ".join(f"{standing.tuned} {standing.samples:,}" for standing in short)
        said = f"not every baseline answered all of {count(prepared.dev, 'DEV sample')}: {shown}"
        return _check("baseline on the same samples", "warning", f"{said}. Their means do not compare.")
    systems = count(len(prepared.tried), "baseline")
    verb = "answers" if len(prepared.tried) == 1 else "answer"
    said = f"{systems} {verb} the same {count(prepared.dev, 'DEV sample')} as the tuned system will"
    return _check("baseline on the same samples", "ok", f"{said}.")


def training_examples(train: Sequence[Sample]) -> Check:
    """Return whether there are as many examples as tuning for such answers usually takes."""
    n = len(train)
    if n < FLOOR:
        said = f"{count(n, 'training example')}: below {FLOOR} nothing is learned but the examples"
        return _check("training examples", "warning", f"{said}; show them as shots instead.")
    if n < EFFECT:
        said = f"{count(n, 'training example')}: an effect usually shows from {EFFECT} to 100 on"
        return _check("training examples", "warning", f"{said}; collect more, or show them as shots.")
    kind = task_kind(train)
    usual, ample = USUAL[kind]
    said = f"{count(n, 'training example')}: for {kind} {usual:,} to {ample:,} are usual, since {_WHY[kind]}"
    rare = _rare_labels(train) if kind == "labels" else ()
    if rare:
        named = f"{count(len(rare), 'label')} {'has' if len(rare) == 1 else 'have'} fewer than {_FEW_OF_A_LABEL}"
        return _check("training examples", "warning", f"{said}, and {named}.", rare)
    if n < usual:
        curve = "curve=(0.25, 0.5, 1.0) shows whether more would help"
        return _check("training examples", "warning", f"{said}; {curve}.")
    return _check("training examples", "ok", f"{said}.")


def _data(checks: Sequence[Check]) -> Check:
    if not checks:
        return _check("data checked", "warning", "no check of the data was made: look for copies between the splits.")
    wrong = [check for check in checks if check.status != "ok"]
    made = f"{count(len(checks), 'check')} of the data"
    if not wrong:
        return _check("data checked", "ok", f"{made}, all passed.")
    named = "; ".join(f"{check.name}: {check.detail}" for check in wrong[:3])
    return _check("data checked", "warning", f"{len(wrong)} of {made} found something. {named}")


def _check(name: str, status: Literal["ok", "warning"], detail: str, items: tuple[object, ...] = ()) -> Check:
    said = f"{detail[0].upper()}{detail[1:]}"
    return Check(name=name, status=status, detail=said, items=items, kind="readiness")


def _is_structured(reference: str) -> bool:
    try:
        return isinstance(json.loads(reference), dict | list)
    except ValueError:
        return False


def _rare_labels(train: Sequence[Sample]) -> tuple[object, ...]:
    counted = Counter(label_of(sample) for sample in train)
    return tuple({"label": label, "examples": n} for label, n in sorted(counted.items()) if n < _FEW_OF_A_LABEL)


def _mean(standing: Comparison) -> str:
    return rounded(standing.tuned_mean, unit=standing.unit)


def _goodness(standing: Comparison) -> float:
    return standing.tuned_mean if standing.better == "higher" else -standing.tuned_mean
