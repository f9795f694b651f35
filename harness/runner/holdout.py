"""The holdout: registered before it opens, counted by whom it was seen, asked whole or until it decides."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.analysis.holdout_ledger import HoldoutLedger, holdout_ledger
from harness.analysis.sequential import Horizon, always_valid, horizon_of
from harness.data.task_part import part_of_task
from harness.plan import Plan
from harness.runner.answers import BySeed, answered_by_seed, joined
from harness.runner.context import Run
from harness.runner.scoring import scored
from harness.stats.compare import Comparison, compare
from harness.store.rows import HoldoutRow, LookRow
from harness.types.jobs import System
from harness.types.protocols import Task
from harness.types.samples import Split

# A look at the sequence costs nothing but the start of a batch, so it is looked at about so many times.
_PEEKS = 20
_SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class Opened:
    """What the chosen pair answered. sequence: the comparisons of go_if after each block, where asked in blocks."""

    baseline: BySeed
    tuned: BySeed
    ledger: HoldoutLedger
    sequence: tuple[tuple[Comparison, ...], ...] = ()


def open_holdout(run: Run, baseline: System, tuned: System, *, left_out: frozenset[str]) -> Opened:
    """Put rule and look on record, then ask both systems."""
    ledger = _register(run, baseline, tuned)
    if run.plan.experiment.stop_early:
        return _ask_in_blocks(run, baseline, tuned, ledger, left_out)
    task = run.plan.experiment.task
    before, after = (answered_by_seed(run, system, task, Split.HOLDOUT) for system in (baseline, tuned))
    return Opened(before, after, ledger)


def rule_changed(run: Run) -> bool:
    """True when this experiment opened these samples, or a tenth of them, under another rule than today's."""
    mine = [look for look in run.store.looks(_contents(run)) if look.experiment == run.plan.name and look.criteria_key]
    first = min(mine, key=lambda look: look.looked_at, default=None)
    return first is not None and first.criteria_key != run.plan.criteria_key


def sequential(run: Run, baseline: BySeed, tuned: BySeed, *, level: float, of: Horizon) -> tuple[Comparison, ...]:
    """Return the comparisons that go_if needs, with intervals that hold at every look at once.

    Args:
        of: The whole holdout, for which the sequence is tightest.
    """
    wanted = {name for criterion in run.plan.experiment.go_if for name in criterion.metrics}
    found = []
    for metric in run.plan.experiment.metrics:
        if metric.name in wanted:
            sides = [scored(run, metric, side).for_comparison() for side in (baseline, tuned)]
            plain = compare(metric, split=Split.HOLDOUT.value, baseline=sides[0], tuned=sides[1], level=level)
            found.append(always_valid(plain, baseline=sides[0], tuned=sides[1], horizon=of))
    return tuple(found)


def _register(run: Run, baseline: System, tuned: System) -> HoldoutLedger:
    """Record the looks and the rule in force before the first answer is asked for."""
    task = run.plan.experiment.task
    pairs = [(baseline, 0), *((tuned, seed) for seed in run.plan.experiment.seeds)]
    repeats = range(run.plan.repeats(task))
    stages = [run.plan.answer(s, task, Split.HOLDOUT, seed, repeat) for s, seed in pairs for repeat in repeats]
    candidate = run.plan.candidate_key(stages)
    looks = [
        LookRow(
            holdout_key=run.plan.holdout_key,
            experiment=run.plan.name,
            system=stage.system,
            stage_key=stage.key,
            criteria_key=run.plan.criteria_key,
            looked_at=run.clock(),
            candidate=candidate,
        )
        for stage in stages
    ]
    contents = _contents(run)
    run.store.look(looks, contents)
    return holdout_ledger(candidate, _candidates(run.store.looks(contents), candidate, {stage.key for stage in stages}))


def _candidates(looks: Sequence[LookRow], mine: str, stages: set[str]) -> dict[str, str]:
    """Return the candidates by their first look: what identifies each -> how it is called.

    An older record of the same stages is this candidate, not another.
    """
    seen: dict[str, list[LookRow]] = {}
    for look in sorted(looks, key=lambda look: look.looked_at):
        seen.setdefault(look.candidate, []).append(look)
    found: dict[str, str] = {}
    for candidate, its in seen.items():
        key = mine if {look.stage_key for look in its} == stages else candidate
        systems = ", ".join(dict.fromkeys(look.system for look in its))
        found.setdefault(key, f"{its[0].experiment}: {systems}")
    return found


def _contents(run: Run) -> tuple[HoldoutRow, ...]:
    key = run.plan.holdout_key
    return tuple(HoldoutRow(holdout_key=key, sample_key=sample) for sample in sorted(set(run.plan.holdout)))


def _ask_in_blocks(
    run: Run, baseline: System, tuned: System, ledger: HoldoutLedger, left_out: frozenset[str]
) -> Opened:
    samples = [s for s in run.samples(run.plan.experiment.task, Split.HOLDOUT) if s.id not in left_out]
    blocks = holdout_blocks(run.plan, left_out)
    horizon = horizon_of([sample.cluster for sample in samples])
    parts: list[tuple[BySeed, BySeed]] = []
    sequence: list[tuple[Comparison, ...]] = []
    for block in blocks:
        asked = (
            answered_by_seed(run, baseline, block, Split.HOLDOUT),
            answered_by_seed(run, tuned, block, Split.HOLDOUT),
        )
        parts.append(asked)
        before, after = (_joined_by_seed([part[side] for part in parts]) for side in (0, 1))
        sequence.append(sequential(run, before, after, level=ledger.level, of=horizon))
        looked = [replace(found, projection=None) for found in sequence[-1]]  # how many it would take is asked once
        statuses = [criterion.judge(looked).status for criterion in run.plan.experiment.go_if]
        if "failed" in statuses or set(statuses) == {"met"}:
            run.progress.say(f"the holdout decided after {sequence[-1][0].samples:,} of {len(samples):,} samples")
            break
    return Opened(before, after, ledger, tuple(sequence))


def holdout_blocks(plan: Plan, left_out: frozenset[str]) -> tuple[Task, ...]:
    """Return the holdout in an order drawn by its content, cut into the blocks that `stop_early` asks one by one.

    A cluster is drawn and asked as a whole.
    """
    task, clusters = plan.experiment.task, plan.contents.clusters(plan.experiment.task, Split.HOLDOUT)
    members: dict[tuple[str, str], list[str]] = {}
    for name in (sample.id for sample in task.samples(Split.HOLDOUT) if sample.id not in left_out):
        cluster = clusters[name]
        members.setdefault(("sample", name) if cluster is None else ("cluster", cluster), []).append(name)
    units = list(members.values())
    random.Random(plan.holdout_key).shuffle(units)  # noqa: S311 - a draw to repeat, not a secret
    size = max(_SMALLEST_BLOCK, -(-sum(map(len, units)) // _PEEKS))
    blocks: list[list[str]] = [[]]
    for unit in units:
        if len(blocks[-1]) >= size:
            blocks.append([])
        blocks[-1] += unit
    return plan.kept(tuple(_part(task, block) for block in blocks))


def _part(task: Task, ids: Sequence[str]) -> Task:
    """Return `task` with these holdout samples only."""
    by_id = {sample.id: sample for sample in task.samples(Split.HOLDOUT)}
    return part_of_task(task, {Split.HOLDOUT: tuple(by_id[name] for name in ids)})


def _joined_by_seed(parts: Sequence[BySeed]) -> BySeed:
    return tuple(joined([part[place] for part in parts]) for place in range(len(parts[0])))
