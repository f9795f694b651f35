"""An experiment that cannot be judged is refused, with field and remedy."""

from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path

import pytest

from harness import (
    SFT,
    AtLeast,
    BreakEven,
    Endpoint,
    ExactMatch,
    Experiment,
    Gain,
    InvalidExperiment,
    LoRA,
    Message,
    Model,
    Perplexity,
    Sample,
    Split,
    ZeroShot,
)
from harness.api import load_experiment
from harness.experiment.experiment import check_data
from harness.inference.scripted import Scripted, ScriptedTuning


@dataclass(frozen=True)
class Words:
    """One sample a split, unless told otherwise."""

    ids: tuple[tuple[str, ...], ...] = (("a",), ("b",), ("c",))
    name: str = "words"

    def samples(self, split):
        return [Sample(id=name, input=name, reference=name) for name in self.ids[list(Split).index(split)]]

    def prompt(self, sample):
        return (Message("user", sample.input),)

    def read(self, text):
        return text


class Unnamed:
    def messages(self, task, sample):
        return ()


def declared(**changes):
    fields = {
        "question": "Is it better?",
        "task": Words(),
        "model": Scripted(),
        "baselines": [ZeroShot()],
        "recipes": [ScriptedTuning()],
        "metrics": [ExactMatch()],
        "go_if": [Gain(ExactMatch(), at_least=0.05)],
    }
    return Experiment(**(fields | changes))


@pytest.mark.parametrize("name", ["home_commands", "icd10_codes"])
def test_the_bundled_experiments_measure_how_far_trainings_lie_apart(name):
    assert len(load_experiment(Path(__file__).parents[2] / "experiments" / f"{name}.py").seeds) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curve": (0.5, 1.2)}, "curve holds 1.2; a fraction of the training data is above 0, at most 1"),
        ({"curve": (0.5, 0.25)}, "curve (0.5, 0.25) does not rise; give fractions such as curve=(0.25, 0.5, 1.0)"),
        ({"budget": 0}, "budget is 0; give the number of training examples that each recipe sees"),
        ({"leaks": "ignore"}, "leaks is 'ignore'; it is"),
        (
            {"go_if": [BreakEven(requests=1000)], "stop_early": True},
            "stop_early cannot watch BreakEven(requests=1000); leave out one of them",
        ),
        (
            {"recipes": [SFT(prompt=ZeroShot(instruction=("A.", "B.")))]},
            "sft lora-r16",
        ),
        ({"question": " "}, "question is empty; say in one sentence what the verdict will answer"),
        (
            {"metrics": []},
            "metrics is empty; add ExactMatch() or another metric: without one nothing can be judged",
        ),
        (
            {"baselines": []},
            "baselines is empty; add ZeroShot(): without a baseline nobody can see a regression",
        ),
        (
            {"recipes": []},
            "recipes is empty; add SFT(adapter=LoRA()): without a recipe there is nothing to compare",
        ),
        (
            {"go_if": []},
            "go_if is empty; say what would convince you, such as Gain(ExactMatch(), at_least=0.05)",
        ),
        (
            {"go_if": [Gain(Perplexity(), at_least=0.1)]},
            "go_if uses the metric 'perplexity', which is not in metrics (exact_match); add it to metrics",
        ),
        (
            {"stop_if": [AtLeast(Perplexity(), 0.1)]},
            "stop_if uses the metric 'perplexity', which is not in metrics (exact_match); add it to metrics",
        ),
        (
            {"go_if": [ExactMatch()]},
            "go_if holds ExactMatch(normalise=()), which cannot judge; use Gain, NoWorse, AtLeast",
        ),
        ({"task": Words}, "task is the class Words; write Words() to make one"),
        (
            {"task": "words"},
            "task is a str without name, samples, prompt, read; a task has name, samples(split), prompt(sample) and "
            "read(text)",
        ),
        ({"baselines": [ZeroShot]}, "baselines holds the class ZeroShot; write ZeroShot() to make one"),
        ({"metrics": [ExactMatch]}, "metrics holds the class ExactMatch; write ExactMatch() to make one"),
        ({"recipes": ScriptedTuning()}, "recipes is ScriptedTuning("),
        ({"metrics": "exact_match"}, "metrics is 'exact_match'; give a list, such as metrics=[...]"),
        ({"baselines": [Unnamed()]}, "baselines holds <"),
        (
            {"baselines": [ZeroShot(), ZeroShot()]},
            "baselines holds 'zero-shot' more than once; give one of them another name",
        ),
        (
            {"metrics": [ExactMatch(), ExactMatch()]},
            "metrics holds 'exact_match' more than once; give one of them another name",
        ),
        (
            {"recipes": [ScriptedTuning(name="zero-shot")]},
            "baselines and recipes both hold 'zero-shot'; give the recipe a name=",
        ),
        ({"seeds": ()}, "seeds is empty; give at least one, such as seeds=(0,)"),
        ({"seeds": (1, -1)}, "seeds holds -1; a seed is a whole number from 0 up"),
        ({"seeds": (0.5,)}, "seeds holds 0.5; a seed is a whole number from 0 up"),
        ({"seeds": (True,)}, "seeds holds True; a seed is a whole number from 0 up"),
        ({"seeds": (1, 2, 1)}, "seeds (1, 2, 1) repeat a number; a repeated seed is no new evidence"),
        ({"seeds": 3}, "seeds is 3; give a list, such as seeds=[...]"),
        (
            {"model": Endpoint("http://127.0.0.1:8000/v1", "large")},
            "model is an Endpoint, which cannot be tuned here; give a local model and set the endpoint as model= of a "
            "baseline",
        ),
        ({"model": ""}, 'Model("") names nothing'),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_remedy(changes, message):
    with pytest.raises(InvalidExperiment) as caught:
        declared(**changes)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("split", list(Split))
def test_an_empty_split_is_refused(split):
    ids = tuple(() if one is split else (one.value,) for one in Split)

    with pytest.raises(InvalidExperiment) as caught:
        check_data(declared(task=Words(ids)))

    assert str(caught.value).startswith(f"task 'words' has no {split.value} samples; a verdict needs train, dev and")


def test_a_split_that_overlaps_is_refused_with_the_id():
    with pytest.raises(InvalidExperiment) as caught:
        check_data(declared(task=Words((("a", "x"), ("b",), ("c", "x")))))

    assert str(caught.value) == (
        "task 'words': splits overlap: sample id 'x' is in train and in holdout; give each sample to one split, or set "
        "the group column so that whole groups move"
    )


def test_an_id_that_stands_twice_in_one_split_is_refused():
    with pytest.raises(InvalidExperiment) as caught:
        check_data(declared(task=Words((("a",), ("b",), ("c", "c")))))

    assert str(caught.value) == (
        "task 'words': sample id 'c' stands twice in holdout; give every sample an id of its own"
    )


def test_a_sound_experiment_is_a_frozen_value_of_tuples():
    experiment = declared(model="smollm2-135m-instruct", recipes=[SFT(adapter=LoRA(rank=4))], seeds=[1, 2])

    assert experiment.model == Model("smollm2-135m-instruct")
    assert (experiment.baselines, experiment.seeds) == ((ZeroShot(),), (1, 2))
    assert replace(experiment) == experiment
    check_data(experiment)
    with pytest.raises(FrozenInstanceError):
        experiment.seeds = (3,)


def test_a_baseline_with_several_values_is_several_baselines():
    experiment = declared(baselines=[ZeroShot(instruction=(None, "Answer."))])

    assert [baseline.name for baseline in experiment.baselines] == ["zero-shot", "zero-shot, instruction 2"]
