"""What a step of a row of tasks declares: its task, what it replays, what it keeps."""

from dataclasses import dataclass

import pytest

from harness import EWC, SFT, InvalidExperiment, Split, Steps
from harness.fingerprint import fingerprint
from harness.recipes.continual import check_recipe, other_tasks


@dataclass(frozen=True)
class Words:
    name: str = "words"
    rows: tuple[str, ...] = ("a", "b")

    def samples(self, split):
        return () if split is Split.HOLDOUT else self.rows

    def prompt(self, sample):
        return ()

    def read(self, text):
        return text


FIRST, SECOND = Words("first"), Words("second")


def test_what_a_step_learns_besides_its_recipe_is_in_its_name_and_not_in_its_key():
    step = SFT(task=SECOND, mix={FIRST: 0.2}, keep=EWC(strength=50))

    assert step.name == "sft lora-r16 task=second mix=first+0.2 keep=ewc-50"
    assert other_tasks(step) == (SECOND, FIRST)
    # A plan keys the tasks by their data; EWC is a setting like others.
    assert fingerprint(SFT(task=SECOND, mix={FIRST: 0.2})) == fingerprint(SFT())
    assert fingerprint(step) != fingerprint(SFT())
    assert hash(step) == hash(SFT(task=SECOND, mix=[(FIRST, 0.2)], keep=EWC(strength=50)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SFT(mix=FIRST), r"such as mix=\{task: 0.2\}"),
        (lambda: SFT(mix=[FIRST]), r"such as mix=\{task: 0.2\}"),
        (lambda: SFT(mix={"first": 0.2}), "'first' is no task"),
        (lambda: SFT(mix={Words: 0.2}), r"write Words\(\) to make one"),
        (lambda: SFT(mix={FIRST: 0}), r"mix=\{first: 0\}"),
        (lambda: SFT(mix={FIRST: float("inf")}), r"mix=\{first: inf\}"),
        (lambda: SFT(mix={FIRST: True}), r"mix=\{first: True\}"),
        (lambda: SFT(mix={FIRST: 0.2}, backend="axolotl"), "another tuner knows no earlier task"),
        (lambda: SFT(keep=EWC(), devices=2), "weights are held on one device only"),
        (lambda: EWC(strength=-1), r"EWC\(strength=-1\): give a number of 0 or more"),
        (lambda: EWC(strength=float("nan")), r"EWC\(strength=nan\)"),
        (lambda: EWC(samples=0), r"EWC\(samples=0\): give 1 or more"),
    ],
)
def test_what_means_nothing_is_refused(make, words):
    with pytest.raises(InvalidExperiment, match=words):
        make()


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (SFT(keep=EWC()), "no step before it trains on another task"),
        (Steps([SFT(), SFT(keep=EWC(), epochs=1)]), "no step before it trains on another task"),
        (Steps([SFT(task=Words("words", rows=("c",))), SFT()]), "two different tasks are called 'words'"),
        (Steps([SFT(task=FIRST)], isolated=True), "no step trains on 'words', the experiment's task"),
    ],
)
def test_a_recipe_that_does_not_fit_its_experiment_is_refused(recipe, words):
    with pytest.raises(InvalidExperiment, match=words):
        check_recipe(recipe, Words(), [])


def test_a_recipe_that_fits_is_not():
    check_recipe(Steps([SFT(task=FIRST), SFT(keep=EWC()), SFT(task=SECOND, mix={FIRST: 1, Words(): 0.5})]), Words(), [])
    check_recipe(SFT(), Words(), [Words(rows=("c",))])  # a guard may be another set of the task's own samples
