"""Recipes of several steps, from declaration to page: what is trained, kept, resumed and shown."""

from dataclasses import dataclass, replace

import pytest

from harness import ExactMatch, InvalidExperiment, StageFailed, Steps
from harness.inference.scripted import ScriptedTuning
from harness.report.page import render_page
from harness.runner.records import plain_value
from harness.runner.run import Options, run_plan
from tests.runner.conftest import Lamps

A = ScriptedTuning(name="a")
B = ScriptedTuning(name="b", learn=0.9)


def trained(store):
    """Return the labels of what was trained, in order."""
    return [row[0] for row in store.query("SELECT system FROM stages WHERE kind = 'tune' ORDER BY started_at")[1]]


def decide(experiment, store, **options):
    return run_plan(experiment, name="lamps", store=store, options=Options(**options)).decision


def test_each_step_is_stored_and_kept(make_experiment, store):
    decide(make_experiment(recipes=[Steps([A, B])]), store)

    evidence = store.evidence("lamps")
    parts = [(row.system, row.part) for row in evidence.memberships if row.kind == "tune"]
    assert parts == [("a then b", "step 1 of 2 (a)"), ("a then b", "step 2 of 2 (b)")]
    folders = {stage.artifact for stage in evidence.stages if stage.kind == "tune"}
    assert len(folders) == 2
    assert all((store.folder / folder / "adapter.json").is_file() for folder in folders)
    page = render_page(evidence)
    assert page.index("a then b, step 1 of 2 (a)") < page.index("a then b, step 2 of 2 (b)")


def test_recipes_that_begin_alike_train_the_beginning_once(make_experiment, store):
    decide(make_experiment(recipes=[A, Steps([A, B]), Steps([A, ScriptedTuning(name="c", learn=0.8)])]), store)

    assert store.query("SELECT count(*) FROM stages WHERE kind = 'tune'")[1] == [(3,)]
    shared = store.query("SELECT count(*) FROM experiment_stages WHERE kind = 'tune'")[1]
    assert shared == [(5,)]  # each recipe counts the whole of what it cost


def test_a_run_that_stopped_resumes_at_the_step(make_experiment, store):
    broken = make_experiment(recipes=[Steps([A, replace(B, fails_at_step=3)])])
    with pytest.raises(StageFailed, match="training stopped at step 3"):
        decide(broken, store)
    first = store.query("SELECT key, started_at FROM stages WHERE kind = 'tune'")[1]

    decide(make_experiment(recipes=[Steps([A, B])]), store)

    assert first[0] in store.query("SELECT key, started_at FROM stages WHERE kind = 'tune'")[1]
    assert store.query("SELECT count(*) FROM stages WHERE kind = 'tune'")[1] == [(2,)]


def test_a_lost_artifact_of_an_early_step_trains_nothing_while_the_last_one_is_there(make_experiment, store):
    experiment = make_experiment(recipes=[Steps([A, B])])
    decide(experiment, store)
    first = next(row for row in store.evidence("lamps").memberships if row.part.startswith("step 1"))
    stages = store.stages([first.stage_key])
    (store.folder / stages[first.stage_key].artifact / "adapter.json").unlink()
    (store.folder / stages[first.stage_key].artifact).rmdir()

    decide(experiment, store)

    assert store.stages([first.stage_key]) == stages


def test_nothing_is_learned_on_top_of_a_step_that_changed_nothing(make_experiment, store):
    decision = decide(make_experiment(recipes=[Steps([replace(A, learn=0.0), B])]), store)

    assert decision.verdict.value == "INVALID"
    assert trained(store) == ["a then b"]
    (broken,) = [check for check in store.evidence("lamps").checks if check.status == "invalid"]
    assert broken.name == "a then b, step 1: tuned differs from base"


def test_every_step_is_measured_where_that_is_asked_and_none_of_them_is_chosen(make_experiment, store):
    decide(make_experiment(recipes=[Steps([A, B], evaluate_each=True)]), store)

    evidence = store.evidence("lamps")
    assert [(row.system, row.role, row.chosen) for row in evidence.systems if row.role != "baseline"] == [
        ("a then b after step 1 (a)", "step", False),
        ("a then b", "tuned", True),
    ]
    means = {row.system: row.samples for row in evidence.system_means if row.split == "dev"}
    assert means == {"zero-shot": 40, "a then b": 40, "a then b after step 1 (a)": 40}
    assert "a then b after step 1 (a)" in render_page(evidence)
    assert not any(look.system.endswith("(a)") for look in evidence.looks)


def test_steps_are_trained_on_parts_of_the_data_too(make_experiment, store):
    decide(make_experiment(recipes=[Steps([A, B])], curve=(0.5, 1.0)), store)

    (curve,) = [row.content for row in store.evidence("lamps").insights if row.kind == "curve"]
    assert [(point["fraction"], point["examples"]) for point in curve["points"]] == [(0.5, 30), (1.0, 60)]
    assert trained(store).count("a then b on 50% of the data") == 2


def test_what_an_earlier_step_taught_is_still_known(make_experiment, store):
    """The second step alone would know but a tenth of the rows."""
    late = ScriptedTuning(name="late", learn=0.1, generalise=0.0)
    early = ScriptedTuning(name="early", generalise=1.0)
    experiment = make_experiment(base=0.2, tuned=0.2, recipes=[Steps([early, late]), late], metrics=[ExactMatch()])
    decide(experiment, store)

    means = {row.system: row.mean for row in store.evidence("lamps").system_means if row.split == "dev"}
    assert means["early then late"] == 1.0
    assert means["late"] < 0.5


@dataclass(frozen=True, kw_only=True)
class Scoring(ScriptedTuning):
    makes: str = "reward"


def test_a_reward_model_alone_is_refused_with_the_way_out(make_experiment):
    with pytest.raises(InvalidExperiment, match="end with a step that uses it"):
        make_experiment(recipes=[Scoring(name="judge")])


def test_the_declaration_names_the_steps_and_their_tasks(make_experiment):
    recipe = Steps([ScriptedTuning(name="a", task=Lamps(name="old lamps")), B], label="rlhf")
    declaration = plain_value(recipe)

    assert (declaration["kind"], declaration["name"]) == ("Steps", "rlhf")
    assert [(step["name"], step["task"]) for step in declaration["steps"]] == [("a", "old lamps"), ("b", None)]
    assert "old lamps" not in repr(recipe)  # all of its rows would stand there
