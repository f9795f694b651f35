"""A recipe read from text, without running any code."""

import pytest

from harness.errors import InvalidExperiment
from harness.metrics import ExactMatch, Numeric
from harness.prompting import ZeroShot
from harness.recipes import DPO, GRPO, PPO, RLOO, SFT, DoRA, Full, JudgeGrade, LoRA, QLoRA, Steps, Weighted
from harness.recipes.parse import SHORT_NAMES, read_recipe
from harness.types.models import Model


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("SFT()", SFT()),
        ("lora", SFT(adapter=LoRA())),
        (" QLoRA ", SFT(adapter=QLoRA())),
        ("SFT(adapter=LoRA(targets=('q_proj',)), epochs=0.5)", SFT(adapter=LoRA(targets=("q_proj",)), epochs=0.5)),
        ("SFT(adapter=DoRA(4), warmup=0)", SFT(adapter=DoRA(4), warmup=0)),
        ("Steps([SFT(), DPO(beta=0.2)])", Steps([SFT(), DPO(beta=0.2)])),
        ("SFT(search={'rank': (2, 8, 16)}, trials=4)", SFT(search={"rank": (2, 8, 16)}, trials=4)),
        ("SFT(search={'rank': [4, 8]})", SFT(search={"rank": [4, 8]})),
        ("SFT(prompt=ZeroShot(instruction='x'))", SFT(prompt=ZeroShot(instruction="x"))),
        ("GRPO(reward=ExactMatch())", GRPO(reward=ExactMatch())),
        (
            "RLOO(reward=[ExactMatch(), Weighted(Numeric(), 0.5)])",
            RLOO(reward=[ExactMatch(), Weighted(Numeric(), 0.5)]),
        ),
        ("PPO(reward=JudgeGrade(Model('judge')))", PPO(reward=JudgeGrade(Model("judge")))),
    ],
)
def test_what_an_experiment_file_would_hold_is_read(text: str, recipe: object) -> None:
    assert read_recipe(text) == recipe


def test_every_short_name_is_a_recipe_of_its_own() -> None:
    assert len({read_recipe(name).name for name in SHORT_NAMES}) == len(SHORT_NAMES)
    assert read_recipe("full") == SFT(adapter=Full())


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("open('x')", "'open' is no recipe, adapter or metric; give one of Accuracy, "),
        ("SFT.__class__()", "is no recipe, adapter or metric"),
        ("(lambda: SFT())()", "is no recipe, adapter or metric"),
        ("SFT(epochs=1 if True else 2)", "is computed"),
        ("SFT(adapter=Trained())", "'Trained' is no recipe, adapter or metric"),
        ("SFT(epoch=1)", "unexpected keyword argument 'epoch'; its fields are adapter, epochs"),
        ("DoRA(width=1)", "unexpected keyword argument 'width'; its fields are rank, alpha"),
        ("3", "'3' is no recipe"),
        ("nonsense", "'nonsense' is no recipe; give one of full, lora, dora, qlora, "),
        ("lora-r16", "'lora-r16' is no recipe, lora is; give one of full, lora"),
        ("lorra", "'lorra' is no recipe, lora is"),
        ("sft", "'sft' is no recipe, SFT(...) is; give one of"),
        ("SFT", "SFT(...) is; give one of full"),
        ("grpo", "GRPO(...) is"),
        ("nonsense", "DPO, GRPO, KTO, ORPO, PPO, RLOO, SFT, RewardModel, Steps"),
        ("ExactMatch()", "'ExactMatch()' is no recipe"),
        ("SFT(adapter=LoRA)", "LoRA is a class; write LoRA()"),
        ("GRPO(reward=my_grader)", "any metric does, such as reward=ExactMatch()"),
        ("SFT(", "give one of full, lora"),
        ("SFT(\n", "is no declaration that Python reads"),
        ("SFT(label='\x00')", "is no declaration that Python reads"),
    ],
)
def test_anything_else_is_named_and_not_run(text: str, fact: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        read_recipe(text)
    assert fact in str(refused.value)
