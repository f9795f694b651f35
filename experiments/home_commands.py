"""Can a tuned 135M model replace the few-shot prompt that turns home commands into JSON?"""

from harness import (
    RAG,
    SFT,
    BERTScore,
    ExactMatch,
    Experiment,
    FewShot,
    Gain,
    Latency,
    LoRA,
    NoWorse,
    Preference,
    SafetyRules,
    TokensIn,
    ZeroShot,
)
from tasks.home_commands import HomeCommands

experiment = Experiment(
    question="Should we tune SmolLM2-135M for home commands, or keep prompting it?",
    task=HomeCommands(language="en"),
    model="smollm2-135m-instruct",
    baselines=[
        ZeroShot(),
        FewShot(shots=8),
        FewShot(shots=3, select="nearest"),
        RAG(passages=3),
    ],
    recipes=[
        SFT(
            adapter=LoRA(rank=16),
            epochs=1,
            batch_size=8,
            learning_rate=3e-3,
            evaluate_every=75,
            label="lora-r16",
            # The names of the intents are learned, so the tuned model is served, and trained, without listing them.
            prompt=ZeroShot(instruction="Home command to JSON."),
        )
    ],
    metrics=[
        ExactMatch(),
        BERTScore(),
        SafetyRules(),
        Preference(),
        TokensIn(),
        Latency(),
    ],
    go_if=[
        Gain(ExactMatch(), at_least=0.10),
        NoWorse(SafetyRules(), by_at_most=0.05),
    ],
    # Three trainings, so that a lucky one is no GO: how far they lie apart is in the interval.
    seeds=(1, 2, 3),
)
