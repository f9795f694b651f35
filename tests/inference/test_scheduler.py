"""Answers written side by side against transformers' own, one at a time, on the architectures that users have."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.inference.local.engine import open_engine
from harness.inference.local.scheduler import DecodingModel, Generated, TokenRequest, generate
from harness.inference.models.prefix_tree import Limits, SharedPrefix, shared_prefix
from harness.inference.models.rendering import end_id, prompt_ids
from harness.types.models import Model
from harness.types.samples import Completion, Decoding, Message
from tests.inference.architectures import MODELS, SHARING, folder_of

SHOTS = "".join(f"Turn on light {number} in the kitchen, please. " for number in range(6))
QUESTIONS = (
    "What is the capital of France?",
    "Close the blinds.",
    "Turn on the light in the kitchen.",
    "Turn on the light in the kitchen and say so.",
    "2+2",
    "2+2",
    "请打开灯",
)
TOKENS = 10


def by_library(folder: Path, prompts: Sequence[tuple[Message, ...]]) -> list[str]:
    """Return the text of `model.generate`, a prompt at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = []
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(tokenizer, prompt)])
        ends = [tokenizer.eos_token_id, end_id(tokenizer)]
        said = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, eos_token_id=ends
        )
        texts.append(str(tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True)))
    return texts


@pytest.mark.parametrize("rows", [2, 128])
@pytest.mark.parametrize("shots", ["", SHOTS], ids=["zero-shot", "shots"])
@pytest.mark.parametrize("name", MODELS)
def test_greedy_text_is_the_librarys(  # type: ignore[no-untyped-def]
    name: str, shots: str, rows: int, tiny_model: Path, tmp_path, said, monkeypatch
) -> None:
    monkeypatch.setattr("harness.inference.local.engine._DECODE_ROWS", {"cpu": rows})
    monkeypatch.setattr("harness.inference.local.engine._GROUP", 10)
    folder = folder_of(name, tiny_model, tmp_path)
    engine = open_engine(Model(str(folder), dtype="float32"), progress=said)
    prompts = [(Message("user", shots + question),) for question in QUESTIONS]
    found: dict[int, Completion] = {}
    for (place,), (answer,) in engine.generate(prompts, Decoding(max_tokens=TOKENS)):
        found[place] = answer
    assert [found[place].text for place in range(len(prompts))] == by_library(folder, prompts)
    assert engine._shares is (name in SHARING)
    assert all(answer.seconds > 0 for answer in found.values())


def speaker_of(folder: Path, ends: frozenset[int]) -> DecodingModel:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    limits = Limits(tokens=256, item=256, scored=256)
    return DecodingModel(model, AutoTokenizer.from_pretrained(folder), ends, limits, shares=True)


def test_waiting_rows_enter_as_others_leave(tiny_model: Path, tmp_path: Path) -> None:
    """Seven answers of different lengths in three slots take fewer steps than three batches of three would."""
    speaker = speaker_of(folder_of("qwen3", tiny_model, tmp_path), frozenset())
    requests = [TokenRequest((5, 6, 7, 8 + place), room) for place, room in enumerate([12, 2, 2, 2, 2, 2, 12])]
    alone = [next(iter(generate(speaker, [request], Decoding(), SharedPrefix(), rows=1)))[1] for request in requests]
    passes: list[int] = []
    counting = speaker.model.register_forward_pre_hook(
        lambda model, args, kwargs: passes.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    together = dict(generate(speaker, requests, Decoding(), SharedPrefix(), rows=3))
    counting.remove()
    assert [together[place].text for place in range(7)] == [answer.text for answer in alone]
    # 12 tokens for the first; the last entered when the first was half way and ends after it.
    assert max(passes[1:]) <= 8
    assert len(passes) < 12 + 2 + 12
    assert sum(answer.seconds for answer in together.values()) > 0


def test_a_shared_prefix_is_read_once(tiny_model: Path, tmp_path: Path) -> None:
    speaker = speaker_of(folder_of("gpt2", tiny_model, tmp_path), frozenset())
    start = tuple(range(40, 80))
    requests = [TokenRequest((*start, place), 4) for place in (3, 4, 5)]
    with torch.inference_mode():
        prefix = shared_prefix(speaker.model, [request.prompt for request in requests], virtual=SharedPrefix())
    read: list[int] = []
    counting = speaker.model.register_forward_pre_hook(
        lambda model, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    shared = dict(generate(speaker, requests, Decoding(), prefix, rows=4))
    counting.remove()
    apart: dict[int, Generated] = dict(generate(speaker, requests, Decoding(), SharedPrefix(), rows=4))
    assert [shared[place].text for place in range(3)] == [apart[place].text for place in range(3)]
    assert read == [3, 3, 3, 3]
