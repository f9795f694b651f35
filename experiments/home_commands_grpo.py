"""Does graded reinforcement take a small warmed-up model further than the warm-up's answers alone?"""

import pytest

from harness import GRPO, SFT, ExactMatch, Experiment, FewShot, Gain, JsonFields, LoRA, Steps, Weighted, ZeroShot
from tasks.home_commands import HomeCommands

pytestmark = pytest.mark.long

# The names of the intents are learned, so the tuned model is served, and trained, without listing them.
PROMPT = ZeroShot(instruction="Home command to JSON.")

# An untuned 135M model has no field right, and a reward that is always 0 teaches nothing.
warm_up = SFT(
    adapter=LoRA(rank=16),
    epochs=1,
    batch_size=4,
    learning_rate=1e-3,
    limit=200,
    evaluate_every=25,
    prompt=PROMPT,
    label="warm-up",
)
graded = GRPO(
    adapter=LoRA(rank=16),
    # A share of fields tells answers apart long before a whole one is right.
    reward=[JsonFields(), Weighted(ExactMatch(), 0.5)],
    batch_size=4,
    generations=8,
    epochs=0.25,
    learning_rate=1e-4,
    evaluate_every=10,
    evaluate_on=24,
    prompt=PROMPT,
    label="graded",
)

experiment = Experiment(
    question="Should a warmed-up SmolLM2-135M learn home commands from graded answers of its own?",
    task=HomeCommands(language="en"),
    model="smollm2-135m-instruct",
    baselines=[ZeroShot(), FewShot(shots=3, select="nearest")],
    recipes=[
        warm_up,
        Steps([warm_up, graded], evaluate_each=True, label="warm-up, then graded"),
    ],
    metrics=[ExactMatch(), JsonFields()],
    go_if=[Gain(ExactMatch(), at_least=0.10)],
    seeds=(1,),
)
