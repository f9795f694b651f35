"""A key changes exactly where what is computed changes."""

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness import (
    RAG,
    SFT,
    ExactMatch,
    Experiment,
    FewShot,
    Gain,
    Guard,
    LoRA,
    Message,
    Model,
    NoWorse,
    Passage,
    Perplexity,
    SafetyRules,
    Sample,
    Split,
    ZeroShot,
)
from harness.errors import HarnessError
from harness.inference.scripted import Scripted, ScriptedTuning
from harness.plan import Plan
from harness.runner.expected import expected_stages


def planned(plan):
    """Return the stages that run in any case, and those of the holdout."""
    return [one.stage for one in expected_stages(plan) if not one.when or one.stage.split is Split.HOLDOUT]


@dataclass(frozen=True)
class Capitals:
    """Two samples a split; `references` and `passages` can be changed."""

    wording: str = "The capital of"
    references: tuple[str, str] = ("Paris", "Rome")
    passages: tuple[str, ...] = ("Paris is in France", "Rome is in Italy")
    name: str = "capitals"

    def samples(self, split):
        return [
            Sample(id=f"{split.value}-{n}", input=f"{split.value} country {n}", reference=reference)
            for n, reference in enumerate(self.references)
        ]

    def prompt(self, sample):
        return (Message("user", f"{self.wording} {sample.input}"),)

    def read(self, text):
        return text

    def corpus(self):
        return [Passage(str(n), text) for n, text in enumerate(self.passages)]


@dataclass(frozen=True)
class Shouting:
    """A user's strategy that does not say what it reads: its messages speak for it."""

    mark: str = "!"
    name: str = "shouting"

    def messages(self, task, sample):
        return (Message("user", task.prompt(sample)[-1].content.upper() + self.mark),)


EXPERIMENT = Experiment(
    question="Is it better?",
    task=Capitals(),
    model=Scripted(),
    baselines=[ZeroShot(), FewShot(shots=1), RAG(passages=1), Shouting()],
    recipes=[ScriptedTuning()],
    metrics=[ExactMatch()],
    go_if=[Gain(ExactMatch(), at_least=0.05)],
)
ALL = {
    "audit data",
    "answer zero-shot on dev",
    "answer 1-shot on dev",
    "answer rag on dev",
    "answer shouting on dev",
    "tune scripted-tuning",
    "answer scripted-tuning on dev",
}


def keys(experiment: Experiment) -> dict[str, str]:
    """Return label -> key of all stages before the holdout."""
    stages = planned(Plan(experiment, "capitals"))
    return {stage.label: stage.key for stage in stages if stage.split is not Split.HOLDOUT}


def changed(**changes: object) -> set[str]:
    before, after = keys(EXPERIMENT), keys(replace(EXPERIMENT, **changes))
    return {label for label in before if after.get(label) != before[label]}


def rag_label() -> str:
    return f"answer {RAG(passages=1).name} on dev"


def test_stages_stand_in_the_order_in_which_they_run():
    stages = planned(Plan(replace(EXPERIMENT, baselines=[ZeroShot(), FewShot(shots=1)], seeds=(1, 2)), "capitals"))

    assert [stage.label for stage in stages] == [
        "audit data",
        "answer zero-shot on dev",
        "answer 1-shot on dev",
        "tune scripted-tuning, seed 1",
        "tune scripted-tuning, seed 2",
        "answer scripted-tuning on dev, seed 1",
        "answer scripted-tuning on dev, seed 2",
        "answer zero-shot on holdout",
        "answer 1-shot on holdout",
        "answer scripted-tuning on holdout, seed 1",
        "answer scripted-tuning on holdout, seed 2",
    ]
    assert len({stage.key for stage in stages}) == len(stages)


def test_likelihoods_are_stages_where_a_metric_asks_for_them():
    stages = planned(Plan(replace(EXPERIMENT, metrics=[ExactMatch(), Perplexity()]), "capitals"))

    kinds = [stage.kind for stage in stages if stage.system == "zero-shot"]
    assert kinds == ["answer", "likelihood", "answer", "likelihood"]


def test_guards_come_last_with_the_untuned_and_the_tuned_model():
    guard = Guard(Capitals(name="other"), ExactMatch(), by_at_most=0.02)
    stages = planned(Plan(replace(EXPERIMENT, guards=[guard]), "capitals"))

    assert [(stage.task, stage.system) for stage in stages[-2:]] == [("other", "untuned"), ("other", "scripted-tuning")]


def test_one_changed_word_of_the_prompt_changes_every_stage():
    assert changed(task=Capitals(wording="The capitol of")) == {
        label.replace("rag", RAG(passages=1).name) for label in ALL
    }


def test_a_changed_passage_changes_only_what_retrieves():
    assert changed(task=Capitals(passages=("Paris is in France", "Rome is in Lazio"))) == {"audit data", rag_label()}


def test_a_changed_reference_changes_what_learns_from_it():
    found = changed(task=Capitals(references=("Paris", "Roma")))

    assert {"audit data", "tune scripted-tuning", "answer scripted-tuning on dev", "answer 1-shot on dev"} <= found
    assert "answer shouting on dev" not in found  # its messages hold no reference


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": Scripted(default="Who knows?")}, "all but the audit"),
        ({"model": Scripted(answers={"a": "b"})}, "all but the audit"),
        ({"baselines": [ZeroShot(), FewShot(shots=1), RAG(passages=1), Shouting("?")]}, {"answer shouting on dev"}),
        ({"recipes": [ScriptedTuning(learn=0.5)]}, {"tune scripted-tuning", "answer scripted-tuning on dev"}),
        (
            {"recipes": [ScriptedTuning(prompt=Shouting())]},
            {"tune scripted-tuning", "answer scripted-tuning on dev"},
        ),
        ({"seeds": (1,)}, {"tune scripted-tuning", "answer scripted-tuning on dev"}),
        ({"question": "Is it cheaper?"}, set()),
        ({"go_if": [Gain(ExactMatch(), at_least=0.1)]}, set()),
        ({"go_if": [NoWorse(ExactMatch(), by_at_most=0.1)]}, set()),
        ({"metrics": [ExactMatch(), SafetyRules()]}, set()),
        ({"model": Scripted(seconds_per_answer=3600.0)}, set()),
    ],
    ids=[
        "default answer",
        "table",
        "a strategy without reads()",
        "recipe field",
        "recipe prompt",
        "seed",
        "question",
        "threshold",
        "criterion",
        "metrics",
        "speed",
    ],
)
def test_a_change_reaches_the_stages_that_depend_on_it(changes, expected):
    if expected == "all but the audit":
        expected = set(keys(EXPERIMENT)) - {"audit data"}
    assert changed(**changes) == expected


def test_the_template_of_retrieval_is_part_of_its_key():
    baselines = [ZeroShot(), FewShot(shots=1), RAG(passages=1, template="{passages} {question}"), Shouting()]

    assert changed(baselines=baselines) == {rag_label()}


def test_the_rule_has_a_key_of_its_own():
    def rule(**changes: object) -> str:
        return Plan(replace(EXPERIMENT, **changes), "capitals").criteria_key

    assert rule() == rule(question="Is it cheaper?") == rule(model=Scripted(default="Who knows?"))
    assert rule() != rule(go_if=[Gain(ExactMatch(), at_least=0.1)])
    assert rule() != rule(stop_if=[Gain(ExactMatch(), at_least=0.1)])
    assert rule() != rule(metrics=[ExactMatch(), Perplexity()])


def test_the_holdout_has_the_same_key_in_every_experiment_that_uses_it():
    here, there = Plan(EXPERIMENT, "one"), Plan(replace(EXPERIMENT, baselines=[ZeroShot()], task=Capitals()), "two")

    assert here.holdout_key == there.holdout_key
    # Other words around the same samples do not make a fresh holdout of it.
    assert here.holdout_key == Plan(replace(EXPERIMENT, task=Capitals(wording="Where is")), "one").holdout_key
    assert here.holdout_key != Plan(replace(EXPERIMENT, task=Capitals(references=("Paris", "Roma"))), "one").holdout_key


def test_one_changed_byte_of_a_models_files_changes_its_stages(tmp_path: Path):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (model / name).write_text("{}")
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"w")
    experiment = replace(
        EXPERIMENT, model=Model(str(model)), recipes=[SFT(adapter=LoRA(rank=2))], baselines=[ZeroShot()]
    )
    before = keys(experiment)
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"W")
    after = keys(experiment)

    assert {label for label in before if before[label] == after[label]} == {"audit data"}


def test_a_model_that_is_not_there_is_named(tmp_path: Path):
    plan = Plan(replace(EXPERIMENT, model=Model(str(tmp_path / "gone"))), "capitals")

    with pytest.raises(HarnessError, match="gone"):
        planned(plan)
