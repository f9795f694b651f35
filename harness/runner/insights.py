"""What else the evidence says: the insights that the page, the terminal and verdicts.json tell beside the verdict."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from harness.analysis.break_even import Payback, Quality, Requests, payback, quality_of
from harness.analysis.estimate import Estimate
from harness.analysis.forgetting import Retention, retention
from harness.analysis.learning_curve import CurveStep, LearningCurve, learning_curve
from harness.analysis.preference import Trainings, WinRates, preferences, trainings
from harness.analysis.recipe_ranking import Forgot, Ladder, TrainedRecipe, ladder
from harness.analysis.retrieval_table import FourWay, four_way
from harness.analysis.safety import SafetyTable, safety_table
from harness.analysis.sequential import StoppedEarly, stopped_early
from harness.experiment.criteria import Gain, NoWorse
from harness.metrics import Latency, SafetyRules
from harness.runner.answers import BySeed
from harness.runner.context import Run
from harness.runner.dev_analyses import GuardedSystem, asked_gain, fittings, matrix
from harness.runner.pipeline import Gathered, choosing_metric
from harness.runner.scoring import can_measure, preferred, scored
from harness.stats.compare import Comparison, compare
from harness.store.rows import StageFacts
from harness.types.jobs import System
from harness.types.models import Costs, Endpoint
from harness.types.protocols import AnyMetric, CorpusMetric, JudgedMetric, PairMetric
from harness.types.samples import Split


def explain(run: Run, seen: Gathered, comparisons: Sequence[Comparison], paid: Payback | None) -> list[object]:
    """Return the insights in the order in which a reader wants them; what the evidence lacks is absent."""
    found: list[object] = [seen.power] if seen.power is not None else []
    found += [*seen.endings, *seen.noise]
    if seen.tuned is not None:
        found += [*fittings(run), *_curve(run, seen), *_four_way(run, seen), *_ladder(run, seen)]
        matrices = [matrix(run, row, choosing_metric(run)) for row in seen.in_a_row]
        found += [made for made in matrices if made is not None]
    if seen.holdout is None:
        return found
    found += [seen.holdout.ledger, *_sequential(run, seen), *_preferences(run, seen)]
    found += [*_trainings(run, seen, comparisons), *([paid] if paid is not None else [])]
    return [*found, *_retention(run, seen, comparisons), *_safety(run, seen)]


def paid_back(run: Run, seen: Gathered, comparisons: Sequence[Comparison]) -> Payback | None:
    """Return after how many requests like the holdout's the tuned system has earned its training.

    Args:
        comparisons: Those of the holdout; the first one of answers, as go_if and metrics name them, is what it may
            cost.
    """
    if seen.holdout is None:
        return None
    alone = next((m for m in run.plan.experiment.metrics if isinstance(m, Latency) and m.one_at_a_time), None)
    sides = [
        side if alone is None else scored(run, alone, side).answered
        for side in (seen.holdout.baseline, seen.holdout.tuned)
    ]
    return payback(
        (_requests(sides[0]), _requests(sides[1])),
        training_seconds=_training(run, seen.holdout.tuned[0].system)[1] / len(run.plan.experiment.seeds),
        costs=run.plan.experiment.costs or Costs(),
        level=seen.holdout.ledger.level,
        quality=_quality(run, comparisons),
    )


def _quality(run: Run, comparisons: Sequence[Comparison]) -> Quality | None:
    """Return how the answers compare by the first metric of answers, within the loss that a NoWorse allows."""
    experiment = run.plan.experiment
    of_usage = {metric.name for metric in experiment.metrics if getattr(metric, "of_usage", False)}
    wanted = [name for rule in experiment.go_if for name in rule.metrics]
    compared = {found.metric: found for found in comparisons}
    names = [name for name in (*wanted, *(metric.name for metric in experiment.metrics)) if name not in of_usage]
    name = next((name for name in names if name in compared), None)
    if name is None:
        return None
    allowed = [rule.by_at_most for rule in experiment.go_if if isinstance(rule, NoWorse) and rule.metric.name == name]
    return quality_of(compared[name], loss=max(allowed, default=0.0))


def _requests(by_seed: BySeed) -> Requests:
    system = by_seed[0].system

    def taken(name: str) -> Any:
        seeds = sorted({one.stage.seed for one in by_seed})
        rows = [[[getattr(a, name) for a in one.answers] for one in by_seed if one.stage.seed == s] for s in seeds]
        return np.array(rows, dtype=np.float64).mean(axis=1)  # (seeds, n)

    groups = tuple(sample.cluster for sample in by_seed[0].samples)
    return Requests(
        system=system.name,
        sample_ids=tuple(sample.id for sample in by_seed[0].samples),
        tokens_in=taken("tokens_in"),
        tokens_out=taken("tokens_out"),
        seconds=taken("seconds"),
        hosted=isinstance(system.model, Endpoint),
        price_in=getattr(system.model, "price_in", None),
        price_out=getattr(system.model, "price_out", None),
        clusters=groups if any(group is not None for group in groups) else (),
        batches=tuple(tuple(answer.timed_in_batch for answer in one.answers) for one in by_seed),
    )


def _training_keys(run: Run, system: System) -> list[str]:
    return [step.stage.key for seed in run.plan.experiment.seeds for step in run.plan.steps(system, seed)]


def _training(run: Run, system: System) -> tuple[int, float]:
    """Return the tokens and seconds that tuning took, over all steps and seeds."""
    keys = _training_keys(run, system)
    stages = run.store.stages(keys).values()
    return sum(stage.tokens_in for stage in stages), sum(stage.seconds for stage in stages)


def _alone(run: Run) -> AnyMetric | None:
    """Return the primary metric where it scores one system alone."""
    metric = choosing_metric(run)
    return None if isinstance(metric, PairMetric | JudgedMetric) else metric


def _curve(run: Run, seen: Gathered) -> Iterator[LearningCurve]:
    metric = _alone(run)
    if metric is None or not run.plan.experiment.curve:
        return
    steps = [
        CurveStep(
            fraction=by_seed[0].system.share,
            examples=run.plan.examples(by_seed[0].system),
            scores=scored(run, metric, by_seed).for_comparison(),
        )
        for by_seed in (*seen.parts, seen.of(seen.tuned))
    ]
    baseline = scored(run, metric, seen.of(seen.baseline)).for_comparison()
    yield learning_curve(metric, baseline=baseline, steps=steps, at_least=asked_gain(run, metric))


def _four_way(run: Run, seen: Gathered) -> Iterator[FourWay]:
    metric = _alone(run)
    if metric is not None and seen.four is not None:
        base, base_rag, tuned, tuned_rag = (scored(run, metric, one).for_comparison() for one in seen.four)
        yield four_way(metric, base=base, base_rag=base_rag, tuned=tuned, tuned_rag=tuned_rag)


def _ladder(run: Run, seen: Gathered) -> Iterator[Ladder]:
    """Yield the recipes side by side, if there were several to choose from."""
    metric = _alone(run)
    if metric is None or seen.tuned is None or len(run.plan.tuned) < 2:
        return
    recipes = []
    for system in run.plan.tuned:
        tokens, seconds = _training(run, system)
        examples = run.plan.examples_seen(system) * len(run.plan.experiment.seeds)
        recipes.append(
            TrainedRecipe(
                scores=scored(run, metric, seen.of(system)).for_comparison(),
                examples=round(examples),
                tokens=tokens,
                seconds=seconds,
                trainable=_most(run, system, lambda facts: facts.trainable_parameters),
                total=_most(run, system, lambda facts: facts.total_parameters),
                memory=_most(run, system, lambda facts: facts.peak_memory_bytes),
                forgot=tuple(
                    _forgot(run, guarded) for guarded in seen.forgot if guarded.tuned[0].system.name == system.name
                ),
            )
        )
    holdout = None
    if seen.holdout is not None:
        holdout = scored(run, metric, seen.holdout.tuned).for_comparison(without=seen.left_out)
    baseline = scored(run, metric, seen.of(seen.baseline)).for_comparison()
    yield ladder(metric, recipes=recipes, chosen=seen.tuned.name, baseline=baseline, holdout=holdout)


def _most(run: Run, system: System, of: Callable[[StageFacts], int | None]) -> int | None:
    """Return the largest value of a fact that the trainings of a system recorded."""
    found = [of(stage.facts) for stage in run.store.stages(_training_keys(run, system)).values()]
    return max((value for value in found if value is not None), default=None)


def _forgot(run: Run, guarded: GuardedSystem) -> Forgot:
    metric = guarded.guard.metric
    untuned, tuned = (scored(run, metric, side).for_comparison() for side in (guarded.untuned, guarded.tuned))
    found = compare(metric, split=Split.DEV.value, baseline=untuned, tuned=tuned)
    return Forgot(
        guard=guarded.guard.comparison_name,
        better=metric.better,
        unit=found.unit,
        untuned=found.baseline_mean,
        difference=Estimate(found.difference, found.low, found.high),
    )


def _retention(run: Run, seen: Gathered, comparisons: Sequence[Comparison]) -> Iterator[Retention]:
    by_name = {found.metric: found for found in comparisons}
    guards = [(by_name[one.guard.comparison_name], one.guard.by_at_most) for one in seen.guards]
    kept = retention(guards, gain=by_name.get(choosing_metric(run).name))
    if kept is not None:
        yield kept


def _safety(run: Run, seen: Gathered) -> Iterator[SafetyTable]:
    assert seen.holdout is not None
    for metric in run.plan.experiment.metrics:
        if isinstance(metric, SafetyRules):
            before, after = (scored(run, metric, side) for side in (seen.holdout.baseline, seen.holdout.tuned))
            yield safety_table(
                metric,
                baseline=before.for_comparison(),
                tuned=after.for_comparison(),
                samples=seen.holdout.baseline[0].samples,
                level=seen.holdout.ledger.level,
            )


def _preferences(run: Run, seen: Gathered) -> Iterator[WinRates]:
    assert seen.holdout is not None
    before, after = seen.holdout.baseline, seen.holdout.tuned
    lengths = [np.mean([[len(a.text) for a in one.answers] for one in side], axis=0) for side in (before, after)]
    for metric in run.plan.experiment.metrics:
        if isinstance(metric, PairMetric | JudgedMetric) and can_measure(metric, before[0]):
            found = preferred(run, metric, after, before)[0]
            if not found.read:
                continue
            points = found.for_comparison(without=seen.left_out)
            places = {sample.id: place for place, sample in enumerate(before[0].samples)}
            kept = [places[name] for name in points.sample_ids]
            yield preferences(
                metric.name,
                points,
                baseline=before[0].system.name,
                extra_length=(lengths[1] - lengths[0])[kept],
                level=seen.holdout.ledger.level,
            )


def _trainings(run: Run, seen: Gathered, comparisons: Sequence[Comparison]) -> Iterator[Trainings]:
    """Yield what several seeds say of the primary metric, if it is a mean of scores."""
    metric = _alone(run)
    if seen.holdout is None or metric is None or isinstance(metric, CorpusMetric):
        return
    before, after = (
        scored(run, metric, side).for_comparison(without=seen.left_out)
        for side in (seen.holdout.baseline, seen.holdout.tuned)
    )
    if min(after.scores.shape) > 1:
        unit = next(found.unit for found in comparisons if found.metric == metric.name)
        yield trainings(metric, baseline=before, tuned=after, unit=unit, level=seen.holdout.ledger.level)


def _sequential(run: Run, seen: Gathered) -> Iterator[StoppedEarly]:
    assert seen.holdout is not None
    if not seen.holdout.sequence:
        return
    metric = choosing_metric(run)
    found = [next(one for one in looked if one.metric == metric.name) for looked in seen.holdout.sequence]
    sign = 1 if metric.better == "higher" else -1
    asked = any(isinstance(rule, Gain) and rule.metric.name == metric.name for rule in run.plan.experiment.go_if)
    yield stopped_early(
        found,
        threshold=sign * asked_gain(run, metric) if asked else 0.0,
        of=len(run.plan.experiment.task.samples(Split.HOLDOUT)) - len(seen.left_out),
    )
