"""Tasks in a row: replayed, isolated, forgotten; asked after each step and told beside the verdict."""

from dataclasses import dataclass, replace

import pytest

from harness import DPO, ExactMatch, Guard, InvalidExperiment, Sample, Split, Steps, ZeroShot
from harness.api import preview
from harness.inference.scripted import ScriptedTuning
from harness.plan import Plan
from harness.report.page import render_page
from harness.runner.context import Engines, Run, SilentProgress
from harness.runner.run import run_plan
from harness.runner.training import job_of
from tests.runner.conftest import Lamps, lamps_experiment, numbers

SHAPES = ("round", "square", "flat")


def shapes(split):
    return tuple(
        Sample(id=f"{split.value}-{n}", input=f"box {split.value} {n * 31}", reference=SHAPES[n % 3]) for n in range(20)
    )


@dataclass(frozen=True)
class Boxes(Lamps):
    """Another task, whose sample ids are those of the lamps."""

    name: str = "boxes"

    def samples(self, split):
        return shapes(split)


BOXES = Boxes()


def lamps_step(**changes):
    return ScriptedTuning(name="lamps-step", generalise=1.0, **changes)


def boxes_step(**changes):
    return ScriptedTuning(**{"name": "boxes-step", "generalise": 0.9, "task": BOXES, **changes})


def in_a_row(*steps, **changes):
    """The model knows nothing before training, and DEV only by what a step generalised."""
    base = lamps_experiment(base=0.0, tuned=0.0)
    return replace(base, model=replace(base.model, after_tuning=()), recipes=[Steps(steps, **changes)])


def matrix(store):
    rows = store.query("SELECT step, task, score FROM continual WHERE seed = 0 ORDER BY step, task")[1]
    return {(step, task): score for step, task, score in rows}


def test_every_task_is_asked_after_every_step(store):
    guard = Guard(replace(Lamps(), name="old lamps"), ExactMatch(), by_at_most=0.05)
    run_plan(replace(in_a_row(lamps_step(), boxes_step(forget=0.5)), guards=[guard]), name="lamps", store=store)

    found = matrix(store)
    assert {task for _, task in found} == {"lamps", "boxes", "old lamps"}  # the guard has DEV samples too
    assert (found[0, "lamps"], found[1, "lamps"]) == (0.0, 1.0)
    assert 0.2 < found[2, "lamps"] < 0.8  # half of what was known is gone
    assert (found[0, "boxes"], found[1, "boxes"]) == (0.0, 0.0)
    assert found[2, "boxes"] > 0.7
    (told,) = [row.content for row in store.evidence("lamps").insights if row.kind == "continual"]
    assert told["forgetting"]["value"] == pytest.approx(1.0 - found[2, "lamps"])
    assert told["backward"]["value"] == pytest.approx(found[2, "lamps"] - 1.0)
    assert told["steps"] == ["before training", "lamps-step", "boxes-step"]
    assert '<section id="continual">' in render_page(store.evidence("lamps"))


def test_isolated_adapters_forget_nothing_and_each_answers_its_own_task(store):
    run_plan(in_a_row(lamps_step(), boxes_step(forget=0.5), isolated=True), name="lamps", store=store)

    found = matrix(store)
    assert (found[1, "lamps"], found[2, "lamps"]) == (1.0, 1.0)
    assert (found[1, "boxes"], found[2, "boxes"] > 0.7) == (0.0, True)


def taught(experiment, store):
    """Return what the last step of the recipe is taught, and the checks on it; nothing is trained."""
    plan = Plan(experiment, "lamps")
    (system,) = plan.tuned
    *earlier, last = plan.steps(system, 0)
    folders = {step.stage.key: store.folder for step in earlier}
    return job_of(Run(plan, store, SilentProgress(), Engines(SilentProgress())), system, last, folders)


@pytest.mark.parametrize(
    ("ratio", "status", "said"),
    [
        (0.25, "ok", "15 of 20 training examples of boxes (25% of 60 new ones)"),
        (1.0, "warning", "20 of 20 training examples of boxes (100% of 60 new ones); there are no more"),
        (0.001, "warning", "0 of 20 training examples of boxes (0% of 60 new ones)"),
    ],
)
def test_replayed_examples_are_drawn_and_counted(store, ratio, status, said):
    experiment = in_a_row(boxes_step(), lamps_step(mix=((BOXES, ratio),)))
    job, (check,) = taught(experiment, store)

    assert (check.name, check.status, check.detail) == ("replay", status, f"replayed beside lamps: {said}")
    assert len(job.replay) == int(said.split()[0])
    assert all(example.id.startswith("boxes/train-") for example in job.replay)
    assert len(job.train) == 60
    assert taught(experiment, store)[0].replay == job.replay


def test_a_step_is_handed_its_task_and_what_came_before(store):
    job, checks = taught(in_a_row(lamps_step(), boxes_step()), store)

    assert (job.task, job.start, job.reward, job.earlier, checks) == (BOXES, store.folder, None, (), ())
    assert [example.answer for example in job.train[:4]] == ["round", "square", "flat", "round"]
    assert job.train[1].sample.expected == "square"


def test_what_learns_from_pairs_is_handed_the_tasks_own(store):
    rows = {split: tuple(replace(s, rejected="no") for s in numbers(split)) for split in Split}
    experiment = lamps_experiment(
        task=Lamps(rows=rows), recipes=[Steps([lamps_step(), DPO(label="dpo", prompt=ZeroShot())])]
    )
    job, checks = taught(experiment, store)

    assert (len(job.pairs), len(job.dev_pairs), job.votes, checks) == (60, 40, (), ())
    assert (job.pairs[0].chosen, job.pairs[0].rejected) == ("red", "no")


def test_a_step_that_learns_the_holdout_under_another_name_makes_the_evidence_invalid(store):
    task = Lamps()
    stolen = replace(task, name="stolen", rows={**task.rows, Split.TRAIN: task.rows[Split.HOLDOUT][:30]})
    decision = run_plan(
        in_a_row(ScriptedTuning(name="thief", task=stolen), lamps_step()), name="lamps", store=store
    ).decision

    assert decision.verdict.value == "INVALID"
    assert "stolen" in decision.reason
    assert store.query("SELECT count(*) FROM stages WHERE kind = 'tune'")[1] == [(0,)]


def test_the_plan_lists_what_will_be_asked(store):
    experiment = in_a_row(lamps_step(), boxes_step())
    lines = list(preview(experiment, name="lamps", store_path=store.path))

    assert any("tune lamps-step then boxes-step, step 2 of 2 (boxes-step)" in line for line in lines)
    assert any("answer lamps-step then boxes-step after step 1 (lamps-step) on dev" in line for line in lines)
    assert any("answer lamps-step then boxes-step after step 1 (lamps-step), boxes on dev" in line for line in lines)
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: in_a_row(lamps_step(task=replace(BOXES, name="lamps"))), "two different tasks are called 'lamps'"),
        (lambda: in_a_row(boxes_step(), isolated=True), "no step trains on 'lamps', the experiment's task"),
        (lambda: in_a_row(boxes_step(task=Boxes)), r"write Boxes\(\) to make one"),
        (lambda: in_a_row(boxes_step(task="boxes")), "'boxes' is no task"),
    ],
)
def test_tasks_that_cannot_stand_in_a_row_are_refused(make, words):
    with pytest.raises(InvalidExperiment, match=words):
        make()


def test_a_task_without_examples_is_refused_before_anything_runs(store):
    empty = Lamps(name="empty").with_rows(Split.DEV, ())
    with pytest.raises(InvalidExperiment, match="task 'empty' has no dev samples; a step learns its train samples"):
        run_plan(in_a_row(ScriptedTuning(name="e", task=empty), lamps_step()), name="lamps", store=store)
