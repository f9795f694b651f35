"""The network that is trained: a base with the weights of an adapter switched on.

What a run starts from: the declared model, or what an earlier step made of it.

After training: does the saved system, loaded from disk, answer otherwise than the base?
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers.pytorch_utils import Conv1D

from harness.errors import StageFailed
from harness.fingerprint import fingerprint
from harness.inference.models.adapters import (
    add_custom_modules,
    attach,
    collect,
    detach,
    is_adapted,
    is_adapter,
    merge,
    save_adapter,
)
from harness.inference.models.loading import keep_gradients, load_model, load_tokenizer, model_of, unwarned
from harness.recipes.adapters import Adapter, support_of
from harness.resources.machine import this_machine
from harness.resources.model_shape import read_shape
from harness.training.adapter_setup import (
    NOTHING,
    Supplies,
    allocates_ranks,
    has_virtual_tokens,
    moved_its_base,
    save_plain,
)
from harness.training.adapter_support import NO_RANK_LEFT, align, freeze_divisors, keep_ranks
from harness.training.config import Precision, StartingPoint, TrainingContext
from harness.training.rows import TokenizedRow
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.protocols import Progress
from harness.types.samples import Check

_FACTS = "harness.json"


def ground(job: TuneJob, model: Model, adapter: Adapter, *, progress: Progress, anew: bool = False) -> StartingPoint:
    """Return what `job` starts from.

    The same adapter as the earlier step's goes on being trained. Any other is put on a base into which the earlier
    step's update was merged; that base lies in `job.folder` while the run lasts.
    anew: a new adapter in any case, for what is no policy any more.

    Raises:
        StageFailed: If an earlier step's adapter, or this one, cannot be merged.
    """
    if job.start is None:
        return StartingPoint(model)
    if not is_adapter(job.start):
        base = StartingPoint(_at(model, job.start), moved=True)
    elif not anew and facts(job.start).get("adapter_key") == adapter_key(adapter):
        return StartingPoint(model, adapter=job.start)
    else:
        base = StartingPoint(_at(model, _merged(job, model, progress)), moved=True)
    if not adapter.merges:
        raise StageFailed(
            f"{adapter.name} after {facts(job.start).get('adapter', 'an earlier step')}: what two steps learned is "
            f"served as one model, and {adapter.name} cannot be merged; train both steps with the same adapter"
        )
    return base


def adapter_key(adapter: Adapter) -> str:
    """Return what tells one adapter's declaration from another's."""
    return fingerprint(adapter)


def facts(folder: Path) -> dict[str, str | int | None]:
    """Return what the harness wrote about the tuned system in `folder`; nothing if it wrote none."""
    try:
        read: dict[str, str | int | None] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read


def write_facts(folder: Path, found: dict[str, str | int | None]) -> None:
    """Write harness.json."""
    (folder / _FACTS).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _at(model: Model, folder: Path) -> Model:
    return replace(model, source=str(folder), revision=None)


def _merged(job: TuneJob, model: Model, progress: Progress) -> Path:
    """Return the folder of the model with the earlier step's update in its weights, in float32."""
    assert job.start is not None
    folder = job.folder / "base"
    if folder.is_dir():
        return folder
    progress.say(f"merging the earlier step's {facts(job.start).get('adapter', 'adapter')} into the model")
    unfinished = folder.with_name("base.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    whole = merge(attach(load_model(model, dtype=torch.float32), job.start))
    whole.save_pretrained(unfinished)
    load_tokenizer(model).save_pretrained(unfinished)
    unfinished.rename(folder)
    return folder


# Up to this many tokens a row, plain attention is the faster one to train on a CPU.
_SHORT = 512


def trainable(
    ground: StartingPoint, adapter: Adapter, precision: Precision, *, supplies: Supplies = NOTHING, progress: Progress
) -> Any:
    """Return the ground's model ready to be trained: what `adapter` trains is float32 and wants gradients.

    The rest is frozen. supplies: what an adapter may start from.

    Raises:
        StageFailed: If the adapter is of no known kind, or does not fit the model.
    """
    base = load_model(ground.model, dtype=precision.weights, quantize=adapter.quantization, progress=progress)
    if adapter.whole:
        return base.requires_grad_(True)
    keep_gradients(base)
    if ground.adapter is not None:
        network = _continued(base, adapter, ground.adapter)
    else:
        network = add_adapter(base, adapter, supplies)
    if has_virtual_tokens(network):
        align(network)
    return network


def add_adapter(base: Any, adapter: Adapter, supplies: Supplies = NOTHING) -> Any:
    """Return `base` with new weights of `adapter` on it.

    A base on the meta device, which has shapes and no numbers, serves to count parameters.

    Raises:
        StageFailed: If the adapter is of no known kind, or does not fit the model.
    """
    support, real = support_of(adapter), next(base.parameters()).device.type != "meta"
    config = support.peft_config(prepared=real)
    network = add_custom_modules(base, adapter) if config is None else _carried(base, adapter, config)
    if allocates_ranks(network):
        freeze_divisors(network)
    if real:
        support.start(network, supplies)
    return network


def linear_names(network: Any) -> list[str]:
    """Return the last parts of the names of the linear modules, the output head's apart."""
    head = network.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in network.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
        }
    )


def train_in_float32(model: Any) -> None:
    """Undo TRL's cast of an adapter on a 4-bit base to bfloat16, where small updates are rounded away."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def attend_fast(model: Any, precision: Precision, *, longest: int) -> None:
    """Choose the attention that trains fastest on rows of at most `longest` tokens.

    On a CPU the backward pass of torch's flash kernel takes 6 times as long as that of plain products at 50 to 128
    tokens and twice as long at 512 (docs/log.md); plain products need longest x longest numbers a head.
    """
    if precision.device.type == "cpu" and longest <= _SHORT:
        model.set_attn_implementation("eager")


def save_trained(model: Any, begun: TrainingContext, *, about: dict[str, str | int | None]) -> None:
    """Write the tuned system to `begun.result`, whole or not at all: an adapter, or a full model with its tokenizer.

    Args:
        about: What harness.json says of it. An adapter on a base that earlier steps moved is merged into it, in
            float32.
    """
    folder, ground, tokenizer = begun.result, begun.ground, begun.tokenizer
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if is_adapted(model):
        _save_adapter(model, unfinished, base=begun.source)
        if ground.moved:
            whole = merge(attach(load_model(ground.model, dtype=torch.float32), unfinished))
            shutil.rmtree(unfinished)
            _save_whole(whole, tokenizer, unfinished)
    else:
        _save_whole(model, tokenizer, unfinished)
    write_facts(unfinished, about)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def _save_whole(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _save_adapter(model: Any, folder: Path, *, base: str) -> None:
    if moved_its_base(model):
        save_plain(model, folder, base=base)
        return
    if allocates_ranks(model):
        keep_ranks(model)
    with unwarned(NO_RANK_LEFT):
        save_adapter(model, folder, base=base)


def _continued(base: Any, adapter: Adapter, folder: Path) -> Any:
    """Return `base` with the adapter that an earlier step left in `folder`, which goes on being trained."""
    network = support_of(adapter).go_on(folder, lambda: add_adapter(base, adapter))
    return attach(base, folder, trainable=True).train() if network is None else network


def _carried(base: Any, adapter: Adapter, config: PeftConfig) -> Any:
    head = base.get_output_embeddings()
    try:
        # EVA's own directions take the place of weights that need not be there before.
        late = getattr(config, "init_lora_weights", None) == "eva"
        network = get_peft_model(base, config, low_cpu_mem_usage=late)
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError, RuntimeError, ImportError) as error:
        raise StageFailed(
            f"{adapter.name} cannot be put on the model: {str(error).splitlines()[0]}; "
            f"its linear modules are {', '.join(linear_names(base))}"
        ) from error
    if network.get_base_model().get_output_embeddings() is not head:
        raise StageFailed(
            f"{adapter.name} adapts the output head, or embeddings that are tied to it, which is not trained here; "
            "leave it out of the config's modules"
        )
    if not (has_virtual_tokens(network) or hasattr(type(network.base_model), "unload")):
        raise StageFailed(
            f"{adapter.name} cannot be taken off the model again, so the base and the tuned system could not be "
            "served from one set of weights; use another method"
        )
    return network


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
    begun: TrainingContext, rows: Sequence[TokenizedRow], *, trained: Sequence[torch.Tensor]
) -> tuple[Check, ...]:
    """Return the checks on the saved system: it changes logits, it is the one that was trained, its base is served.

    Args:
        trained: What `in_memory` gave. What training started from and what it saved are computed in float32 from
            the files on disk, so that a difference is the training's and no rounding; a model that the memory does
            not hold in float32 in the format that it is served in.
    """
    ground, folder, precision = begun.ground, begun.result, begun.precision
    adapter: Adapter = begun.recipe.adapter
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

    Args:
        exact: Both were computed in float32. Else only what moves logits by more than the rounding of half
            precision can be told from it.
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
    """Return the check that fails where training moved no output, and nothing if it did.

    Args:
        started, trained: Outputs of the network in memory, before and after. An adapter that does not start from
            the base, such as a prefix, changes the model also if nothing was learned.
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
