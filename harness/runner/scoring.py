"""Answers -> scores. Pure metrics are computed anew each time; a metric that runs a model is a stage of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import numpy as np

from harness.errors import HarnessError, StageFailed
from harness.metrics import Latency
from harness.runner.answers import Answered, judged
from harness.runner.context import AnswerStream, Run, machine, stream
from harness.runner.latency import timed_alone
from harness.stats.compare import SystemScores
from harness.stats.seeds import average_repeats
from harness.store.rows import MeasureRow, ScoreRow
from harness.types.dotted_paths import missing_package, resolve
from harness.types.jobs import Stage
from harness.types.numbers import real_number, shown
from harness.types.protocols import (
    BatchMetric,
    Executed,
    JudgedMetric,
    Metric,
    Named,
    PairMetric,
    Priced,
    needs_likelihood,
)
from harness.types.samples import Answer, Check, Messages, Sample, Score

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Above this share of pairs without a judgement the rest is no fair part of them.
MOST_UNREAD = 0.05
# Pairs of DEV that a judge is tried on before anything is trained, and the share of them that may be unread: of a judge
# that is at the limit above, more than that happens once in a hundred times.
TRIED_PAIRS = 10
MOST_UNREAD_TRIED = 0.2
_JUDGE_REMEDY = (
    'ask for the form of the reply in Preference(instruction=...), such as "Reply with one line: Winner: A, Winner: B '
    'or Winner: tie", or name another judge'
)


@dataclass(frozen=True)
class Scored:
    """One metric's scores of one system on one split, a row of scores for each seed."""

    metric: Named
    answered: tuple[Answered, ...]
    scores: tuple[tuple[Score, ...], ...]

    @property
    def read(self) -> int:
        """How many samples have a score in every seed."""
        return sum(not any(score.error for score in of_sample) for of_sample in zip(*self.scores, strict=True))

    def for_comparison(self, *, without: frozenset[str] = frozenset()) -> SystemScores:
        """Return the scores as compare.py takes them, a row a seed. without: ids of samples to leave out.

        A sample without a score in any seed is left out of all. Several answers of one seed to one sample are averaged
        before anything else; details are those of the first.
        """
        first = self.answered[0]
        kept = [
            place
            for place, sample in enumerate(first.samples)
            if sample.id not in without and not any(scores[place].error for scores in self.scores)
        ]
        by_seed: dict[int, list[tuple[Score, ...]]] = {}
        for answered, scores in zip(self.answered, self.scores, strict=True):
            by_seed.setdefault(answered.stage.seed, []).append(scores)
        values = [[[repeat[place].value for place in kept] for repeat in repeats] for repeats in by_seed.values()]
        return SystemScores(
            system=first.system.name,
            sample_ids=tuple(first.samples[place].id for place in kept),
            scores=np.stack([average_repeats(np.array(repeats, dtype=np.float64)) for repeats in values]),
            details=tuple(tuple(repeats[0][place].detail for place in kept) for repeats in by_seed.values()),
            clusters=tuple(first.samples[place].cluster for place in kept),
        )

    def rows(self, run: Run, split: str, metric: str | None = None) -> Iterator[ScoreRow]:
        """Yield a row a score. metric: the name that a guard's comparison has."""
        for answered, scores in zip(self.answered, self.scores, strict=True):
            for answer, score, key in zip(answered.answers, scores, answered.stage_keys, strict=True):
                yield ScoreRow(
                    stage_key=key,
                    sample_id=answer.sample_id,
                    repeat=answered.stage.repeat,
                    metric=metric or self.metric.name,
                    score=None if score.error else score.value,
                    error=score.error,
                    detail=score.detail,
                    experiment=run.plan.name,
                    system=answered.system.name,
                    split=split,
                    seed=answered.stage.seed,
                )


def applies(metric: Named, answered: Answered) -> bool:
    """False if a system cannot be measured: a server that gives no likelihoods, a pair without a pair."""
    return not isinstance(metric, PairMetric | JudgedMetric) and can_measure(metric, answered)


def can_measure(metric: Named, answered: Answered) -> bool:
    """False if the metric, or the one it judges pairs by, needs likelihoods that a server does not give."""
    judged_by = getattr(metric, "by", None)
    needs = needs_likelihood(metric) or needs_likelihood(judged_by)
    return answered.system.gives_likelihoods or not needs


def scored(run: Run, metric: Named, answered: Sequence[Answered]) -> Scored:
    """Score the answers of one system, one entry a seed; answers that the metric has scored keep their scores.

    Raises:
        StageFailed: Names metric, system and sample when the metric raises or gives no finite number.
    """
    if isinstance(metric, Latency) and metric.one_at_a_time:
        answered = [timed_alone(run, metric, answered[0])]
    for one in answered:
        if metric.name not in one.scores or one.scores[metric.name][0] is not metric:
            one.scores[metric.name] = metric, _scores(run, metric, one)
    return Scored(metric, tuple(answered), tuple(one.scores[metric.name][1] for one in answered))


def preferred(
    run: Run, metric: PairMetric | JudgedMetric, tuned: Sequence[Answered], baselines: Sequence[Answered]
) -> tuple[Scored, Scored]:
    """Score a pair metric: the tuned system's share of each comparison, and the rest for the baseline.

    Of several answers to a sample, each meets the baseline's of the same number.
    """
    baseline = baselines[0]
    check_votes = getattr(metric, "check_votes", None)
    if check_votes is not None:
        check_votes([sample.id for sample in baseline.samples])
    shares = [_preferences(run, metric, one, baselines[one.stage.repeat % len(baselines)]) for one in tuned]
    rests = [tuple(Score(1.0 - share.value, share.detail, share.error) for share in seed) for seed in shares]
    mine = Scored(metric, tuple(tuned), tuple(shares))
    mean_rest = tuple(
        Score(
            float(np.mean([seed[place].value for seed in rests])),
            [seed[place].detail for seed in rests],
            next((seed[place].error for seed in rests if seed[place].error), None),
        )
        for place in range(len(baseline.samples))
    )
    return mine, Scored(metric, (baseline,), (mean_rest,))


def replies_read(metric: str, judge: str, tuned: Scored) -> Check:
    """Return whether a judge's replies were understood. tuned: the shares of the tuned system, as `preferred` gives."""
    errors = [score.error for seed in tuned.scores for score in seed]
    unread = [error for error in errors if error]
    name, said = f"replies of the judge of {metric}", f"{len(unread):,} of {len(errors):,} pairs"
    if not unread:
        return Check(name=name, status="ok", detail=f"{judge} named a winner or a tie on all of {len(errors):,} pairs")
    detail = f"{judge}: {said} had a reply that was not understood, and are left out; the first: {unread[0]}"
    if len(unread) <= MOST_UNREAD * len(errors):
        return Check(name=name, status="warning", detail=detail)
    detail += f"; above {MOST_UNREAD:.0%} what is left is no fair part: {_JUDGE_REMEDY}"
    return Check(name=name, status="invalid", detail=detail)


def tried_judge(run: Run, metric: JudgedMetric, best: Answered) -> Check:
    """Return whether the judge is understood on a few DEV pairs: the baseline's answer against the reference.

    A judge that is not would make the verdict INVALID after training, and naming another one then changes the rule.
    """
    assert metric.judge is not None
    own, references = tried_pairs(best)
    errors = [error for score in _votes(run, metric, references, own) if (error := score.error)]
    name = f"judge of {metric.name} on dev"
    asked = f"tried on {len(own.samples)} DEV pairs, {metric.judge.name} was"
    if not errors:
        return Check(name=name, status="ok", detail=f"{asked} understood on all")
    detail = f"{asked} not understood on {len(errors)}; the first: {errors[0]}"
    if len(errors) <= max(1, MOST_UNREAD_TRIED * len(own.samples)):
        return Check(name=name, status="warning", detail=detail)
    return Check(name=name, status="invalid", detail=f"{detail}; {_JUDGE_REMEDY}")


def tried_pairs(best: Answered) -> tuple[Answered, Answered]:
    """Return the first DEV samples as the baseline answered them, and answered with their references."""
    samples, answers = best.samples[:TRIED_PAIRS], best.answers[:TRIED_PAIRS]
    own = replace(best, samples=samples, answers=answers)
    meant = tuple(Answer(sample_id=sample.id, text=sample.reference) for sample in samples)
    return own, replace(own, answers=meant)


def _scores(run: Run, metric: Named, answered: Answered) -> tuple[Score, ...]:
    where = f"metric {metric.name!r} on {answered.system.name}"
    if isinstance(metric, Executed):
        return _measured(run, metric, answered)
    if isinstance(metric, Priced):
        metric = metric.priced(answered.system.model, run.plan.experiment.costs)
    if isinstance(metric, BatchMetric):
        found: object = _called(where, metric.score_all, answered.samples, answered.answers)
    elif isinstance(metric, Metric):
        found = [
            _called(f"{where}, sample {sample.id!r}", metric.score, sample, answer)
            for sample, answer in zip(answered.samples, answered.answers, strict=True)
        ]
    else:
        raise StageFailed(f"{where}: it has neither score() nor score_all(); a metric needs one of them")
    return _checked(where, found, answered.samples)


def one_score(metric: Metric | BatchMetric, sample: Sample, answer: Answer) -> float | Score:
    """Return what a metric gives a single answer, as it gives it."""
    where = f"metric {metric.name!r}, sample {sample.id!r}"
    if isinstance(metric, BatchMetric):
        return _called(where, metric.score_all, (sample,), (answer,))[0]
    return _called(where, metric.score, sample, answer)


def _preferences(run: Run, metric: object, tuned: Answered, baseline: Answered) -> tuple[Score, ...]:
    where = f"metric {getattr(metric, 'name', metric)!r} on {tuned.system.name} against {baseline.system.name}"
    if isinstance(metric, JudgedMetric) and metric.judge is not None:
        return _checked(where, _votes(run, metric, tuned, baseline), tuned.samples)
    assert isinstance(metric, PairMetric)
    found = [
        _called(f"{where}, sample {s.id!r}", metric.prefer, s, t, b)
        for s, t, b in zip(tuned.samples, tuned.answers, baseline.answers, strict=True)
    ]
    return _checked(where, found, tuned.samples)


def questions(
    run: Run, metric: JudgedMetric, tuned: Answered, baseline: Answered
) -> tuple[Stage, list[tuple[str, Messages]]]:
    """Return the stage of a judge's answers and what it is asked: each pair of answers in both orders."""
    judge = metric.judge
    assert judge is not None
    triples = list(zip(tuned.samples, tuned.answers, baseline.answers, strict=True))
    asked = [(f"{s.id} | tuned first", metric.question(s, t, b)) for s, t, b in triples]
    asked += [(f"{s.id} | baseline first", metric.question(s, b, t)) for s, t, b in triples]
    stage = run.plan.judge(judge, [messages for _, messages in asked], tuned.stage, schema=_schema(metric))
    return stage, asked


def _schema(metric: JudgedMetric) -> str | None:
    return getattr(metric, "reply_schema", None)


def _votes(run: Run, metric: JudgedMetric, tuned: Answered, baseline: Answered) -> list[Score]:
    judge = metric.judge
    assert judge is not None
    stage, asked = questions(run, metric, tuned, baseline)
    texts = judged(run, stage, judge, asked, schema=_schema(metric))
    return [metric.vote(texts[f"{s.id} | tuned first"], texts[f"{s.id} | baseline first"]) for s in tuned.samples]


def _measured(run: Run, metric: Executed, answered: Answered) -> tuple[Score, ...]:
    """Return the scores of a metric that runs a model, computing them once for each set of answers."""
    stage = run.plan.measure(metric, answered.stage)
    if not run.store.stage(stage.key):
        with run.lock(stage):
            if not run.store.stage(stage.key):
                _measure(run, metric, answered, stage)
    rows = {row.sample_id: row for row in run.store.measures(stage.key)}
    return tuple(Score(rows[sample.id].score, rows[sample.id].detail) for sample in answered.samples)


def _measure(run: Run, metric: Executed, answered: Answered, stage: Stage) -> None:
    where = f"metric {metric.name!r} on {answered.system.name}"

    def batches() -> Iterator[tuple[Sequence[MeasureRow], int]]:
        execute = resolve(metric.executor)
        found = _called(where, execute, metric, answered.samples, answered.answers)
        scores = _checked(where, found, answered.samples)
        rows = [
            MeasureRow(
                stage_key=stage.key,
                sample_id=sample.id,
                repeat=0,
                score=score.value,
                detail=score.detail,
            )
            for sample, score in zip(answered.samples, scores, strict=True)
        ]
        yield rows, len(rows)

    work = AnswerStream(stage, "answers", total=len(answered.samples), done=0, seconds_before=0.0)
    stream(run, work, batches(), lambda: {**machine(), "metric": metric.name})


def _called(where: str, function: Callable[Arguments, Result], *args: Arguments.args, **kw: Arguments.kwargs) -> Result:
    """Call a metric's own code; what it raises names where it happened."""
    try:
        return function(*args, **kw)
    except HarnessError:
        raise
    except ModuleNotFoundError as error:
        raise missing_package(where, error) from error
    except Exception as error:
        raise StageFailed(
            f"{where} raised {type(error).__name__}: {error}; mend the metric and run again: all answers are stored, "
            "nothing is generated twice"
        ) from error


def _checked(where: str, found: object, samples: Sequence[Sample]) -> tuple[Score, ...]:
    """Return the scores with plain floats; what is no finite real number is refused by name of metric and sample."""
    try:
        items = None if isinstance(found, str | bytes | Mapping) else list(found)  # type: ignore[call-overload]
    except TypeError:  # None, one number for all
        items = None
    if items is None:
        raise StageFailed(f"{where} gave {shown(found)}; give a list with one score for each of {len(samples)} answers")
    if len(items) != len(samples):
        raise StageFailed(f"{where} gave {len(items)} scores for {len(samples)} answers; give one for each, in order")
    return tuple(_as_score(where, item, sample) for item, sample in zip(items, samples, strict=True))


def _as_score(where: str, item: object, sample: Sample) -> Score:
    value, detail = (item.value, item.detail) if isinstance(item, Score) else (item, None)
    if isinstance(item, Score) and item.error:
        return Score(float("nan"), detail, item.error)
    number = real_number(value)
    if number is None:
        given = f"Score({shown(value)})" if isinstance(item, Score) else shown(value)
        raise StageFailed(
            f"{where} gave {given} for sample {sample.id!r}; a score is a finite number: return a float, a bool or a "
            "Score of one"
        )
    return Score(number, detail)
