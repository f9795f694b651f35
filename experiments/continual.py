"""Can one 135M model learn three tasks in a row and still know the first? Nothing, replay or EWC against forgetting."""

import pytest

from harness import EWC, SFT, ExactMatch, Experiment, FewShot, Gain, LoRA, Steps, ZeroShot
from tasks.home_commands import HomeCommands
from tasks.icd10_codes import Icd10Codes

# Seven trainings, and each task asked after each of them: run it by its path.
pytestmark = pytest.mark.long

ENGLISH, CHINESE, CODES = HomeCommands(language="en"), HomeCommands(language="zh"), Icd10Codes()
EXAMPLES = 240
REPLAYED = 0.25  # of an earlier task, for one new example


def step(**changes: object) -> SFT:
    """Return one step: the same adapter goes on being trained from task to task."""
    fields = {
        "adapter": LoRA(rank=16),
        "limit": EXAMPLES,
        "epochs": 1,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "evaluate_every": 20,
    }
    return SFT(**{**fields, **changes})  # type: ignore[arg-type]


experiment = Experiment(
    question="Does SmolLM2-135M still know home commands after it has learned two more tasks?",
    task=ENGLISH,
    model="smollm2-135m-instruct",
    baselines=[ZeroShot(), FewShot(shots=3, select="nearest")],
    recipes=[
        Steps(
            [
                step(label="English"),
                step(label="Chinese", task=CHINESE),
                step(label="codes", task=CODES),
            ],
            label="three in a row",
        ),
        Steps(
            [
                step(label="English"),
                step(label="Chinese, replayed", task=CHINESE, mix={ENGLISH: REPLAYED}),
                step(label="codes, replayed", task=CODES, mix={ENGLISH: REPLAYED, CHINESE: REPLAYED}),
            ],
            label="three in a row, replayed",
        ),
        Steps(
            [
                step(label="English"),
                step(label="Chinese, held", task=CHINESE, keep=EWC()),
                step(label="codes, held", task=CODES, keep=EWC()),
            ],
            label="three in a row, held",
        ),
    ],
    metrics=[ExactMatch()],
    go_if=[Gain(ExactMatch(), at_least=0.10)],
    seeds=(1,),
)
