"""A run that is killed in the middle of any stage ends, when run again, as an undisturbed one does."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from harness.experiment.decide import Verdict
from harness.runner.run import Options, run_plan
from harness.store.store import Store

_KILLABLE = Path(__file__).with_name("killable.py")


@pytest.fixture(scope="module")
def killable() -> ModuleType:
    """The module that the killed processes run: what they measure, this one finishes."""
    spec = importlib.util.spec_from_file_location("killable", _KILLABLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kill_in(stage: str, *, at: int, store: Store, model: str) -> None:
    """Run the experiment in a process that is killed when it has come to advance number `at` of `stage`."""
    child = subprocess.Popen(
        [sys.executable, str(_KILLABLE), str(store.path), model],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    seen = 0
    for line in child.stdout:
        if line.strip() == stage:
            seen += 1
            if seen == at:
                break
        child.stdin.write("\n")
        child.stdin.flush()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert seen == at, f"the run ended before advance {at} of {stage!r}"
    assert child.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(killable: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("undisturbed") / "results.duckdb")
    assert run_plan(killable.declared("scripted"), name="lamps", store=store).decision.verdict is Verdict.GO
    return store


@pytest.mark.parametrize(
    ("stage", "table", "kept"),
    [
        ("answer zero-shot on dev", "answers", 8),
        ("scripted-tuning, seed 0", "training_log", 0),
        ("likelihood scripted-tuning on holdout", "likelihoods", 8),
    ],
)
def test_nothing_is_lost_or_doubled(
    stage: str, table: str, kept: int, killable: ModuleType, undisturbed: Store, store: Store, tables: Callable
) -> None:
    kill_in(stage, at=2, store=store, model="scripted")
    unfinished = f"SELECT count(*) FROM {table} WHERE stage_key NOT IN (SELECT key FROM stages)"
    assert store.query(unfinished)[1] == [(kept,)]

    decision = run_plan(killable.declared("scripted"), name="lamps", store=store).decision

    assert decision.verdict is Verdict.GO
    assert tables(store) == tables(undisturbed)


def test_a_run_killed_twice_in_one_stage_comes_to_the_same_end(
    killable: ModuleType, undisturbed: Store, store: Store, tables: Callable
) -> None:
    for kept in (8, 16):
        kill_in("answer scripted-tuning on holdout", at=2, store=store, model="scripted")
        assert store.query("SELECT count(*) FROM answers WHERE stage_key NOT IN (SELECT key FROM stages)")[1] == [
            (kept,)
        ]

    run_plan(killable.declared("scripted"), name="lamps", store=store)

    assert tables(store) == tables(undisturbed)


def test_a_real_model_killed_in_its_baseline_says_the_same_in_the_end(
    killable: ModuleType, tiny_model: Path, tmp_path: Path, store: Store, tables: Callable
) -> None:
    undisturbed = Store(tmp_path / "undisturbed" / "results.duckdb")
    until = Options(until="baseline")
    run_plan(killable.declared(str(tiny_model)), name="lamps", store=undisturbed, options=until)

    kill_in("answer zero-shot on dev", at=3, store=store, model=str(tiny_model))
    ((kept,),) = store.query("SELECT count(*) FROM answers")[1]
    assert 0 < kept < 150  # a part of one group, which is computed again as a whole
    run_plan(killable.declared(str(tiny_model)), name="lamps", store=store, options=until)

    assert tables(store) == tables(undisturbed)
    assert len({text for (text,) in store.query("SELECT text FROM answers")[1]}) > 10  # no constant answer
