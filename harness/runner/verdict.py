"""Gathered answers -> scores, comparisons, decision: the rows that replace an experiment's last judgement."""

from dataclasses import dataclass, field, replace

from harness.analysis.break_even import as_comparison
from harness.analysis.insights import kind_of
from harness.analysis.slices import Slice, clean_subset, slices
from harness.experiment.decide import Decision, Verdict, decide
from harness.runner.context import Run
from harness.runner.dev_analyses import GuardedSystem, continual_rows
from harness.runner.holdout import Opened, rule_changed
from harness.runner.insights import explain, paid_back
from harness.runner.pipeline import Gathered, choosing_metric
from harness.runner.records import (
    check_rows,
    comparison_row,
    decision_row,
    experiment_row,
    mean_row,
    memberships,
    sample_rows,
    slice_row,
    system_rows,
)
from harness.runner.scoring import Scored, applies, can_measure, preferred, replies_read, scored
from harness.stats.compare import DEFAULT_LEVEL, Comparison, SystemScores, compare, scores_pairs, standing
from harness.store.rows import InsightRow, ScoreRow, SliceRow, SystemMeanRow
from harness.store.store import Judgement
from harness.types.codec import to_json
from harness.types.protocols import JudgedMetric, Named, PairMetric
from harness.types.samples import Check, Split

GUARD = "guard"  # stands for the split of a guard's scores, whose sample ids may be those of the main task


@dataclass
class Tables:
    """Rows as they are made. comparisons: what the verdict is decided on."""

    scores: list[ScoreRow] = field(default_factory=list)
    means: list[SystemMeanRow] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    slices: list[SliceRow] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def judge(run: Run, seen: Gathered, *, file: str, source: str, known_negative: bool) -> Decision:
    """Score, compare, decide and store; returns the decision."""
    tables = Tables()
    for by_seed in (*seen.dev, *seen.steps):
        for metric in run.plan.experiment.metrics:
            if applies(metric, by_seed[0]):
                _keep_mean(run, tables, scored(run, metric, by_seed), Split.DEV)
    if seen.holdout is not None:
        _compare_pair(run, tables, seen, seen.holdout)
        for guarded in seen.guards:
            _compare_guard(run, tables, guarded, seen.holdout.ledger.level)
    seen = replace(seen, checks=(*seen.checks, *tables.checks))
    shown = [comparison_row(run, found) for found in tables.comparisons]
    payback = paid_back(run, seen, tables.comparisons)
    if payback is not None:
        tables.comparisons.append(as_comparison(payback))
    post_hoc = rule_changed(run)
    decision = seen.stopped or _decide(run, seen, tables, post_hoc=post_hoc)
    found = explain(run, seen, tables.comparisons, payback)
    run.store.judge(
        Judgement(
            experiment=experiment_row(run, file, source, tables.units),
            memberships=tuple(memberships(run, seen)),
            systems=tuple(system_rows(run, seen)),
            samples=tuple(sample_rows(run)),
            scores=tables.scores,
            comparisons=shown,
            system_means=tables.means,
            checks=tuple(check_rows(run, seen)),
            decision=decision_row(run, decision, post_hoc=post_hoc, known_negative=known_negative),
            slices=tables.slices,
            insights=[InsightRow(experiment=run.plan.name, kind=kind_of(one), content=to_json(one)) for one in found],
            continual=[cell for row in seen.in_a_row for cell in continual_rows(run, row, choosing_metric(run))],
        )
    )
    return decision


def _decide(run: Run, seen: Gathered, tables: Tables, *, post_hoc: bool) -> Decision:
    experiment = run.plan.experiment
    if not seen.trusted or seen.holdout is not None:
        floors = {floor.metric: floor.floor for floor in seen.noise}
        compared = [replace(found, noise=floors.get(found.metric, 0.0)) for found in tables.comparisons]
        return decide(experiment.go_if, experiment.guards, compared, seen.checks, post_hoc=post_hoc)
    return Decision(verdict=Verdict.INCONCLUSIVE, reason="stopped on request before the holdout was opened")


def _compare_pair(run: Run, tables: Tables, seen: Gathered, opened: Opened) -> None:
    level = opened.ledger.level
    always = {}
    if opened.sequence:
        always = {found.metric: found for found in opened.sequence[-1]}
    for metric in run.plan.experiment.metrics:
        if not (can_measure(metric, opened.baseline[0]) and can_measure(metric, opened.tuned[0])):
            continue
        sides = _sides(run, metric, opened)
        if isinstance(metric, JudgedMetric) and metric.judge is not None:
            tables.checks.append(replies_read(metric.name, metric.judge.name, sides[1]))
        if scores_pairs(metric) and all(side.read for side in sides):
            _keep_shares(run, tables, sides)
        else:
            for side in sides:
                _keep_mean(run, tables, side, Split.HOLDOUT)
        if not all(side.read for side in sides):
            continue  # nothing is left to compare, and the check says why
        before, after = (side.for_comparison(without=seen.left_out) for side in sides)
        found = always.get(metric.name) or _compared(metric, before, after, level)
        tables.comparisons.append(found)
        tables.units[metric.name] = found.unit
        _keep_slices(run, tables, seen, sides)


def _sides(run: Run, metric: Named, opened: Opened) -> tuple[Scored, Scored]:
    if isinstance(metric, PairMetric | JudgedMetric):
        ours, theirs = preferred(run, metric, opened.tuned, opened.baseline)
        return theirs, ours
    return scored(run, metric, opened.baseline), scored(run, metric, opened.tuned)


def _keep_slices(run: Run, tables: Tables, seen: Gathered, sides: tuple[Scored, Scored]) -> None:
    """Slices explore what go_if judges; the clean subset is what a leak cannot have helped."""
    assert seen.holdout is not None
    metric, level = sides[0].metric, seen.holdout.ledger.level
    before, after = (side.for_comparison() for side in sides)
    found: list[Slice] = []
    if any(metric.name in rule.metrics for rule in run.plan.experiment.go_if):
        kept = set(before.sample_ids)
        samples = [sample for sample in sides[0].answered[0].samples if sample.id in kept]
        found += slices(metric, baseline=before, tuned=after, samples=samples)
    if seen.leaked:
        found += clean_subset(metric, baseline=before, tuned=after, leaked=seen.leaked, level=level)
    tables.slices += [slice_row(run, part, place) for place, part in enumerate(found)]


def _compare_guard(run: Run, tables: Tables, guarded: GuardedSystem, level: float) -> None:
    metric, name = guarded.guard.metric, guarded.guard.comparison_name
    sides = (scored(run, metric, guarded.untuned), scored(run, metric, guarded.tuned))
    for side in sides:
        tables.scores.extend(side.rows(run, GUARD, name))
    found = _compared(metric, sides[0].for_comparison(), sides[1].for_comparison(), level)
    tables.comparisons.append(replace(found, metric=name, guard=True))
    tables.units[name] = found.unit


def _compared(metric: Named, baseline: SystemScores, tuned: SystemScores, level: float) -> Comparison:
    return compare(metric, split=Split.HOLDOUT.value, baseline=baseline, tuned=tuned, level=level)


def _keep_mean(run: Run, tables: Tables, side: Scored, split: Split) -> None:
    tables.scores.extend(side.rows(run, split.value))
    if not side.read:
        return
    stands = standing(side.metric, split=split.value, system=side.for_comparison(), level=DEFAULT_LEVEL)
    tables.units[side.metric.name] = stands.unit
    tables.means.append(mean_row(run, stands))


def _keep_shares(run: Run, tables: Tables, sides: tuple[Scored, Scored]) -> None:
    """Keep the means of a pair of answers, with the interval that their difference has."""
    before, after = (side.for_comparison() for side in sides)
    found = _compared(sides[0].metric, before, after, DEFAULT_LEVEL)
    first = replace(
        found,
        tuned=found.baseline,
        tuned_mean=found.baseline_mean,
        tuned_low=found.baseline_low,
        tuned_high=found.baseline_high,
    )
    tables.units[found.metric] = found.unit
    for side, row in zip(sides, (first, found), strict=True):
        tables.scores.extend(side.rows(run, Split.HOLDOUT.value))
        tables.means.append(mean_row(run, row))
