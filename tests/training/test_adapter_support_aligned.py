"""The loss of rows with virtual tokens: alone, in a batch padded on either side, by hand, and as it is served."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache

from harness.inference.local.engine import open_engine
from harness.inference.models.adapters import save_adapter
from harness.inference.models.loading import load_model, load_tokenizer
from harness.recipes import PrefixTuning, PromptTuning, PTuning, PTuningV2, VirtualTokens
from harness.training.adapter_support import align
from harness.training.network import add_adapter
from harness.training.rows import TokenizedRow, make_rows
from harness.training.sft import packed, padded
from harness.types.models import Model
from harness.types.samples import Example, Message

TOKENS = 5
ADAPTERS = (
    PromptTuning(tokens=TOKENS),
    PTuning(tokens=TOKENS),
    PTuning(tokens=TOKENS, encoder="lstm"),
    PrefixTuning(tokens=TOKENS, hidden=16),
    PTuningV2(tokens=TOKENS),
)
EXAMPLES = tuple(
    Example(id=str(place), prompt=(Message("user", text),), answer=answer)
    for place, (text, answer) in enumerate(
        [("red", "blue"), ("a much longer question than that one", "green"), ("amber!!", "red and blue and green")]
    )
)


def network_of(tiny: Model, adapter: VirtualTokens) -> Any:
    """Return the network with virtual tokens of which each counts."""
    torch.manual_seed(0)
    network = add_adapter(load_model(tiny, dtype=torch.float32), adapter)
    for parameter in network.prompt_encoder.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    align(network)
    return network.eval()


def batch(rows: list[TokenizedRow], *, left: bool = False) -> dict[str, torch.Tensor]:
    """Return rows as a collator pads them."""
    width = max(row.tokens for row in rows)

    def filled(values: list[int], blank: int) -> list[int]:
        blanks = [blank] * (width - len(values))
        return blanks + values if left else values + blanks

    features = [row.features() for row in rows]
    return {
        "input_ids": torch.tensor([filled(one["input_ids"], 2) for one in features]),
        "labels": torch.tensor([filled(one["labels"], -100) for one in features]),
        "attention_mask": torch.tensor([filled([1] * row.tokens, 0) for row in rows]),
    }


@torch.no_grad()
def losses(network: Any, rows: list[TokenizedRow], *, left: bool = False) -> torch.Tensor:
    """Return the loss of each answer token, in the order of the rows."""
    made = padded(batch(rows, left=left))
    return cross_entropy(made.logits(network), made.targets, reduction="none")


@torch.no_grad()
def by_hand(network: Any, row: TokenizedRow) -> torch.Tensor:
    """Return the loss of each answer token from the base alone, given embeddings or keys and values."""
    base, learned = network.get_base_model(), network.get_prompt(batch_size=1)
    ids = torch.tensor([[*row.prompt, *row.answer]])
    if isinstance(learned, torch.Tensor):
        embedded = torch.cat([learned, base.get_input_embeddings()(ids)], dim=1)
        logits = base(inputs_embeds=embedded).logits[:, TOKENS:]
    else:
        cache = DynamicCache()
        for place, layer in enumerate(learned.layers):
            cache.update(layer.keys, layer.values, place)
        positions = torch.arange(TOKENS, TOKENS + ids.shape[1])[None]
        logits = base(input_ids=ids, past_key_values=cache, position_ids=positions).logits
    start = len(row.prompt) - 1
    return cross_entropy(logits[0, start:-1], torch.tensor(row.answer), reduction="none")


@pytest.fixture
def rows(tiny: Model) -> list[TokenizedRow]:
    return make_rows(load_tokenizer(tiny), EXAMPLES)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_a_row_loses_the_same_alone_in_a_batch_and_by_hand(tiny: Model, rows: list[TokenizedRow], adapter) -> None:
    network = network_of(tiny, adapter)
    expected = torch.cat([by_hand(network, row) for row in rows])
    alone = torch.cat([losses(network, [row]) for row in rows])
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses(network, rows), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses(network, rows, left=True), expected, rtol=1e-5, atol=1e-5)
    without = torch.cat([losses(network.get_base_model(), [row]) for row in rows])
    assert float((without - expected).abs().max()) > 0.1


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_a_row_loses_what_the_served_adapter_gives_it(
    tiny: Model, rows: list[TokenizedRow], said, tmp_path: Path, adapter
) -> None:
    network = network_of(tiny, adapter)
    trained = [float(-losses(network, [row])[:-1].sum()) for row in rows]  # serving does not score the end token
    save_adapter(network, tmp_path / "adapter", base=tiny.source)
    engine = open_engine(tiny, progress=said)
    engine.use(tmp_path / "adapter")
    served = {
        place: found.logprob
        for places, batch in engine.likelihoods([(example.prompt, example.answer) for example in EXAMPLES])
        for place, found in zip(places, batch, strict=True)
    }
    assert [served[place] for place in range(len(rows))] == pytest.approx(trained, abs=1e-4)


@pytest.mark.parametrize("adapter", [PromptTuning(tokens=TOKENS), PTuningV2(tokens=TOKENS)], ids=lambda a: a.name)
@pytest.mark.parametrize("left", [False, True], ids=["padded on the right", "padded on the left"])
def test_logits_lie_where_the_text_does_whichever_are_kept(
    tiny: Model, rows: list[TokenizedRow], adapter, left: bool
) -> None:
    network = network_of(tiny, adapter)
    inputs = batch(rows, left=left)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.no_grad():
        whole = network(input_ids=ids, attention_mask=mask).logits
        last = network(input_ids=ids, attention_mask=mask, logits_to_keep=3).logits
        some = network(input_ids=ids, attention_mask=mask, logits_to_keep=torch.tensor([1, 4])).logits
    assert whole.shape[:2] == ids.shape
    torch.testing.assert_close(last, whole[:, -3:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(some, whole[:, [1, 4]], rtol=1e-4, atol=1e-4)


def test_peft_alone_gives_a_left_padded_row_another_loss(tiny: Model, rows: list[TokenizedRow]) -> None:
    """The fault that is put right here: should PEFT mend it, this file can go."""
    network = network_of(tiny, PromptTuning(tokens=TOKENS))
    inputs = batch(rows, left=True)
    with torch.no_grad():
        right = network(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        del network.forward  # PEFT's own
        wrong = network(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, TOKENS:]
    assert float((wrong[0, -1] - right[0, -1]).abs().max()) > 1


def test_gradients_reach_the_virtual_tokens_of_a_left_padded_batch(tiny: Model, rows: list[TokenizedRow]) -> None:
    gradients = []
    for left in (False, True):
        network = network_of(tiny, PromptTuning(tokens=TOKENS)).train()
        made = padded(batch(rows, left=left))
        cross_entropy(made.logits(network), made.targets).backward()
        gradients.append(network.prompt_encoder["default"].embedding.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
    assert gradients[0].abs().max() > 1e-4
    assert packed(batch(rows)) is not None  # such rows would be packed, were there no virtual tokens
