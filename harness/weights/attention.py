"""Another attention for the length of a pass, and packed states laid out as rows side by side."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

Value = TypeVar("Value")


@contextmanager
def attention_as(model: Any, name: str, variable: ContextVar[Value], value: Value) -> Iterator[None]:
    """Let `model` attend as the registered attention `name`, which finds `value` in `variable`.

    Both are what they were before afterwards.
    """
    config = model.config.get_text_config()
    before, token = config._attn_implementation, variable.set(value)
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before
        variable.reset(token)


def spread(states: torch.Tensor, places: torch.Tensor, heads: int) -> torch.Tensor:
    """Return packed states, (1, key heads, tokens, width), as (rows, heads, time, width).

    places: (rows, time), where each row's tokens lie among the packed ones.
    """
    apart = states[0].index_select(1, places.flatten())  # (key heads, rows x time, width)
    apart = apart.view(states.shape[1], *places.shape, -1).transpose(0, 1)
    return apart.repeat_interleave(heads // states.shape[1], dim=1)
