"""Does preference tuning give a 135M model a courteous, brief voice that prompting does not?"""

import pytest

from harness import DPO, Experiment, FewShot, Gain, LoRA, NoWorse, TokensOut, ZeroShot
from tasks.tone import Confirms, Tone, ToneReplies

pytestmark = pytest.mark.long

experiment = Experiment(
    question="Should we tune SmolLM2-135M on preferences for tone, or keep prompting it?",
    task=ToneReplies(),
    model="smollm2-135m-instruct",
    baselines=[ZeroShot(), FewShot(shots=4)],
    recipes=[
        DPO(
            adapter=LoRA(rank=16),
            epochs=1,
            batch_size=8,
            learning_rate=2e-4,
            # The kind replies are not what the untuned model would say: without their own loss both answers fall.
            sft_weight=1.0,
            evaluate_every=20,
            label="dpo lora-r16",
        )
    ],
    metrics=[Tone(), Confirms(), TokensOut()],
    go_if=[
        Gain(Tone(), at_least=0.05),
        NoWorse(Confirms(), by_at_most=0.05),
    ],
    seeds=(1,),
)
