"""What is asked before anyone tunes: is the goal measurable, was prompting tried, does the holdout show enough."""

from collections.abc import Sequence
from dataclasses import replace

from harness.compare import Comparison, standing
from harness.criteria import Criterion, Gain
from harness.insights.power import EnoughEvidence, enough_evidence, grouping
from harness.insights.readiness import Goal, Preparation, Tried, readiness
from harness.protocols import AnyMetric, CorpusMetric, HasCorpus, JudgedMetric, PairMetric
from harness.runner.answering import BySeed
from harness.runner.context import Run
from harness.runner.scoring import scored
from harness.samples import Check, Split


def asked_gain(run: Run, metric: AnyMetric) -> float:
    """Return the gain that go_if asks of a metric, in score units; 0 where it asks for any, or for none."""
    gains = [
        rule.at_least
        for rule in run.plan.experiment.go_if
        if isinstance(rule, Gain) and rule.metric.name == metric.name
    ]
    return max(gains, default=0.0)


def standing_of(run: Run, metric: AnyMetric, by_seed: BySeed) -> Comparison:
    """Return one system's mean on DEV."""
    return standing(metric, split=Split.DEV.value, system=scored(run, metric, by_seed).for_comparison())


def prepared(
    run: Run, metric: AnyMetric, baselines: Sequence[BySeed], best: BySeed, checks: Sequence[Check]
) -> tuple[Check, ...]:
    """Return the readiness list, with the primary metric's standings; what it warns of is said at once."""
    task = run.plan.experiment.task
    found = readiness(
        Preparation(
            goals=_goals(run, best),
            tried=[Tried(strategy=one[0].system.strategy, standing=standing_of(run, metric, one)) for one in baselines],
            train=run.samples(task, Split.TRAIN),
            dev=len(task.samples(Split.DEV)),
            corpus=len(task.corpus()) if isinstance(task, HasCorpus) else 0,
            checks=checks,
        )
    )
    for check in found:
        if check.status == "warning":
            run.progress.say(f"before tuning: {check.detail}")
    return found


def shown_by_holdout(run: Run, metric: AnyMetric, best: BySeed, *, left_out: frozenset[str]) -> EnoughEvidence | None:
    """Return what the holdout can show of the primary metric, by the best baseline's spread on DEV."""
    if isinstance(metric, CorpusMetric | PairMetric | JudgedMetric):
        return None
    holdout = [s for s in run.samples(run.plan.experiment.task, Split.HOLDOUT) if s.id not in left_out]
    dev = scored(run, metric, best).for_comparison()
    scores = dev.scores.mean(axis=0)
    groups = grouping([s.cluster for s in holdout], scores, dev.clusters)
    if all(s.group is None for s in holdout if s.cluster is not None):
        groups = replace(groups, alike=1.0)  # equal inputs are answered alike
    found = enough_evidence(len(holdout), asked_gain(run, metric), metric, scores=scores, groups=groups)
    if found is not None and not found.enough:
        run.progress.say(f"before tuning: {found.sentence}")
    return found


def _goals(run: Run, best: BySeed) -> list[Goal]:
    known = {metric.name: metric for metric in run.plan.experiment.metrics}
    dev = len(best[0].samples)
    goals = []
    for rule in run.plan.experiment.go_if:
        for name in rule.metrics:
            metric = known[name]
            pair = isinstance(metric, PairMetric | JudgedMetric)
            unit = getattr(metric, "unit", "") if pair else standing_of(run, metric, best).unit
            goals.append(Goal(metric=name, threshold=_threshold(rule), scored=dev, samples=dev, unit=unit))
    return goals


def _threshold(rule: Criterion) -> float | None:
    """Return the number of a criterion of the harness's own; None for a user's."""
    for name in ("at_least", "by_at_most", "value"):
        number = getattr(rule, name, None)
        if isinstance(number, int | float):
            return float(number)
    return None
