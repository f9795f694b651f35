"""A network with virtual tokens whose logits lie where the text's tokens do, wherever its rows are padded.

PEFT puts virtual tokens before the padding of a left-padded row, which moves them away from the text and changes the
loss silently; and it leaves the virtual tokens' own logits in, which no trainer of TRL expects.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from harness.weights.adapted import is_adapted, is_prompt_learning

# These enter as keys and values, and have no logits of their own.
_WITHOUT_LOGITS = ("PREFIX_TUNING", "CARTRIDGE")


def has_virtual_tokens(network: Any) -> bool:
    """Tell whether PEFT puts virtual tokens before what `network` reads."""
    return is_adapted(network) and is_prompt_learning(network)


def align(network: Any) -> None:
    """Let `network` answer with one logit a text's token, from rows whose padding PEFT sees on the right."""
    config = network.peft_config[network.active_adapter]
    virtual = 0 if config.peft_type.value in _WITHOUT_LOGITS else int(config.num_virtual_tokens)
    network.forward = partial(_forward, network.forward, virtual)


def _forward(
    original: Callable[..., Any],
    virtual: int,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    *,
    logits_to_keep: int | torch.Tensor = 0,
    position_ids: torch.Tensor | None = None,
    **rest: Any,
) -> Any:
    if input_ids is None:
        raise ValueError("a network with virtual tokens is given token ids here, not embeddings")
    order = None if attention_mask is None else _flush_left(attention_mask)
    if order is not None and attention_mask is not None:
        input_ids, attention_mask = input_ids.gather(1, order), attention_mask.gather(1, order)
        if rest.get("labels") is not None:
            rest["labels"] = rest["labels"].gather(1, order)
    # Kept logits are chosen by position in the text, which rolling moves: all are made then, and chosen afterwards.
    kept = 0 if order is not None else _behind(logits_to_keep, virtual)
    # Positions count from the virtual tokens on, which is what PEFT and the model do by themselves.
    output = original(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=kept, **rest)
    logits = getattr(output, "logits", None)
    if logits is None:  # TRL's fused head, which takes the last positions of right-padded rows itself
        return output
    if isinstance(kept, int) and kept == 0:
        logits = logits[:, virtual:]
    if order is not None:
        back = order.argsort(dim=1)[..., None].expand(-1, -1, logits.shape[-1])
        logits = logits.gather(1, back)
        logits = logits[:, -logits_to_keep:] if isinstance(logits_to_keep, int) else logits[:, logits_to_keep]
    output.logits = logits
    return output


def _behind(kept: int | torch.Tensor, virtual: int) -> int | torch.Tensor:
    return kept if isinstance(kept, int) else kept + virtual


def _flush_left(mask: torch.Tensor) -> torch.Tensor | None:
    """Return for each row the order of places that puts its padding last, (rows, time); None where it is there."""
    before = (mask.cumsum(dim=1) == 0).sum(dim=1, keepdim=True)  # (rows, 1), padding on the left
    if not before.any():
        return None
    places = torch.arange(mask.shape[1], device=mask.device)[None]
    return (places + before) % mask.shape[1]
