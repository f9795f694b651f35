"""Another attention for a while, and packed states as rows."""

from contextvars import ContextVar
from types import SimpleNamespace

import pytest
import torch

from harness.inference.models.prefix_tree import attention_as, spread

SEEN: ContextVar[str] = ContextVar("what an attention sees", default="nothing")


def test_attention_and_what_it_sees_are_given_back_also_after_an_error() -> None:
    config = SimpleNamespace(_attn_implementation="eager")
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    during = []
    with pytest.raises(RuntimeError), attention_as(model, "other", SEEN, "rows"):
        raise RuntimeError(during.append((config._attn_implementation, SEEN.get())))
    assert during == [("other", "rows")]
    assert (config._attn_implementation, SEEN.get()) == ("eager", "nothing")


def test_rows_take_their_tokens_from_the_packed_one_and_heads_share_keys() -> None:
    states = torch.tensor([[[[1.0], [2.0], [3.0]], [[10.0], [20.0], [30.0]]]])  # two key heads, three tokens
    rows = spread(states, torch.tensor([[0, 1], [0, 2]]), 4)
    first, second = [[1.0, 2.0]] * 2 + [[10.0, 20.0]] * 2, [[1.0, 3.0]] * 2 + [[10.0, 30.0]] * 2
    assert rows.squeeze(-1).tolist() == [first, second]
