"""A second look at what another tuner made: its weights, computed with by us."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from harness.models import Model
from harness.samples import Check
from harness.tuning.probe import change_check, in_memory
from harness.tuning.rows import Row
from harness.weights.adapted import attach, is_adapter
from harness.weights.loading import load_model, model_of

# Theirs is a mean over batches, some in half precision; another model or other tokens move it by more than this.
_SAME_LOSS = 0.1


def look(
    model: Model, folder: Path, rows: Sequence[Row], dev: Sequence[Row], state: Mapping[str, Any], *, shown: str
) -> tuple[Check, ...]:
    """Return what the weights in `folder` do when we compute with them: they change the model, and have the loss told.

    rows: trained on. dev: evaluated on. state: the trainer's, with its log history. shown: the tuner's name.
    """
    base = load_model(model, dtype=torch.float32)
    before = in_memory(base, rows)
    whole = not is_adapter(folder)
    tuned = model_of(folder, device=base.device, dtype=torch.float32) if whole else attach(base, folder)
    changed = change_check(before, in_memory(tuned, rows))
    told = [float(entry["eval_loss"]) for entry in state["log_history"] if "eval_loss" in entry]
    if not told:
        return (changed,)
    return changed, loss_check(min(told), _dev_loss(tuned, dev), shown=shown)


def loss_check(told: float, found: float, *, shown: str) -> Check:
    """Return the check that the dev loss a tuner tells is what its weights have here, on the same tokens."""
    apart = abs(told - found) / max(told, found, 1e-6)
    facts = f"{shown} tells a dev loss of {told:.3f}; its weights have {found:.3f} here"
    if apart <= _SAME_LOSS or abs(told - found) <= _SAME_LOSS / 2:
        return Check(name="dev loss as told", status="ok", detail=facts)
    detail = f"{facts}: it trained on other tokens, or read the model otherwise; the evaluation here is what counts"
    return Check(name="dev loss as told", status="warning", detail=detail)


@torch.inference_mode()
def _dev_loss(network: Any, rows: Sequence[Row]) -> float:
    """Return the mean loss of an answer token."""
    total, tokens = 0.0, 0
    for row in rows:
        ids = torch.tensor([[*row.prompt, *row.answer]], device=network.device)
        logits = network(input_ids=ids, use_cache=False, logits_to_keep=len(row.answer) + 1).logits[0, :-1].float()
        total += float(cross_entropy(logits, ids[0, len(row.prompt) :], reduction="sum"))
        tokens += len(row.answer)
    return total / tokens
