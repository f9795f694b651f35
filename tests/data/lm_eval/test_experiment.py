"""A whole experiment on tasks of lm-eval, with a real model: baselines, a LoRA, a guard, the store, the page."""

from pathlib import Path

import pytest

from harness import SFT, Accuracy, Experiment, FewShot, Gain, Guard, LmEvalTask, LoRA, Model, Perplexity, ZeroShot
from harness.report.write import write_reports
from harness.runner.run import run_plan
from harness.store.store import Store


@pytest.fixture(scope="module")
def experiment(folder: Path, tiny_model: Path) -> Experiment:
    task = LmEvalTask("lamps_choice", include_path=folder)
    text = LmEvalTask("lamps_text", include_path=folder)
    return Experiment(
        question="Does a LoRA learn which lamp does what?",
        task=task,
        model=Model(str(tiny_model), dtype="float32", device="cpu"),
        baselines=[ZeroShot(), FewShot(shots=2)],
        recipes=[SFT(adapter=LoRA(rank=4), epochs=1, learning_rate=1e-3)],
        metrics=[task.metric("acc"), task.metric("acc_norm"), Accuracy(), Perplexity()],
        go_if=[Gain(task.metric("acc"), at_least=0.9)],
        guards=[Guard(text, text.metric("byte_perplexity"), by_at_most=1e6)],
    )


@pytest.fixture(scope="module")
def store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("reports") / "results.duckdb")
    run_plan(experiment, name="lamps", store=store)
    return store


def test_it_ends_in_a_verdict_on_lm_evals_metrics(store: Store) -> None:
    evidence = store.evidence("lamps")

    assert evidence is not None
    assert evidence.decision.verdict in ("NO_GO", "INCONCLUSIVE")
    compared = {row.metric: row.samples for row in evidence.comparisons}
    assert compared == dict.fromkeys(("acc", "acc_norm", "accuracy", "perplexity", "lamps_text: byte_perplexity"), 8)
    assert {row.status for row in evidence.checks} <= {"ok", "warning"}
    # Both say whether the likeliest choice is the right one.
    assert len({row.tuned_mean for row in evidence.comparisons if row.metric in ("acc", "accuracy")}) == 1


def test_every_choice_of_every_sample_is_stored(store: Store) -> None:
    _, rows = store.query(
        "SELECT s.system, count(DISTINCT sample_id), count(*) FROM likelihoods JOIN stages s ON s.key = stage_key "
        "WHERE s.kind = 'answer' AND s.split = 'dev' GROUP BY ALL ORDER BY ALL"
    )

    assert [row[1:] for row in rows] == [(6, 54)] * 3  # 27 choices, each with and without its question


def test_the_page_is_drawn(store: Store, tmp_path: Path) -> None:
    evidence = store.evidence("lamps")
    assert evidence is not None
    write_reports(tmp_path, [evidence])

    assert "lamps_text: byte_perplexity" in (tmp_path / "lamps.html").read_text(encoding="utf-8")


def test_a_second_run_asks_nothing(experiment: Experiment, store: Store) -> None:
    before = store.query("SELECT key, started_at FROM stages ORDER BY key")[1]

    run_plan(experiment, name="lamps", store=store)

    assert store.query("SELECT key, started_at FROM stages ORDER BY key")[1] == before
