"""Which weights should a recipe train? Every adapter learns the same examples, each at the best of three rates."""

import math

import pytest

from harness import (
    IA3,
    MAM,
    PEFT,
    SFT,
    AdaLoRA,
    BitFit,
    Bottleneck,
    DoRA,
    ExactMatch,
    Experiment,
    FewShot,
    Full,
    Gain,
    Guard,
    LoRA,
    Perplexity,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
    UniPELT,
    ZeroShot,
)
from harness.recipes import Adapter
from tasks.home_commands import HomeCommands
from tasks.story import story

# An hour and more on two cores: run it by its path.
pytestmark = pytest.mark.long

EXAMPLES = 200
ADAPTERS: tuple[Adapter, ...] = (
    Full(),
    LoRA(rank=16),
    LoRA(rank=64, rslora=True),
    DoRA(rank=16),
    LoRA(rank=16, init="pissa"),
    LoRA(rank=16, init="loftq"),
    LoRA(rank=16, init="eva"),
    QLoRA(rank=16),
    AdaLoRA(),
    IA3(),
    BitFit(),
    PrefixTuning(),
    PromptTuning(),
    PTuning(),
    PTuningV2(),
    Bottleneck(),
    Bottleneck(kind="houlsby"),
    MAM(),
    UniPELT(),
    # Any other method of peft, declared without importing it.
    PEFT({"peft_type": "VERA", "r": 64, "target_modules": "all-linear"}),
)


def recipe(adapter: Adapter) -> SFT:
    """Return the recipe that differs from all others in the adapter, and in the range its rate is looked for in."""
    low, high = adapter.rates
    return SFT(
        adapter=adapter,
        limit=EXAMPLES,
        epochs=1,
        batch_size=4,
        evaluate_every=25,
        search={"learning_rate": (low, math.sqrt(low * high), high)},
        trials=3,
        prompt=ZeroShot(instruction="Home command to JSON."),
        label=adapter.name,
    )


experiment = Experiment(
    question="Which adapter learns home commands best from 200 examples, at what cost, and what does it forget?",
    task=HomeCommands(language="en"),
    model="smollm2-135m-instruct",
    baselines=[ZeroShot(), FewShot(shots=3, select="nearest")],
    recipes=[recipe(adapter) for adapter in ADAPTERS],
    metrics=[ExactMatch()],
    go_if=[Gain(ExactMatch(), at_least=0.10)],
    guards=[Guard(story(), Perplexity(), by_at_most=5.0)],
    seeds=(1,),
)
