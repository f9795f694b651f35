"""After training: does the saved system, loaded from disk, answer otherwise than the base?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from harness.inference.models.adapters import attach, collect, detach, is_adapter
from harness.inference.models.loading import load_model, model_of
from harness.recipes.adapters import Adapter, support_of
from harness.resources.machine import this_machine
from harness.resources.model_shape import read_shape
from harness.training.config import Precision
from harness.training.network import StartingPoint, add_adapter
from harness.training.rows import TokenizedRow
from harness.types.samples import Check

_ROWS = 4
_NAME = "adapter changes the model"
_SAVED = "saved system answers as trained"
# Root mean square of (reloaded minus trained logits) over that of the logits. Measured on the default model: float32
# LoRA and full 1.5e-6, a bfloat16 base 0.9 % and 2.4 %.
_SAME_FLOAT32, _SAME_HALF = 1e-4, 0.08


def in_memory(network: Any, rows: Sequence[TokenizedRow]) -> list[torch.Tensor]:
    """Return the logits of the trained network, before it is freed, for `probe` to compare with the saved one's."""
    network.eval()
    half = network.dtype is torch.bfloat16
    # As it trained: some adapters hand their float32 on to bfloat16 layers, which fit together under autocast alone.
    with torch.autocast(network.device.type, dtype=torch.bfloat16, enabled=half):
        return [_logits(network, row) for row in rows[:_ROWS]]


def probe(
    ground: StartingPoint,
    folder: Path,
    adapter: Adapter,
    precision: Precision,
    rows: Sequence[TokenizedRow],
    *,
    trained: Sequence[torch.Tensor],
) -> tuple[Check, ...]:
    """Return the checks on the saved system: it changes logits, it is the one that was trained, its base is served.

    trained: what `in_memory` gave. What training started from and what it saved are computed in float32 from the
    files on disk, so that a difference is the training's and no rounding; a model that the memory does not hold in
    float32 in the format that it is served in.
    """
    asked, dtype = rows[:_ROWS], _format(ground, precision)
    base = load_model(ground.model, dtype=dtype)
    started = base if ground.adapter is None else attach(base, ground.adapter)
    before = [_logits(started, row) for row in asked]
    if ground.adapter is not None:
        base = detach(started)
    if is_adapter(folder):
        tuned = attach(base, folder)
    else:
        del base, started  # the tuned model need not lie beside it
        collect()
        tuned = model_of(folder, device=precision.device, dtype=dtype)
    after = [_logits(tuned, row) for row in asked]
    changed = change_check(before, after)
    exact = precision.weights is torch.float32 and dtype is torch.float32
    own_base = _own_base(ground, folder, adapter, precision)
    if own_base is not None:
        rebuilt = attach(own_base, folder)
        on_kept = [_logits(rebuilt, row) for row in asked]
        return changed, saved_check(trained, on_kept, exact=exact), _base_check(asked, trained_on=on_kept, served=after)
    if adapter.quantization is None:
        return changed, saved_check(trained, after, exact=exact)
    if not is_adapter(folder):
        return changed, _base_check(asked, trained_on=trained, served=after)
    del base, started, tuned  # the quantised base need not lie beside them
    collect()
    quantised = load_model(ground.model, dtype=precision.weights, quantize=adapter.quantization)
    reloaded = attach(quantised, folder)
    on_four_bits = [_logits(reloaded, row) for row in asked]
    saved = saved_check(trained, on_four_bits, exact=False)  # evaluation may use a coarser 4-bit kernel
    return changed, saved, _base_check(asked, trained_on=on_four_bits, served=after)


def saved_check(trained: Sequence[torch.Tensor], saved: Sequence[torch.Tensor], *, exact: bool) -> Check:
    """Return the check that the saved system, loaded again, has the logits of the one trained in memory.

    exact: both were computed in float32. Else only what moves logits by more than the rounding of half precision can
    be told from it.
    """
    one, other = torch.cat(list(trained)), torch.cat(list(saved))  # (answer tokens, vocabulary)
    apart = float((other - one).square().mean().sqrt() / one.square().mean().sqrt())
    same = float((one.argmax(dim=-1) == other.argmax(dim=-1)).float().mean())
    allowed = _SAME_FLOAT32 if exact else _SAME_HALF
    facts = (
        f"on {len(trained)} training rows its logits differ from those in memory by {apart:.2g} of their size "
        f"({allowed:g} is allowed) and {same:.1%} of the likeliest tokens agree"
    )
    if apart <= allowed:
        return Check(name=_SAVED, status="ok", detail=f"loaded from disk, {facts}")
    detail = f"what was saved is not what was trained: loaded from disk, {facts}; delete the artifact and tune again"
    return Check(name=_SAVED, status="invalid", detail=detail)


def unlearned(started: Sequence[torch.Tensor], trained: Sequence[torch.Tensor]) -> tuple[Check, ...]:
    """Return the check that fails where training moved no output, and nothing where it did.

    started, trained: outputs of the network in memory, before and after. An adapter that does not start from the base,
    such as a prefix, changes the model also where nothing was learned.
    """
    if not started or any(not torch.equal(one, other) for one, other in zip(started, trained, strict=True)):
        return ()
    detail = (
        f"on {len(started)} training rows the trained model's outputs are those it started with, to the last bit: "
        "nothing was learned (a learning rate of 0?)"
    )
    return (Check(name="training changes the model", status="invalid", detail=detail),)


def change_check(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> Check:
    """Return the check of the largest difference between the logits of base and tuned system."""
    largest = torch.stack([(tuned - base).abs().max() for base, tuned in zip(before, after, strict=True)]).max().item()
    if largest == 0:
        detail = (
            "the adapter changes no logit: training had no effect (a learning rate of 0?) or the saved weights are "
            "not loaded; what was measured is the base model"
        )
        return Check(name=_NAME, status="invalid", detail=detail)
    if not largest < float("inf"):  # also where it is no number
        return Check(name=_NAME, status="invalid", detail=f"the tuned model's logits are not finite ({largest})")
    detail = f"loaded from disk it moves a logit by up to {largest:.3g} on {len(before)} training rows"
    return Check(name=_NAME, status="ok", detail=detail)


def _own_base(ground: StartingPoint, folder: Path, adapter: Adapter, precision: Precision) -> Any | None:
    """Return the base that the adapter in `folder` was trained on, if that is none which a folder holds."""
    if ground.adapter is not None or not is_adapter(folder):
        return None
    return support_of(adapter).trained_base(
        lambda: add_adapter(load_model(ground.model, dtype=precision.weights), adapter)
    )


def _format(ground: StartingPoint, precision: Precision) -> torch.dtype:
    """Return float32, or the format of the frozen base where the memory does not hold all weights in float32."""
    if precision.weights is torch.float32:
        return torch.float32
    free = this_machine(Path.cwd(), device=precision.device.type).free
    return torch.float32 if 4 * read_shape(ground.model).parameters < free else precision.weights


@torch.inference_mode()
def _logits(model: Any, row: TokenizedRow) -> torch.Tensor:
    """Return the logits before each token of the answer, shape (answer tokens, vocabulary)."""
    ids = torch.tensor([[*row.prompt, *row.answer]], device=model.device)
    logits: torch.Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=len(row.answer) + 1).logits
    return logits[0, :-1].float().cpu()


def _base_check(
    rows: Sequence[TokenizedRow], *, trained_on: Sequence[torch.Tensor], served: Sequence[torch.Tensor]
) -> Check:
    four_bits, floats = _loss(rows, trained_on), _loss(rows, served)
    return Check(
        name="served base",
        status="warning",
        detail=f"trained on the NF4 base (loss {four_bits:.3f} a token on {len(rows)} training rows), served on the "
        f"base that is not quantised (loss {floats:.3f})",
    )


def _loss(rows: Sequence[TokenizedRow], logits: Sequence[torch.Tensor]) -> float:
    answers = torch.tensor([token for row in rows for token in row.answer])
    return float(cross_entropy(torch.cat(list(logits)), answers))
