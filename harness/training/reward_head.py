"""How a reward model is made, saved and compared, where a policy would be: a body with one output."""

import os
import shutil
from collections.abc import Sequence
from typing import Any

import torch
from peft import get_peft_model

from harness.errors import StageFailed
from harness.inference.models.adapters import attach, is_adapted, merge, save_adapter
from harness.inference.models.loading import keep_gradients, load_tokenizer, weights_folder
from harness.inference.models.reward import load_reward, new_scorer
from harness.recipes.adapters import Adapter, support_of
from harness.training.config import Precision, StartingPoint, TrainingContext
from harness.training.network import write_facts
from harness.training.rows import TokenizedRow
from harness.types.protocols import Progress
from harness.types.samples import Check

_ROWS = 4
_SAVED = "saved model scores as trained"
# Difference of (reloaded minus trained rewards) over the size of the rewards, as for a policy's logits.
_SAME_FLOAT32, _SAME_HALF = 1e-4, 0.08


def scorer(
    ground: StartingPoint, adapter: Adapter, precision: Precision, *, progress: Progress, supplies: object = None
) -> Any:
    """Return the ground's body with a new head of one output, ready to be trained; the head is trained in any case.

    An adapter starts from random weights, whatever it says of its start: supplies, from which others start, is unused.

    Raises:
        StageFailed: If the adapter cannot lie beside a trained head.
    """
    base = new_scorer(
        weights_folder(ground.model, progress=progress),
        load_tokenizer(ground.model),
        device=precision.device,
        dtype=precision.weights,
        quantize=adapter.quantization,
        trust_remote_code=ground.model.trust_remote_code,
    )
    if adapter.whole:
        return base.requires_grad_(True)
    config = support_of(adapter).peft_config(prepared=False) if adapter.merges else None
    if config is None or config.is_prompt_learning:
        raise StageFailed(
            f"{adapter.name} cannot train a reward model here: its head has to be saved with the adapter; "
            "give LoRA, QLoRA or Full"
        )
    keep_gradients(base)
    config.task_type = "SEQ_CLS"  # PEFT then trains the head and saves it with the adapter
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        raise StageFailed(f"{adapter.name} cannot be put on the model: {str(error).splitlines()[0]}") from error


def save_scorer(model: Any, begun: TrainingContext, *, about: dict[str, str | int | None]) -> None:
    """Write the reward model with its tokenizer to `begun.result`, whole or not at all.

    An adapter on a base that earlier steps moved is merged into it, in float32.
    """
    folder, ground, tokenizer = begun.result, begun.ground, begun.tokenizer
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if not is_adapted(model):
        model.save_pretrained(unfinished)
    else:
        save_adapter(model, unfinished, base=begun.source)
        if ground.moved:
            whole = merge(attach(_float32(ground, tokenizer), unfinished))
            shutil.rmtree(unfinished)
            whole.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    write_facts(unfinished, about)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def scores_in_memory(network: Any, rows: Sequence[TokenizedRow]) -> list[torch.Tensor]:
    """Return the rewards of the trained network, before it is freed, for `prove_scorer` to compare with the saved
    one's."""
    network.eval()
    return [_reward(network, row) for row in rows[:_ROWS]]


def prove_scorer(
    begun: TrainingContext, rows: Sequence[TokenizedRow], *, trained: Sequence[torch.Tensor]
) -> tuple[Check, ...]:
    """Return the check that the saved reward model, loaded again in float32, scores as the one trained in memory."""
    saved = load_reward(begun.ground.model, begun.result)
    one, other = torch.stack(list(trained)), torch.stack([_reward(saved, row) for row in rows[:_ROWS]])
    apart = float((other - one).square().mean().sqrt() / one.square().mean().sqrt().clamp(min=1e-6))
    exact = begun.precision.weights is torch.float32 and begun.recipe.adapter.quantization is None
    allowed = _SAME_FLOAT32 if exact else _SAME_HALF
    facts = (
        f"loaded from disk, its rewards of {len(one)} training rows differ from those in memory by {apart:.2g} of "
        f"their size ({allowed:g} is allowed)"
    )
    if apart <= allowed:
        return (Check(name=_SAVED, status="ok", detail=facts),)
    if not exact:
        # The base that is loaded is not the rounded one that was trained on: worth knowing, no fault.
        return (Check(name=_SAVED, status="warning", detail=facts),)
    return (
        Check(name=_SAVED, status="invalid", detail=f"what was saved is not what was trained: {facts}; tune again"),
    )


@torch.inference_mode()
def _reward(network: Any, row: TokenizedRow) -> torch.Tensor:
    """Return the reward of one row, shape ()."""
    ids = torch.tensor([[*row.prompt, *row.answer]], device=network.device)
    # A trained head is float32 beside a bfloat16 body.
    half = any(parameter.dtype is torch.bfloat16 for parameter in network.parameters())
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=half):
        scores: torch.Tensor = network(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return scores[0, 0].float().cpu()


def _float32(ground: StartingPoint, tokenizer: Any) -> Any:
    return new_scorer(
        weights_folder(ground.model),
        tokenizer,
        device=torch.device("cpu"),
        dtype=torch.float32,
        trust_remote_code=ground.model.trust_remote_code,
    )
