"""Which weights answer: the base model's, a PEFT adapter on it, or a whole tuned model in its place."""

from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from harness.engine.prefix import Prefix
from harness.errors import StageFailed
from harness.weights.bars import errors_only
from harness.weights.hardware import dtype_name


def is_adapter(folder: Path) -> bool:
    """Tell an adapter folder from a whole model.

    Raises StageFailed where `folder` is neither.
    """
    if (folder / "adapter_config.json").is_file():
        return True
    if (folder / "config.json").is_file():
        return False
    raise StageFailed(
        f"{folder} holds neither an adapter (adapter_config.json) nor a model (config.json); "
        "delete the folder and run again to tune anew"
    )


def attach(base: Any, folder: Path) -> Any:
    """Return `base` with the adapter of `folder` switched on.

    The adapter keeps the base's dtype: PEFT's default of float32 casts every activation twice.

    Raises StageFailed where the adapter does not fit the base.
    """
    # Imported here because it takes 3 to 6 s, which a run of baselines need not pay. On the way it loads
    # bitsandbytes, which warns about an optional kernel that nothing here uses.
    with errors_only("bitsandbytes"):
        from peft import PeftModel

    try:
        adapted = PeftModel.from_pretrained(base, str(folder), autocast_adapter_dtype=False)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise StageFailed(
            f"the adapter in {folder} does not load onto the base model ({dtype_name(base.dtype)}): "
            f"{str(error).splitlines()[0]}; delete the folder and run again to tune anew"
        ) from error
    return adapted.eval()


def detach(adapted: Any) -> Any:
    """Return the base model as it was before `attach`."""
    return adapted.base_model if is_prompt_learning(adapted) else adapted.unload()


def is_prompt_learning(adapted: Any) -> bool:
    return bool(_config(adapted).is_prompt_learning)


@torch.inference_mode()
def virtual_prefix(adapted: Any) -> Prefix:
    """Return the keys and values of a prompt-learning adapter's virtual tokens.

    PEFT puts virtual tokens before the padding of a left-padded batch, which moves them away from the text and
    changes the answers silently. As a prefix that every row starts from, they stand next to the text at any length.
    """
    base, config = adapted.base_model, _config(adapted)
    learned = adapted.get_prompt(batch_size=1)
    if isinstance(learned, torch.Tensor):  # (1, virtual tokens, hidden): embeddings to be read by the base
        cache = DynamicCache()
        base(inputs_embeds=learned.to(base.dtype), past_key_values=cache, use_cache=True, logits_to_keep=1)
    else:
        cache = learned
    return Prefix(tokens=0, positions=int(config.num_virtual_tokens), cache=cache)


def _config(adapted: Any) -> Any:
    return adapted.peft_config[adapted.active_adapter]
