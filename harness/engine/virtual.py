"""The virtual tokens of a prompt-learning adapter, as a prefix that every row starts from."""

from typing import Any

import torch
from transformers import DynamicCache

from harness.engine.prefix import Prefix


@torch.inference_mode()
def virtual_prefix(adapted: Any) -> Prefix:
    """Return the keys and values of a prompt-learning adapter's virtual tokens.

    PEFT puts virtual tokens before the padding of a left-padded batch, which moves them away from the text and
    changes the answers silently. As a prefix that every row starts from, they stand next to the text at any length.
    """
    base, config = adapted.base_model, adapted.peft_config[adapted.active_adapter]
    learned = adapted.get_prompt(batch_size=1)
    if isinstance(learned, torch.Tensor):  # (1, virtual tokens, hidden): embeddings to be read by the base
        cache = DynamicCache()
        base(inputs_embeds=learned.to(base.dtype), past_key_values=cache, use_cache=True, logits_to_keep=1)
    else:
        cache = learned
    return Prefix(tokens=0, positions=int(config.num_virtual_tokens), cache=cache)
