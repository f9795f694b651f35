"""Rows to keep, and a store to keep them in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from harness.store.rows import AnswerRow, DecisionRow, ExperimentRow, LookRow, StageRow
from harness.store.store import Judgement, Store

NOON = datetime(2026, 1, 1, 12, 0, 0, 250_000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "reports" / "results.duckdb")


@pytest.fixture
def stage() -> StageRow:
    return StageRow(
        key="k1",
        experiment="lamps",
        kind="answer",
        system="zero-shot",
        split="dev",
        seed=0,
        started_at=NOON,
        seconds=1.5,
        tokens_in=10,
        tokens_out=2,
        environment={"device": "cpu", "threads": 2, "nested": {"dtype": None}},
    )


@pytest.fixture
def make_answer() -> Callable[..., AnswerRow]:
    plain = AnswerRow(
        stage_key="k1",
        sample_id="dev-0",
        repeat=0,
        prompt="user: which?",
        text="red",
        value="red",
        tokens_in=5,
        tokens_out=1,
        seconds=0.1,
    )
    return lambda sample_id="dev-0", **changes: replace(plain, sample_id=sample_id, **changes)


@pytest.fixture
def look() -> LookRow:
    return LookRow(
        holdout_key="h1",
        experiment="lamps",
        system="zero-shot",
        stage_key="k1",
        criteria_key="c1",
        looked_at=NOON,
    )


@pytest.fixture
def make_judgement() -> Callable[..., Judgement]:
    """Make a judgement with a decision and nothing else; changes are those of the decision."""
    decision = DecisionRow(
        experiment="lamps",
        decided_at=NOON,
        verdict="GO",
        reason="it is better",
        findings=[{"criterion": "a rise", "value": 0.25, "high": None}],
        criteria_key="c1",
        post_hoc=False,
        known_negative=False,
    )

    def make(**changes: object) -> Judgement:
        made = replace(decision, **changes)
        experiment = ExperimentRow(
            name=made.experiment, question="?", declaration={}, criteria_key="c1", created_at=NOON
        )
        return Judgement(experiment, (), (), (), (), (), (), (), made)

    return make
