"""A packed batch against a padded one."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from harness.training.sft import Batch, packed, padded


def batch(*rows: tuple[list[int], list[int]]) -> dict[str, torch.Tensor]:
    """Return rows of (prompt, answer) as the collator pads them, on the right."""
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    filled = [(len(prompt) + len(answer), prompt, answer) for prompt, answer in rows]
    return {
        "input_ids": torch.tensor([prompt + answer + [0] * (width - size) for size, prompt, answer in filled]),
        "labels": torch.tensor([[-100] * len(p) + a + [-100] * (width - size) for size, p, a in filled]),
        "attention_mask": torch.tensor([[1] * size + [0] * (width - size) for size, _, _ in filled]),
    }


ROWS = batch(([5, 6, 7, 8], [9, 10]), ([5, 6, 7, 8], [9, 11, 12]), ([5, 6, 30], [31]))


def losses(model, batch: Batch) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return cross_entropy(batch.logits(model), batch.targets, reduction="none")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_losses_and_gradients_of_a_packed_batch_are_those_of_a_padded_one(tiny_model, attention) -> None:  # type: ignore[no-untyped-def]
    gradients = []
    found = []
    for layout in (padded(ROWS), packed(ROWS)):
        model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation=attention)
        found.append(losses(model, layout))
        found[-1].sum().backward()
        gradients.append(model.model.layers[0].mlp.up_proj.weight.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


def test_shared_tokens_are_held_once_and_the_last_ones_not_at_all() -> None:
    layout = packed(ROWS)
    assert layout.rows.spread.tolist() == [[0, 1, 2, 3, 4, 0], [0, 1, 2, 3, 4, 5], [0, 1, 6, 0, 0, 0]]
    assert layout.input_ids.tolist() == [[5, 6, 7, 8, 9, 11, 30]]
    assert layout.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 2]]
    assert layout.targets.tolist() == [9, 10, 9, 11, 12, 31]
    assert layout.keep[layout.chosen].tolist() == [3, 4, 3, 4, 5, 6]


def test_rows_that_share_nothing_stay_a_padded_batch() -> None:
    assert packed(batch(([1, 2], [3]), ([4, 5], [6]))) is not None  # three of nine tokens need no computing
    assert packed(batch((list(range(1, 40)), [3]), (list(range(50, 89)), [6]))) is None


def test_attention_is_given_back(tiny_model) -> None:  # type: ignore[no-untyped-def]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="eager")
    packed(ROWS).logits(model)
    assert model.config._attn_implementation == "eager"
