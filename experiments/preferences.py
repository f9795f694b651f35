"""Which way of learning from preferences and rewards gives a small model a courteous voice? All on the same pairs."""

import pytest

from harness import (
    DPO,
    GRPO,
    KTO,
    ORPO,
    PPO,
    RLOO,
    SFT,
    Experiment,
    FewShot,
    Gain,
    Guard,
    LoRA,
    NoWorse,
    Perplexity,
    RewardModel,
    Steps,
    Weighted,
    ZeroShot,
)
from tasks.story import story
from tasks.tone import Confirms, Tone, ToneReplies

# Ten recipes, three of which draw answers of their own while they train: run it by its path.
pytestmark = pytest.mark.long

LORA = LoRA(rank=16)
# Pairs teach what to prefer, not how to speak at all: those that need it begin with a few kind answers.
warm_up = SFT(adapter=LORA, limit=100, epochs=1, batch_size=4, learning_rate=1e-3, evaluate_every=10, label="warm-up")
judge = RewardModel(adapter=LORA, epochs=1, batch_size=8, learning_rate=3e-4, evaluate_every=20, label="reward model")
GRADES = [Tone(), Weighted(Confirms(), 1.0)]

experiment = Experiment(
    question="Which way of learning from preferences makes SmolLM2-135M courteous and still informative?",
    task=ToneReplies(),
    model="smollm2-135m-instruct",
    baselines=[ZeroShot(), FewShot(shots=4)],
    recipes=[
        SFT(adapter=LORA, epochs=1, batch_size=8, learning_rate=1e-3, evaluate_every=20, label="sft"),
        DPO(adapter=LORA, epochs=1, batch_size=8, learning_rate=2e-4, sft_weight=1.0, evaluate_every=20, label="dpo"),
        Steps([warm_up, DPO(adapter=LORA, epochs=1, learning_rate=5e-5, evaluate_every=20)], label="sft, dpo"),
        Steps(
            [warm_up, DPO(adapter=LORA, loss="ipo", epochs=1, learning_rate=5e-5, evaluate_every=20)],
            label="sft, ipo",
        ),
        Steps(
            [warm_up, DPO(adapter=LORA, loss="simpo", epochs=1, learning_rate=5e-5, evaluate_every=20)],
            label="sft, simpo",
        ),
        Steps([warm_up, KTO(adapter=LORA, epochs=1, learning_rate=5e-5, evaluate_every=20)], label="sft, kto"),
        ORPO(adapter=LORA, epochs=1, learning_rate=5e-4, evaluate_every=20, label="orpo"),
        Steps(
            [warm_up, judge, PPO(adapter=LORA, epochs=1, learning_rate=1e-4, evaluate_every=5)],
            label="sft, reward model, ppo",
        ),
        Steps(
            [warm_up, judge, RLOO(adapter=LORA, epochs=0.5, learning_rate=1e-4, evaluate_every=10)],
            label="sft, reward model, rloo",
        ),
        Steps(
            [warm_up, GRPO(adapter=LORA, reward=GRADES, epochs=0.25, learning_rate=1e-4, evaluate_every=10)],
            label="sft, grpo",
        ),
    ],
    metrics=[Tone(), Confirms()],
    go_if=[
        Gain(Tone(), at_least=0.05),
        NoWorse(Confirms(), by_at_most=0.05),
    ],
    guards=[Guard(story(), Perplexity(), by_at_most=5.0)],
    seeds=(1,),
)
