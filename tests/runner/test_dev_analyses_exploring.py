"""What is asked on DEV beyond the choice: learning curve, four ways, repeats, budget."""

from dataclasses import dataclass

import pytest

from harness import RAG, ExactMatch, FewShot, InvalidExperiment, MacroF1, Message, Passage, Sampling, ZeroShot
from harness.inference.scripted import ScriptedTuning
from harness.plan import Plan
from harness.runner.context import Engines, Run, SilentProgress
from harness.runner.run import run_plan
from harness.runner.training import training_share


def content(store, kind):
    return [row.content for row in store.evidence("lamps").insights if row.kind == kind]


def test_the_chosen_recipe_is_tuned_on_nested_parts_of_the_data(make_experiment, store):
    run_plan(make_experiment(curve=(0.25, 0.5, 1.0), seeds=(4, 5)), name="lamps", store=store)

    (curve,) = content(store, "curve")
    points = [(point["fraction"], point["examples"], point["seeds"]) for point in curve["points"]]
    assert points == [(0.25, 15, 1), (0.5, 30, 1), (1.0, 60, 2)]
    trained = store.query("SELECT system, seed FROM stages WHERE kind = 'tune' ORDER BY tokens_in, seed")[1]
    assert trained == [
        ("scripted-tuning on 25% of the data", 4),
        ("scripted-tuning on 50% of the data", 4),
        ("scripted-tuning", 4),
        ("scripted-tuning", 5),
    ]


def test_a_smaller_part_lies_within_a_larger_one(make_experiment, store):
    plan = Plan(make_experiment(curve=(0.25, 0.5)), "lamps")
    work = Run(plan, store, SilentProgress(), Engines(SilentProgress()))
    small, large = (
        {sample.id for step in plan.steps(part, 0) for sample in training_share(work, part, step)}
        for part in plan.parts(plan.tuned[0])
    )

    assert (len(small), len(large)) == (15, 30)
    assert small < large


def test_tuned_and_base_are_asked_with_and_without_passages(make_experiment, store, lamps):
    task = Library(lamps.rows, passages=tuple(Passage(f"p{n}", f"lamp {n} is red", None) for n in range(5)))
    run_plan(make_experiment(task=task, baselines=[ZeroShot(), RAG(passages=2)]), name="lamps", store=store)

    (table,) = content(store, "four_way")
    assert [(cell["system"], cell["tuned"], cell["retrieval"]) for cell in table["cells"]] == [
        ("zero-shot", False, False),
        ("rag-2 bm25", False, True),
        ("scripted-tuning", True, False),
        ("scripted-tuning, asked with passages", True, True),
    ]
    assert store.query("SELECT count(*) FROM stages WHERE kind = 'tune'")[1] == [(1,)]


def test_the_effect_of_passages_is_measured_under_one_prompt(make_experiment, store, lamps):
    task = Library(lamps.rows, passages=tuple(Passage(f"p{n}", f"lamp {n} is red", None) for n in range(5)))
    baselines = [
        FewShot(shots=3, select="nearest"),
        ZeroShot(instruction="Answer quickly."),
        RAG(passages=2, instruction="Use the passages."),
    ]
    recipes = [ScriptedTuning(prompt=ZeroShot(instruction="Short."))]
    run_plan(make_experiment(task=task, baselines=baselines, recipes=recipes), name="lamps", store=store)

    (table,) = content(store, "four_way")
    assert [cell["system"] for cell in table["cells"]] == [
        "rag-2 bm25, asked without passages",
        "rag-2 bm25",
        "scripted-tuning",
        "scripted-tuning, asked with passages",
    ]
    first_prompts = (
        "SELECT system, min(prompt) FROM answers JOIN stages ON key = stage_key WHERE split = 'dev' GROUP BY 1"
    )
    prompts = dict(store.query(first_prompts)[1])
    assert [
        ("These may help" in prompts[name], prompts[name].partition("\n")[0])
        for name in (cell["system"] for cell in table["cells"])
    ] == [
        (False, "system: Use the passages."),
        (True, "system: Use the passages."),
        (False, "system: Short."),
        (True, "system: Short."),
    ]


def test_repeats_are_averaged_and_add_no_sample(make_experiment, store):
    run_plan(make_experiment(sampling=Sampling(temperature=0.8, repeats=3)), name="lamps", store=store)

    evidence = store.evidence("lamps")
    assert evidence.comparisons[0].samples == 200
    assert {row.repeat for row in evidence.scores} == {0, 1, 2}
    (check,) = [check for check in evidence.checks if check.name == "repeats"]
    assert check.status == "warning"  # a table answers the same each time
    assert "2 of 3 repeats equal an earlier one" in check.detail


def test_a_metric_of_the_whole_set_has_no_mean_over_repeats(make_experiment):
    with pytest.raises(InvalidExperiment, match="metric of the whole set"):
        make_experiment(metrics=[ExactMatch(), MacroF1()], sampling=Sampling(temperature=0.8, repeats=2))


def test_a_budget_sets_the_epochs_of_every_recipe(make_experiment):
    plan = Plan(make_experiment(recipes=[Trained(name="a"), Trained(name="b", limit=30)], budget=120), "lamps")

    assert [system.recipe.epochs for system in plan.tuned] == [2.0, 4.0]


def test_several_recipes_are_a_ladder_with_the_cost_of_choosing(make_experiment, store):
    recipes = [ScriptedTuning(name="weak", learn=0.3), ScriptedTuning(name="strong")]
    run_plan(make_experiment(recipes=recipes), name="lamps", store=store)

    (ladder,) = content(store, "ladder")
    assert [(rung["system"], rung["chosen"]) for rung in ladder["rungs"]] == [("strong", True), ("weak", False)]
    assert ladder["choosing_tokens"] > 0


@dataclass(frozen=True)
class Trained:
    name: str
    epochs: float = 1
    limit: int | None = None
    prompt: None = None
    trainer: str = "harness.inference.scripted:fit"


@dataclass(frozen=True)
class Library:
    """The lamps, with passages to retrieve."""

    rows: dict
    passages: tuple = ()
    name: str = "lamps"
    answer_tokens: int = 8

    def samples(self, split):
        return self.rows[split]

    def prompt(self, sample):
        return (Message("user", f"Which colour has {sample.input}"),)

    def read(self, text):
        return text.strip() or None

    def corpus(self):
        return self.passages
