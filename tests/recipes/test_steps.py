"""A recipe of several steps refuses, when it is declared, what could not be carried out in order."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from harness import SFT, FewShot, Full, InvalidExperiment, LoRA, RewardModel, Steps
from harness.inference.scripted import ScriptedTuning
from harness.recipes.steps import as_steps, tasks_of


@dataclass(frozen=True)
class Lasting:
    """An adapter that cannot become part of the weights."""

    name: str = "lasting"
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-2)
    merges: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Rewarded(SFT):
    """Learns from the reward model of an earlier step."""

    graders: tuple[str, ...] = field(default=())

    @property
    def needs_reward_model(self) -> bool:
        return not self.graders


@dataclass(frozen=True)
class Named:
    name: str


FIRST, SECOND = SFT(label="first"), SFT(label="second", epochs=1)


def test_steps_are_named_and_prompted_as_what_they_end_with():
    recipe = Steps([FIRST, SFT(label="second", prompt=None)])

    assert (recipe.name, recipe.prompt, recipe.trainer) == ("first then second", None, SFT.trainer)
    assert Steps([FIRST], label="rlhf").name == "rlhf"


def test_steps_within_steps_are_taken_as_if_written_out():
    assert Steps([Steps([FIRST, SECOND]), FIRST]).steps == (FIRST, SECOND, FIRST)


def test_the_first_steps_are_a_recipe_themselves():
    recipe = Steps([FIRST, SECOND, FIRST], evaluate_each=True)

    assert recipe.first(2) == Steps([FIRST, SECOND])


def test_any_recipe_is_one_step():
    assert as_steps(FIRST).steps == (FIRST,)
    assert as_steps(FIRST).name == "first"


def test_tasks_count_once_in_the_order_of_the_steps():
    steps = Steps([ScriptedTuning(task=Named("b")), ScriptedTuning(), ScriptedTuning(task=Named("b"))])

    assert [task.name for task in tasks_of(steps, Named("a"))] == ["b", "a"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Steps([]), "there is no step"),
        (lambda: Steps("sft"), "give a list of recipes"),
        (lambda: Steps([SFT]), r"write SFT\(\)"),
        (lambda: Steps([FIRST, "dpo"]), "'dpo', which is no recipe"),
        (lambda: Steps([FIRST, RewardModel(label="judge")]), "the last step, judge, makes a reward model"),
        (lambda: Steps([FIRST, Rewarded(label="ppo")]), "ppo needs rewards: let it follow a reward model"),
        (lambda: as_steps(Rewarded(label="ppo")), "ppo needs rewards"),
        (lambda: as_steps(RewardModel(label="judge")), "judge, makes a reward model"),
        (
            lambda: Steps([FIRST, RewardModel(), Rewarded()], isolated=True),
            "isolated steps know nothing of one another",
        ),
        (lambda: Steps([Steps([FIRST], isolated=True), SECOND]), "say isolated=True of the outer ones"),
        (
            lambda: Steps([FIRST, SFT(label="b", prompt=FewShot(shots=2))]),
            "b with 2-shot; one model is served with one",
        ),
        (
            lambda: Steps([SFT(label="a"), SFT(label="b", adapter=Lasting())]),
            "lasting cannot become part of the model's weights; give both steps the same adapter",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused(make, words):
    with pytest.raises(InvalidExperiment, match=words):
        make()


def test_what_can_be_carried_out_is_not():
    Steps([FIRST, RewardModel(), Rewarded()])
    Steps([FIRST, Rewarded(graders=("exact",))])
    Steps([SFT(adapter=Full()), SFT(adapter=LoRA())])
    Steps([SFT(adapter=Lasting()), SFT(adapter=Lasting(), epochs=1)])
    Steps([SFT(adapter=LoRA()), SFT(adapter=Lasting())], isolated=True)
