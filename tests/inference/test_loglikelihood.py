"""Packed likelihoods against one unpadded row at a time, on the architectures that users have."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.types.models import Model
from harness.types.samples import Likelihood, Message
from tests.inference.architectures import MODELS, SHARING, folder_of

SHOTS = "".join(f"Turn on light {number} in the kitchen, please. " for number in range(6))
QUESTIONS = ("What is the capital of France?", "Close the blinds.", "Turn on the light in the kitchen.")
CHOICES = ("Paris", "Paris is the capital", "Paris is the light", "no", "")


def requests(shots: str) -> list[tuple[tuple[Message, ...], str]]:
    return [((Message("user", shots + question),), choice) for question in QUESTIONS for choice in CHOICES]


def weighed(engine: LocalEngine, shots: str) -> list[Likelihood]:
    batches = engine.likelihoods(requests(shots))
    found = {place: likelihood for places, batch in batches for place, likelihood in zip(places, batch, strict=True)}
    return [found[place] for place in range(len(found))]


def reference(folder: Path, shots: str) -> list[tuple[float, bool]]:
    """Return (log-likelihood, whether greedy) of each request, computed in a row of its own."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for prompt, choice in requests(shots):
        answer = answer_ids(tokenizer, choice, end=False)
        ids = torch.tensor([prompt_ids(tokenizer, prompt) + answer])
        with torch.no_grad():
            scores = model(input_ids=ids).logits[0, ids.shape[1] - len(answer) - 1 : -1].log_softmax(-1)
        target = torch.tensor(answer, dtype=torch.long)
        found.append((float(scores.gather(1, target[:, None]).sum()), bool((scores.argmax(-1) == target).all())))
    return found


@pytest.mark.parametrize("shots", ["", SHOTS], ids=["zero-shot", "shots"])
@pytest.mark.parametrize("name", MODELS)
def test_likelihoods_are_those_of_rows_of_their_own(name: str, shots: str, tiny_model: Path, tmp_path, said) -> None:  # type: ignore[no-untyped-def]
    folder = folder_of(name, tiny_model, tmp_path)
    engine = open_engine(Model(str(folder), dtype="float32"), progress=said)
    expected = reference(folder, shots)
    for _ in range(2):
        found = weighed(engine, shots)
        assert [one.logprob for one in found] == pytest.approx([logprob for logprob, _ in expected], abs=1e-4)
        assert [one.greedy for one in found] == [greedy for _, greedy in expected]
    lines = [line for line in said.lines if "cannot share" in line]
    assert len(lines) == (0 if name in SHARING else 1)


def test_a_packed_pass_reads_each_distinct_token_once(tiny_model: Path, said) -> None:  # type: ignore[no-untyped-def]
    engine = open_engine(Model(str(tiny_model), dtype="float32"), progress=said)
    weighed(engine, SHOTS)  # the check of the first rows is behind us
    read: list[int] = []
    embeddings = engine._network.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    weighed(engine, SHOTS)
    hook.remove()
    tokenizer = engine._tokenizer
    rows = [
        tuple(prompt_ids(tokenizer, prompt) + answer_ids(tokenizer, choice, end=False)[:-1])
        for prompt, choice in requests(SHOTS)
    ]
    distinct = {row[:length] for row in rows for length in range(1, len(row) + 1)}
    # Beginnings of fewer than eight tokens are computed again rather than shared.
    assert len(distinct) <= sum(read) <= len(distinct) + 8 * len(QUESTIONS)
    assert sum(map(len, rows)) > 8 * sum(read)


def test_the_trial_of_both_ways_reads_the_beginning_of_three_rows(tiny_model: Path, said) -> None:  # type: ignore[no-untyped-def]
    engine = open_engine(Model(str(tiny_model), dtype="float32"), progress=said)
    read: list[int] = []
    counting = engine._network.register_forward_pre_hook(
        lambda model, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    list(engine.likelihoods([((Message("user", "light " * 70 + str(number)),), "on " * 100) for number in range(9)]))
    counting.remove()
    prefix, packed, padded, *_ = read
    assert prefix > 70
    assert packed <= padded <= 3 * (64 + 64)
