"""leaks="drop_train": copies of what is measured on leave what is trained on, shown and retrieved."""

from dataclasses import dataclass, replace

import pytest

from harness import FewShot, InvalidExperiment, Passage, Split
from harness.api import preview
from harness.data.leakage.drop_train import without_copies
from harness.plan import Plan
from harness.runner.expected import expected_stages
from harness.runner.run import run_plan


def with_copies(lamps):
    """Three train samples are holdout or dev samples: word for word, in capitals, by their group."""
    train = list(lamps.samples(Split.TRAIN))
    holdout, dev = list(lamps.samples(Split.HOLDOUT)), lamps.samples(Split.DEV)
    train[1] = replace(train[1], input=holdout[3].input, reference=holdout[3].reference)
    train[2] = replace(train[2], input=f"{dev[5].input.upper()}!")
    train[4] = replace(train[4], group="form 1")
    holdout[9] = replace(holdout[9], group="form 1")
    return lamps.with_rows(Split.TRAIN, tuple(train)).with_rows(Split.HOLDOUT, tuple(holdout))


def test_copies_leave_training_and_few_shot_examples_and_are_counted(make_experiment, store, lamps):
    experiment = make_experiment(
        task=with_copies(lamps), leaks="drop_train", baselines=[FewShot(shots=5, select="fixed")]
    )
    decision = run_plan(experiment, name="planted", store=store).decision

    assert decision.verdict.value == "GO"
    evidence = store.evidence("planted")
    (check,) = [row for row in evidence.checks if row.name == "copies dropped from train"]
    assert (check.status, check.detail) == (
        "warning",
        "3 of 60 train samples left out of training and few-shot examples, since they share text, id or group with "
        "holdout or dev; 57 are left",
    )
    assert {item["id"] for item in check.items} == {"train-1", "train-2", "train-4"}
    assert {row.sample_id for row in evidence.samples if row.split == "train"}.isdisjoint(
        {"train-1", "train-2", "train-4"}
    )
    copied = with_copies(lamps).samples(Split.TRAIN)[1].input
    asked = [row.prompt for row in evidence.answers]
    assert all(prompt.count(copied) <= 1 for prompt in asked)
    assert sum(copied in prompt for prompt in asked) == 2  # as a question of the holdout, of two systems


def test_without_copies_every_stage_is_shared(make_experiment, lamps):
    keys = [
        [one.stage.key for one in expected_stages(Plan(make_experiment(task=lamps, leaks=leaks), "planted"))]
        for leaks in ("refuse", "drop_train")
    ]
    copied = Plan(make_experiment(task=with_copies(lamps), leaks="drop_train"), "planted")
    refused = Plan(make_experiment(task=with_copies(lamps)), "planted")

    assert keys[0] == keys[1]
    tuned = [[one.stage.key for one in expected_stages(plan) if one.stage.kind == "tune"] for plan in (copied, refused)]
    assert tuned[0] != tuned[1]


def test_a_refused_leak_names_both_ways_out(make_experiment, store, lamps):
    decision = run_plan(make_experiment(task=with_copies(lamps)), name="planted", store=store).decision

    assert decision.verdict.value == "INVALID"
    assert 'leaks="exclude" judges on the other 198 of 200 holdout samples' in decision.reason
    assert 'leaks="drop_train" takes copies out of train, the few-shot examples and the passages' in decision.reason


def test_a_copy_of_holdout_in_dev_remains_and_is_said(make_experiment, store, lamps):
    dev = list(lamps.samples(Split.DEV))
    dev[0] = replace(dev[0], input=lamps.samples(Split.HOLDOUT)[0].input)
    task = lamps.with_rows(Split.DEV, tuple(dev))
    decision = run_plan(make_experiment(task=task, leaks="drop_train"), name="planted", store=store).decision

    assert decision.verdict.value == "INVALID"
    assert "train is without copies already; what is left is between holdout, dev" in decision.reason


def test_nothing_left_to_train_on_is_refused(make_experiment, lamps, tmp_path):
    train = tuple(replace(s, id=f"t{n}") for n, s in enumerate(lamps.samples(Split.HOLDOUT)[:5]))
    experiment = make_experiment(task=lamps.with_rows(Split.TRAIN, train), leaks="drop_train")
    with pytest.raises(InvalidExperiment, match="leaves nothing to train on: all 5 train samples are copies"):
        Plan(experiment, "planted")
    (line,) = preview(experiment, name="planted", store_path=tmp_path / "results.duckdb")
    assert line.startswith("planted: the plan cannot be made: task 'lamps': leaks=\"drop_train\" leaves nothing")


def test_an_id_in_two_splits_leaves_train(make_experiment, store, lamps):
    train = (
        *lamps.samples(Split.TRAIN),
        replace(lamps.samples(Split.TRAIN)[0], id="holdout-100", input="another lamp"),
    )
    task = lamps.with_rows(Split.TRAIN, train)

    assert (
        run_plan(make_experiment(task=task, leaks="drop_train"), name="planted", store=store).decision.verdict.value
        == "GO"
    )


def test_passages_made_from_copies_leave_the_corpus(lamps):
    @dataclass(frozen=True)
    class Shelf(type(lamps)):
        def corpus(self):
            samples = [s for split in (Split.TRAIN, Split.HOLDOUT) for s in self.samples(split)[:6]]
            return [Passage(f"p-{s.id}", s.input, s.id) for s in samples] + [Passage("book", "a manual", None)]

    shelf = Shelf(rows=with_copies(lamps).rows)
    found = without_copies(shelf).task

    assert [one.id for one in found.corpus()] == ["p-train-0", "p-train-3", "p-train-5", "book"]
    assert len(shelf.corpus()) == 13
