"""The harness's own adapters served: what the engine says is what the network says, one text at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import StageFailed
from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.models import adapters as attached
from harness.inference.models import adapters as own
from harness.inference.models.loading import load_model, load_tokenizer
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.inference.vllm.engine import _rank_of
from harness.recipes import MAM, BitFit, Bottleneck, UniPELT
from harness.recipes.adapters import Adapter
from harness.types.models import Model
from harness.types.samples import Decoding, Message

# The longer two share a beginning that the engine computes once.
PROMPTS = [
    (Message("user", text),)
    for text in ("Paris?", "Turn on the light " * 6 + "in the kitchen", "Turn on the light " * 6 + "now")
]
REQUESTS = [(prompt, text) for prompt in PROMPTS for text in ("yes", "Paris is the capital")]
ADAPTERS = {
    "pfeiffer": (Bottleneck(reduction=4), True),
    "houlsby": (Bottleneck(reduction=4, kind="houlsby"), True),
    "mam": (MAM(prefix_tokens=5, bottleneck=8), False),
    "unipelt": (UniPELT(prefix_tokens=5), False),
    "bitfit": (BitFit(), True),
}


@pytest.fixture
def tiny(tiny_model: Path) -> Model:
    return Model(str(tiny_model), dtype="float32")


@pytest.fixture
def engine(tiny: Model, said) -> LocalEngine:
    return open_engine(tiny, progress=said)


def moved(tiny: Model, adapter: Adapter, folder: Path) -> Any:
    """Save an adapter whose every weight was moved, and return the network that has it."""
    torch.manual_seed(3)
    network = own.add_custom_modules(load_model(tiny), adapter)
    with torch.no_grad():
        for weight in own.custom_modules(network).parameters():
            weight += 0.1 * torch.randn_like(weight)
    attached.save_adapter(network, folder, base=tiny.source)
    return network.eval()


def weighed(engine: LocalEngine) -> list[float]:
    found = {p: x.logprob for places, batch in engine.likelihoods(REQUESTS) for p, x in zip(places, batch, strict=True)}
    return [found[position] for position in range(len(REQUESTS))]


def texts(engine: LocalEngine) -> list[str]:
    batches = engine.generate(PROMPTS, Decoding(max_tokens=10))
    found = {p: c.text for places, batch in batches for p, c in zip(places, batch, strict=True)}
    return [found[position] for position in range(len(PROMPTS))]


@torch.no_grad()
def own_likelihood(network: Any, tokenizer: Any, prompt: Any, text: str) -> float:
    """Return it from one unpadded row, without a cache."""
    start, answer = prompt_ids(tokenizer, prompt), answer_ids(tokenizer, text, end=False)
    logits = network(input_ids=torch.tensor([start + answer]), use_cache=False).logits[0, -len(answer) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())


@torch.no_grad()
def own_answer(network: Any, tokenizer: Any, prompt: Any) -> str:
    """Return the greedy answer, each token from the whole text, without a cache."""
    ids = list(prompt_ids(tokenizer, prompt))
    answer: list[int] = []
    while len(answer) < 10:
        token = int(network(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        answer.append(token)
    return str(tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_engine_says_what_the_network_says_and_leaves_no_trace(
    engine: LocalEngine, tiny: Model, said, tmp_path: Path, kind: str
) -> None:
    adapter, shares = ADAPTERS[kind]
    base = weighed(engine)
    network, tokenizer = moved(tiny, adapter, tmp_path / kind), load_tokenizer(tiny)
    engine.use(tmp_path / kind)

    assert weighed(engine) == pytest.approx(
        [own_likelihood(network, tokenizer, prompt, text) for prompt, text in REQUESTS], abs=1e-3
    )
    assert texts(engine) == [own_answer(network, tokenizer, prompt) for prompt in PROMPTS]
    assert max(abs(a - b) for a, b in zip(weighed(engine), base, strict=True)) > 0.01
    told = [line for line in said.lines if "rows share no beginnings; plain batches are used" in line]
    assert bool(told) is not shares
    engine.use(None)
    assert weighed(engine) == base


def test_rows_are_packed_wherever_no_prefix_is_seen(engine: LocalEngine, tiny: Model, tmp_path: Path) -> None:
    """Also after a network that shares: what was found of the base does not speak for the adapter."""
    for kind in ("mam", "bitfit"):
        moved(tiny, ADAPTERS[kind][0], tmp_path / kind)
    packed = []
    for folder in (None, tmp_path / "mam", tmp_path / "bitfit"):
        engine.use(folder)
        packed.append(engine._can_share([], engine._virtual) if engine._shares is not None else bool(weighed(engine)))
    assert packed == [True, False, True]


def test_own_adapters_take_turns_with_the_base_in_place(engine: LocalEngine, tiny: Model, tmp_path: Path) -> None:
    expected = {}
    for kind in ("mam", "pfeiffer", "unipelt"):
        network = moved(tiny, ADAPTERS[kind][0], tmp_path / kind)
        expected[kind] = own_likelihood(network, load_tokenizer(tiny), *REQUESTS[0])
    weights = engine._network.model.embed_tokens.weight.data_ptr()
    for kind in ("mam", "unipelt", "pfeiffer", "mam"):
        engine.use(tmp_path / kind)
        assert weighed(engine)[0] == pytest.approx(expected[kind], abs=1e-3)
    assert engine._network.model.embed_tokens.weight.data_ptr() == weights


def test_vllm_refuses_them_by_name(tiny: Model, tmp_path: Path) -> None:
    moved(tiny, Bottleneck(), tmp_path / "pfeiffer")
    with pytest.raises(StageFailed, match=r"plain LoRA .* the harness's own; use Model\(..., engine='transformers'"):
        _rank_of(tmp_path / "pfeiffer")
