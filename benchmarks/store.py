"""Writing and drawing 100,000 answers, against the time that they may take."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from benchmarks.row import REPEATS, Row, timed
from benchmarks.setting import version
from harness import Split
from harness.api import draw_page
from harness.store.rows import (
    AnswerRow,
    ComparisonRow,
    DecisionRow,
    ExperimentRow,
    ExperimentStageRow,
    SampleRow,
    ScoreRow,
    StageRow,
    SystemMeanRow,
    SystemRow,
)
from harness.store.store import Judgement, Store
from tasks.home_commands import HomeCommands

ANSWERS = 100_000
_ROWS_A_SECOND = 20_000
_DRAWN_SECONDS = 10.0
_SYSTEMS = ("few-shot-8", "sft-lora-r16")
_METRICS = ("exact_match", "safety_rules")
_NAME, _SPLIT, _NOON = "bench", Split.HOLDOUT.value, datetime(2026, 1, 1, 12)


def rows() -> Iterator[Row]:
    samples = asked(ANSWERS // len(_SYSTEMS))
    answers = {system: answered(system, samples) for system in _SYSTEMS}
    scores = [row for system in _SYSTEMS for metric in _METRICS for row in scored(system, metric, samples)]
    with tempfile.TemporaryDirectory() as folder:
        stores = iter(Store(Path(folder) / str(number) / "results.duckdb") for number in range(REPEATS))
        written, store = timed(lambda: write(next(stores), answers))
        yield bound(f"store: {ANSWERS:,} answers", written, ANSWERS / _ROWS_A_SECOND, at_most="20,000 rows a second")
        judgement = judged(samples, scores)
        kept, _ = timed(lambda: store.judge(judgement))
        held = len(scores) + len(samples)
        at_most = "20,000 rows a second"
        yield bound(f"store: {len(scores):,} scores and {len(samples):,} samples", kept, held / _ROWS_A_SECOND, at_most)
        drawn, paths = timed(lambda: draw_page(store))
        size = next(path.stat().st_size for path in paths if path.stem == _NAME)
        page = f"page of {size / 1e6:.1f} MB"
        yield bound(f"report of {ANSWERS:,} answers", drawn, _DRAWN_SECONDS, at_most="10 s", equal=page)


def bound(work: str, seconds: tuple[float, ...], limit: float, at_most: str, equal: str = "") -> Row:
    against = f"the limit, no product: {at_most}; {version('duckdb')}"
    return Row(work=work, against=against, ours=seconds, theirs=(limit,) * len(seconds), equal=equal, target=1.0)


def write(store: Store, answers: dict[str, list[AnswerRow]]) -> Store:
    """Write each system's answers as a run does: in batches, the last with the stage."""
    for system, mine in answers.items():
        for start in range(0, len(mine) - 10_000, 10_000):
            store.append(mine[start : start + 10_000])
        store.finish(stage(system), rows=mine[-10_000:])
    return store


def asked(count: int) -> list[SampleRow]:
    """Return rows of the bundled task's commands, again and again with a number behind them."""
    source = HomeCommands(language="en").samples(Split.HOLDOUT)
    return [
        SampleRow(
            experiment=_NAME,
            split=_SPLIT,
            sample_id=f"holdout-{place}",
            position=place,
            input=f"{source[place % len(source)].input} ({place})",
            reference=source[place % len(source)].reference,
            expected=source[place % len(source)].expected,
            cluster=f"template-{place % 500}",
            tags={},
        )
        for place in range(count)
    ]


def answered(system: str, samples: list[SampleRow]) -> list[AnswerRow]:
    shots = "\n".join(f"user: {sample.input}\nassistant: {sample.reference}" for sample in samples[:8])
    return [
        AnswerRow(
            stage_key=system,
            sample_id=sample.sample_id,
            repeat=0,
            prompt=f"{shots}\nuser: {sample.input}\nassistant: ",
            text=sample.reference if right(system, sample) else sample.input,
            value=sample.expected if right(system, sample) else None,
            tokens_in=len(shots) // 4,
            tokens_out=24,
            seconds=0.05,
        )
        for sample in samples
    ]


def right(system: str, sample: SampleRow) -> bool:
    return sample.position % 10 < (9 if system == _SYSTEMS[1] else 6)


def scored(system: str, metric: str, samples: list[SampleRow]) -> list[ScoreRow]:
    return [
        ScoreRow(
            stage_key=system,
            sample_id=sample.sample_id,
            repeat=0,
            metric=metric,
            score=float(right(system, sample)),
            error=None,
            detail=[],
            experiment=_NAME,
            system=system,
            split=_SPLIT,
            seed=0,
        )
        for sample in samples
    ]


def stage(system: str) -> StageRow:
    return StageRow(
        key=system,
        experiment=_NAME,
        kind="answer",
        system=system,
        split=_SPLIT,
        seed=0,
        started_at=_NOON,
        seconds=60.0,
        tokens_in=1_000_000,
        tokens_out=100_000,
        environment={"device": "cpu"},
    )


def judged(samples: list[SampleRow], scores: list[ScoreRow]) -> Judgement:
    finding = {"criterion": "a gain", "metric": _METRICS[0], "status": "met", "value": 0.3, "low": 0.29, "high": 0.31}
    experiment = ExperimentRow(name=_NAME, question="?", declaration={}, criteria_key="c", created_at=_NOON)
    system = SystemRow(
        experiment=_NAME, system=_SYSTEMS[0], role="baseline", model="smollm2", description="", chosen=True
    )
    comparison = ComparisonRow(
        experiment=_NAME,
        metric=_METRICS[0],
        split=_SPLIT,
        baseline=_SYSTEMS[0],
        tuned=_SYSTEMS[1],
        better="higher",
        baseline_mean=0.6,
        tuned_mean=0.9,
        tuned_low=0.89,
        tuned_high=0.91,
        difference=0.3,
        low=0.29,
        high=0.31,
        p_value=0.0,
        samples=len(samples),
        seeds=1,
        method="t interval",
    )
    decision = DecisionRow(
        experiment=_NAME,
        decided_at=_NOON,
        verdict="GO",
        reason="every criterion is met",
        findings=[finding],
        criteria_key="c",
        post_hoc=False,
        known_negative=False,
    )
    return Judgement(
        experiment=experiment,
        memberships=[
            ExperimentStageRow(experiment=_NAME, stage_key=name, system=name, kind="answer", split=_SPLIT, seed=0)
            for name in _SYSTEMS
        ],
        systems=[system, replace(system, system=_SYSTEMS[1], role="tuned")],
        samples=samples,
        scores=scores,
        comparisons=[comparison],
        system_means=[
            SystemMeanRow(
                experiment=_NAME,
                system=name,
                split=_SPLIT,
                metric=_METRICS[0],
                better="higher",
                mean=mean,
                low=mean - 0.01,
                high=mean + 0.01,
                samples=len(samples),
            )
            for name, mean in zip(_SYSTEMS, (0.6, 0.9), strict=True)
        ],
        checks=[],
        decision=decision,
    )
