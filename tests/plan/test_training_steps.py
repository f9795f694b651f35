"""The stages of a recipe of several steps, and what their keys hang on."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness import DPO, GRPO, ExactMatch, Experiment, Gain, Guard, JudgeGrade, Message, Sample, Split, Steps, ZeroShot
from harness.errors import InvalidData
from harness.inference.scripted import Scripted, ScriptedTuning
from harness.plan import Plan
from harness.runner.expected import expected_stages
from harness.types.jobs import Round


def planned(plan):
    """Return the stages of a plan that ask and train, those of checks upon them apart."""
    return [one.stage for one in expected_stages(plan) if one.stage.kind not in ("noise", "parity")]


@dataclass(frozen=True)
class Words:
    """Three rows a split. rejected: the worse answer to each."""

    name: str = "words"
    answer: str = "yes"
    rejected: str | None = None

    def samples(self, split):
        return [
            Sample(id=f"{split.value}-{n}", input=f"{self.name} {n}", reference=self.answer, rejected=self.rejected)
            for n in range(3)
        ]

    def prompt(self, sample):
        return (Message("user", sample.input),)

    def read(self, text):
        return text


@dataclass(frozen=True, kw_only=True)
class Preferring(ScriptedTuning):
    """Learns from the task's worse answers too, or from a file of `content`."""

    content: str | None = field(default=None, metadata={"key": False})

    def content_key(self):
        return self.content


A, B = ScriptedTuning(name="a"), ScriptedTuning(name="b", learn=0.5)
OTHER = Words(name="other")


def plan(*recipes, **changes) -> Plan:
    experiment = Experiment(
        question="Is it better?",
        task=Words(),
        model=Scripted(),
        baselines=[ZeroShot()],
        recipes=recipes,
        metrics=[ExactMatch()],
        go_if=[Gain(ExactMatch(), at_least=0.05)],
    )
    return Plan(replace(experiment, **changes), "words")


def tune_keys(made: Plan, system: int = 0) -> list[str]:
    return [step.stage.key for step in made.steps(made.tuned[system], 0)]


def test_each_step_is_a_stage_and_the_last_one_is_served():
    made = plan(Steps([A, B], evaluate_each=True))

    labels = [stage.label for stage in planned(made) if stage.split is not Split.HOLDOUT]
    assert labels == [
        "audit data",
        "answer zero-shot on dev",
        "tune a then b, step 1 of 2 (a)",
        "tune a then b, step 2 of 2 (b)",
        "answer a then b on dev",
        "answer a then b after step 1 (a) on dev",
    ]
    assert made.tune(made.tuned[0], 0).key == tune_keys(made)[-1]


def test_recipes_that_begin_alike_share_what_they_begin_with():
    alone, together = plan(A), plan(Steps([A, B]))

    assert tune_keys(alone)[0] == tune_keys(together)[0]
    assert tune_keys(plan(B))[0] != tune_keys(together)[1]  # it starts from what the first step left


def test_a_changed_first_step_changes_all_that_follow():
    one, other = tune_keys(plan(Steps([A, B]))), tune_keys(plan(Steps([ScriptedTuning(name="a", learn=0.9), B])))

    assert not set(one) & set(other)


def test_isolated_steps_start_from_the_model_and_answer_their_own_task():
    made = plan(Steps([ScriptedTuning(name="a", task=OTHER), B], isolated=True))
    (system,) = made.tuned
    first, second = made.steps(system, 0)

    assert (first.start, second.start) == (None, None)
    assert second.stage.key == tune_keys(plan(B))[0]
    assert made.serving(system, OTHER, 0) == first.stage
    assert made.serving(system, Words(), 0) == second.stage
    assert made.serving(system, Words(name="elsewhere"), 0) is None


def test_a_step_on_another_task_is_keyed_by_that_tasks_data():
    def key(task):
        return tune_keys(plan(Steps([ScriptedTuning(name="a", task=task), B])))[0]

    assert key(OTHER) == key(replace(OTHER))
    assert len({key(OTHER), key(replace(OTHER, answer="no")), tune_keys(plan(A))[0]}) == 3


def test_replay_counts_by_its_data_and_its_ratio():
    def key(*mix):
        return tune_keys(plan(Steps([A, ScriptedTuning(name="b", task=OTHER, mix=mix)])))[1]

    old = Words(name="old")
    assert len({key(), key((old, 0.5)), key((old, 1.0)), key((replace(old, answer="no"), 0.5))}) == 4


def test_worse_answers_count_where_they_are_learned_from():
    def key(recipe, rejected):
        return tune_keys(plan(recipe, task=Words(rejected=rejected)))[0]

    assert key(A, "no") == key(A, "never")
    assert key(Preferring(), "no") != key(Preferring(), "never")
    assert key(Preferring(content="file"), "no") == key(Preferring(content="file"), "never")
    assert key(Preferring(content="file"), "no") != key(Preferring(content="other file"), "no")


def test_steps_share_the_budget_alike():
    @dataclass(frozen=True, kw_only=True)
    class Paced(ScriptedTuning):
        epochs: float = 1.0

    made = plan(Steps([Paced(name="a"), Paced(name="b", task=OTHER, mix=((Words(), 1.0),))]), budget=36)
    first, second = made.steps(made.tuned[0], 0)

    assert (first.recipe.epochs, second.recipe.epochs) == (6.0, 3.0)  # 18 examples each: of 3, and of 3 with 3 replayed
    assert made.examples_seen(made.tuned[0]) == 36
    assert made.examples(made.tuned[0]) == 3 + 6


def test_earlier_tasks_are_those_of_the_steps_before_each_once():
    made = plan(Steps([A, ScriptedTuning(name="b", task=OTHER), B, ScriptedTuning(name="d", task=OTHER)]))

    assert [[task.name for task in step.earlier] for step in made.steps(made.tuned[0], 0)] == [
        [],
        ["words"],
        ["other"],
        ["words"],
    ]


@pytest.mark.parametrize("split", [Split.DEV, Split.HOLDOUT])
def test_a_guards_answers_are_those_of_the_last_step(split):
    guard = Guard(OTHER, ExactMatch(), by_at_most=0.1)
    steps, alone = plan(Steps([A, B]), guards=[guard]), plan(B, guards=[guard])

    one, other = (made.answering(made.guarded(made.tuned[0]), OTHER, split, Round())[0].key for made in (steps, alone))
    assert one != other


def test_other_weights_of_a_judge_in_the_same_folder_train_anew(tiny_model: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge"
    shutil.copytree(tiny_model, judge)

    def keys(grader: JudgeGrade) -> list[str]:
        return tune_keys(plan(GRPO(reward=[grader, ExactMatch()])))

    before = keys(JudgeGrade(str(judge)))
    assert keys(JudgeGrade(str(judge))) == before
    with (judge / "model.safetensors").open("ab") as weights:
        weights.write(b"other")
    assert keys(JudgeGrade(str(judge))) != before


def test_a_damaged_row_of_a_pair_file_is_told_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "d", "chosen": "e"}\n')

    with pytest.raises(InvalidData, match=r"pairs\.jsonl, row 2.*rejected"):
        planned(plan(DPO(pairs=file)))
