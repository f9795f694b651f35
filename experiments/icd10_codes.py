"""Can tuning teach a 135M model the code book, or is looking codes up the better answer?"""

import pytest

from harness import RAG, SFT, ExactMatch, Experiment, Gain, LoRA, NoGo, Perplexity, TokensIn, ZeroShot
from tasks.icd10_codes import Icd10Codes

# Known negative: a book is looked up, not learned; the mark fails the day that tuning wins.
pytestmark = pytest.mark.xfail(raises=NoGo, strict=True)

# Written as the book continues: fewer answers without a code on DEV (7 of 64, not 18, with five BM25 passages).
LOOK_UP = "{passages}\n\nDiagnosis: {question}\nCode:"

experiment = Experiment(
    question="Should we tune SmolLM2-135M to code diagnoses, or let it look them up in the code book?",
    task=Icd10Codes(),
    model="smollm2-135m-instruct",
    baselines=[
        ZeroShot(),
        RAG(passages=3, template=LOOK_UP),
        RAG(passages=3, retriever="dense", template=LOOK_UP),
    ],
    recipes=[
        SFT(
            adapter=LoRA(rank=16),
            epochs=1,
            # Each seed draws its own half of the data: a second training then costs no more than one of all.
            limit=500,
            learning_rate=1e-3,
            batch_size=16,
            evaluate_every=16,
            label="lora-r16",
        )
    ],
    metrics=[ExactMatch(), Perplexity(), TokensIn()],
    go_if=[Gain(ExactMatch(), at_least=0.05)],
    seeds=(1, 2),
)
