"""Reward models: a causal model's body with one output in place of its vocabulary, loaded and asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForSequenceClassification

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.models.adapters import attach, is_adapter
from harness.inference.models.loading import (
    UNREADABLE,
    choose_device,
    errors_only,
    in_a_line,
    nf4,
    no_bars,
    side_by_side,
    steady,
    tokenizer_of,
    weights_folder,
)
from harness.types.models import Model

# Rows scored at once: no gradient is kept, so memory is small.
_ROWS = 16
# Its weight is the head's, which a causal model does not have.
_HEAD = "score.weight"


def load_reward(model: Model, folder: Path) -> Any:
    """Return the reward model of `folder` in evaluation mode and float32, on the device of `model`.

    Args:
        model: The base that an adapter was trained on; of a whole reward model only its device is asked.

    Raises:
        StageFailed: If `folder` holds no reward model.
    """
    made = _made(folder)
    if made != "reward":
        raise StageFailed(f"{folder} holds a {made}, not a reward model; train one with RewardModel(...) in Steps")
    device = choose_device(model.device)
    if not is_adapter(folder):
        network, missing = _loaded(folder, device=device, dtype=torch.float32)
        _refuse_missing(folder, missing)
        return network
    base = new_scorer(
        weights_folder(model),
        tokenizer_of(folder),
        device=device,
        dtype=torch.float32,
        trust_remote_code=model.trust_remote_code,
    )
    return attach(base, folder)


@torch.no_grad()
def rewards(network: Any, tokenizer: Any, sequences: Sequence[Sequence[int]]) -> list[float]:
    """Return the reward of each sequence of tokens, prompt and answer, in order.

    It is read at the last token that is not the padding token; where that is also the end token, at the answer's last
    word. A sequence alone and in a batch have the same reward, but for rounding.
    """
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    found = [0.0] * len(sequences)
    for start in range(0, len(order), _ROWS):
        places = order[start : start + _ROWS]
        ids, mask = side_by_side([sequences[place] for place in places], int(tokenizer.pad_token_id), left=False)
        device = network.device
        scores = network(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits  # (rows, 1)
        for place, score in zip(places, scores[:, 0].float().tolist(), strict=True):
            found[place] = score
    return found


def _loaded(
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    quantize: Literal["nf4"] | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, set[str]]:
    """Return the model of `folder` with one output, in evaluation mode, and the names of the weights that it lacks."""
    steady()
    quantization = None if quantize is None else nf4(dtype)
    try:
        # It reports the head as missing, which is meant.
        with no_bars(), errors_only("bitsandbytes"), errors_only("transformers"):
            loaded, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                num_labels=1,
                dtype=dtype,
                quantization_config=quantization,
                device_map={"": device} if quantization else None,
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except UNREADABLE as error:
        raise InvalidExperiment(f"{folder} cannot be loaded as a model with one output: {in_a_line(error)}") from error
    return (loaded if quantization else loaded.to(device)).eval(), set(report["missing_keys"])


def _refuse_missing(folder: Path, missing: set[str]) -> None:
    if missing:
        raise InvalidExperiment(
            f"{folder}: the weights lack {len(missing)} tensors of a model with one output, such as {min(missing)}; "
            "save the model again"
        )


def new_scorer(folder: Path, tokenizer: Any, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Any:
    """Return the causal model of `folder` with a new head of random weights, which pads as `tokenizer` does.

    Raises:
        InvalidExperiment: If the folder cannot be read so, or lacks weights that no new head explains.
    """
    network, missing = _loaded(folder, device=device, dtype=dtype, **options)
    _refuse_missing(folder, missing - {_HEAD})
    _agree_on_padding(network, tokenizer)
    return network


def _agree_on_padding(network: Any, tokenizer: Any) -> None:
    """The last token that is not padding is where the reward is read."""
    network.config.get_text_config().pad_token_id = tokenizer.pad_token_id


def _made(folder: Path) -> str:
    try:
        facts = json.loads((folder / "harness.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "folder without harness.json"
    return str(facts.get("makes", "policy"))
