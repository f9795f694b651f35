"""What reading a task's rows found stands among the data checks of its run."""

import json
from pathlib import Path

from harness import DatasetTask, ExactMatch, Experiment, Gain, Split, ZeroShot
from harness.inference.scripted import Scripted, ScriptedTuning
from harness.runner.run import run_plan
from harness.store.store import Store
from tests.runner.conftest import numbers


def written(folder: Path, split: Split, **more: object) -> str:
    path = folder / f"{split.value}.jsonl"
    rows = [{"query": one.input, "response": one.reference, **more} for one in numbers(split)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def experiment_on(folder: Path, **more: object) -> Experiment:
    files = {split.value: written(folder, split, **more) for split in Split}
    return Experiment(
        question="Worth it?",
        task=DatasetTask("lamps", **files),
        model=Scripted(answers={}),
        baselines=[ZeroShot()],
        recipes=[ScriptedTuning()],
        metrics=[ExactMatch()],
        go_if=[Gain(ExactMatch(), at_least=0.05)],
    )


def test_guesses_and_columns_that_nothing_reads_are_on_the_page_and_told_anew(store: Store, tmp_path: Path) -> None:
    run_plan(experiment_on(tmp_path), name="lamps", store=store)
    run_plan(experiment_on(tmp_path, origin="web"), name="lamps", store=store)

    checks = {check.name: check for check in store.evidence("lamps").checks if check.kind == "data"}
    assert checks["columns read"].detail.startswith("300 rows 'query' -> 'response'; guessed from the names")
    assert (checks["columns not read"].status, checks["columns not read"].detail) == ("ok", "no reader uses 'origin'")
