"""What is acknowledged is kept, whole, once."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import QueryFailed, StageFailed
from harness.store.rows import HoldoutRow, LikelihoodRow, TrainingLogRow
from harness.store.store import Store

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)

# A writer that says what has been kept, and goes on until it is killed.
WRITER = """
import sys
from pathlib import Path
from harness.store.rows import AnswerRow
from harness.store.store import Store

store = Store(Path(sys.argv[1]))
for batch in range(10_000):
    rows = [
        AnswerRow(stage_key="k1", sample_id=f"{batch}-{n}", repeat=0, prompt="p" * 2000, text="t", value=n,
                  tokens_in=1, tokens_out=1, seconds=0.0)
        for n in range(50)
    ]
    store.append(rows)
    print(batch, flush=True)
"""


def test_a_batch_comes_back_as_it_was_kept(store, make_answer):
    rows = [make_answer("dev-0"), make_answer("dev-1", text="", value=None, ended="length", reasoning="Let me see")]
    store.append(rows)

    assert sorted(store.answers("k1"), key=lambda row: row.sample_id) == rows
    assert store.answers("another") == ()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(values, min_size=1, max_size=20), text=st.text(st.characters(exclude_characters="\0")))
def test_values_and_texts_come_back_as_they_were(tmp_path_factory, make_answer, drawn, text):
    store = Store(tmp_path_factory.mktemp("values") / "results.duckdb")
    rows = [make_answer(f"{n:03}", value=value, text=text) for n, value in enumerate(drawn)]
    store.append(rows)

    assert sorted(store.answers("k1"), key=lambda row: row.sample_id) == rows


def test_a_batch_with_one_row_that_is_there_already_leaves_nothing(store, make_answer):
    store.append([make_answer("dev-0")])

    with pytest.raises(Exception, match="dev-0"):
        store.append([make_answer("dev-1"), make_answer("dev-0")])
    assert [row.sample_id for row in store.answers("k1")] == ["dev-0"]


def test_finish_keeps_the_last_rows_the_log_and_the_stage(store, stage, make_answer):
    point = TrainingLogRow(stage_key="k1", step=1, epoch=0.5, name="loss", value=2.5)
    store.append([make_answer("dev-0")])
    assert store.stage("k1") is None

    store.finish(stage, rows=[make_answer("dev-1")], log=[point])

    assert store.stage("k1") == stage
    assert store.stages(["k1", "k2"]) == {"k1": stage}
    assert len(store.answers("k1")) == 2
    assert store.query("SELECT step, name, value FROM training_log")[1] == [(1, "loss", 2.5)]
    assert json.loads(store.index_path.read_text()) == ["k1"]


def test_finish_is_all_or_nothing(store, stage, make_answer):
    store.append([make_answer("dev-0")])

    with pytest.raises(Exception, match="dev-0"):
        store.finish(stage, rows=[make_answer("dev-1"), make_answer("dev-0")])
    assert store.stage("k1") is None
    assert len(store.answers("k1")) == 1


def test_a_stage_is_finished_once(store, stage, make_answer):
    store.finish(stage)

    with pytest.raises(StageFailed, match="stage k1 is finished already; two runs worked on it at once"):
        store.finish(stage, rows=[make_answer()])
    assert store.answers("k1") == ()


def test_a_killed_writer_loses_no_acknowledged_row_and_leaves_no_half_batch(store):
    with subprocess.Popen([sys.executable, "-c", WRITER, store.path], stdout=subprocess.PIPE, text=True) as writer:
        acknowledged = [int(writer.stdout.readline()) for _ in range(5)][-1]
        writer.send_signal(signal.SIGKILL)
        acknowledged = int(([acknowledged, *writer.stdout.read().split()])[-1])
    assert writer.returncode == -signal.SIGKILL

    counts = store.query(
        "SELECT split_part(sample_id, '-', 1)::INTEGER AS batch, count(*) FROM answers GROUP BY batch ORDER BY batch"
    )[1]
    assert len(counts) in (acknowledged + 1, acknowledged + 2)  # a batch may be kept and not yet told
    assert counts == [(batch, 50) for batch in range(len(counts))]


def test_changed_values_replace_those_of_one_stage_only(store, make_answer):
    store.append([make_answer("a"), make_answer("b"), make_answer("a", stage_key="k2")])
    store.revalue("k1", {"a": {"city": "Zürich", "n": None}})

    found = {(row.stage_key, row.sample_id): row.value for key in ("k1", "k2") for row in store.answers(key)}
    assert found == {("k1", "a"): {"city": "Zürich", "n": None}, ("k1", "b"): "red", ("k2", "a"): "red"}


def test_forget_takes_a_stage_with_all_its_rows(store, stage, make_answer):
    likelihood = LikelihoodRow(stage_key="k1", sample_id="a", choice="", logprob=-1.5, tokens=3, bytes=9, greedy=True)
    store.append([likelihood])
    assert store.likelihoods("k1") == (likelihood,)
    store.finish(stage, rows=[make_answer("a")])
    store.finish(replace(stage, key="k2"), rows=[make_answer("a", stage_key="k2")])
    store.forget(["k1"])

    assert (store.stage("k1"), store.answers("k1"), store.likelihoods("k1")) == (None, (), ())
    assert len(store.answers("k2")) == 1
    assert json.loads(store.index_path.read_text()) == ["k2"]


def test_a_look_is_recorded_once_and_the_first_stays(store, look):
    samples = holdout("h1", range(10))
    store.look([look], samples)
    store.look([replace(look, looked_at=look.looked_at + timedelta(days=1), criteria_key="c2")], samples)
    store.look([replace(look, system="tuned")], samples)

    assert store.looks(samples) == (replace(look, system="tuned"), look)


def test_another_pair_on_the_same_answers_is_a_look_of_its_own(store, look):
    samples = holdout("h1", range(10))
    store.look([replace(look, candidate="first pair")], samples)
    store.look([replace(look, candidate="second pair")], samples)

    assert {row.candidate for row in store.looks(samples)} == {"first pair", "second pair"}


def test_holdouts_that_share_a_tenth_of_their_samples_share_their_looks(store, look):
    elsewhere = replace(look, holdout_key="h2", experiment="torches")
    store.look([look], holdout("h1", range(100)))
    store.look([elsewhere], holdout("h2", range(90, 190)))  # ten of a hundred in common

    assert store.looks(holdout("h3", range(91, 191))) == (
        elsewhere,
    )  # nine with the first, ninety-nine with the second
    assert set(store.looks(holdout("h1", range(100)))) == {look, elsewhere}
    assert store.looks(holdout("h4", range(500, 600))) == ()
    assert store.looks(()) == ()


def holdout(key, numbers):
    return [HoldoutRow(holdout_key=key, sample_key=f"sample {number}") for number in numbers]


def test_a_repeated_equal_decision_adds_no_row(store, make_judgement):
    later = make_judgement().decision.decided_at + timedelta(hours=1)
    store.judge(make_judgement())
    store.judge(make_judgement(decided_at=later))
    store.judge(make_judgement(decided_at=later, verdict="NO_GO"))
    store.judge(make_judgement(decided_at=later + timedelta(hours=1)))

    assert [row.verdict for row in store.evidence("lamps").decisions] == ["GO", "NO_GO", "GO"]
    assert store.evidence("lamps").decision.decided_at == later + timedelta(hours=1)


def test_judging_replaces_one_experiment_and_leaves_the_others(store, make_judgement):
    store.judge(make_judgement())
    store.judge(make_judgement(experiment="torches", verdict="NO_GO"))
    store.judge(make_judgement(reason="it is still better"))

    assert store.experiments() == ("lamps", "torches")
    assert [row.reason for row in store.evidence("lamps").decisions] == ["it is better", "it is still better"]
    assert store.evidence("torches").decision.verdict == "NO_GO"
    assert store.evidence("unheard of") is None
    assert [store.decision(name) for name in ("lamps", "torches")] == [
        store.evidence(name).decision for name in ("lamps", "torches")
    ]
    assert store.decision("unheard of") is None


def test_asking_who_is_there_makes_no_file(store):
    assert store.experiments() == ()
    assert not store.path.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM answers",
        "UPDATE answers SET text = 'changed'",
        "DROP TABLE looks",
        "INSERT INTO schema_version VALUES (99)",
        "SELECT 1; DELETE FROM answers; COMMIT",
    ],
)
def test_a_query_that_would_change_something_is_refused(store, make_answer, statement):
    store.append([make_answer()])

    with pytest.raises(QueryFailed, match="read-only"):
        store.query(statement)
    assert store.answers("k1") == (make_answer(),)


def test_a_query_that_cannot_be_answered_says_why_and_what_is_there(store):
    with pytest.raises(QueryFailed) as caught:
        store.query("SELECT * FROM anwsers")

    assert "Table with name anwsers does not exist" in str(caught.value)
    assert 'harness sql "SHOW TABLES"' in str(caught.value)


def test_a_query_gives_names_and_records(store, make_answer):
    store.append([make_answer()])

    assert store.query("SELECT sample_id, text AS said FROM answers") == (["sample_id", "said"], [("dev-0", "red")])
