"""The network that is trained: a base with the weights of an adapter switched on.

What a run starts from: the declared model, or what an earlier step made of it.
"""

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from transformers.pytorch_utils import Conv1D

from harness.errors import StageFailed
from harness.fingerprint import fingerprint
from harness.inference.custom_adapters import storage as own
from harness.inference.models.adapters import attach, is_adapted, is_adapter, merge, save_adapter
from harness.inference.models.hardware import unwarned
from harness.inference.models.loading import keep_gradients, load_model, load_tokenizer
from harness.recipes.adapters import Adapter, support_of
from harness.training.adapter_setup import NOTHING, Supplies, moved_its_base, save_plain
from harness.training.adapter_support import (
    NO_RANK_LEFT,
    align,
    allocates_ranks,
    freeze_divisors,
    has_virtual_tokens,
    keep_ranks,
)
from harness.training.config import Precision
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.protocols import Progress

_FACTS = "harness.json"


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """model: the base of this run. adapter: folder of an earlier step's adapter that goes on being trained.

    moved: the base holds what earlier steps learned, so that only a whole model can be served.
    """

    model: Model
    adapter: Path | None = None
    moved: bool = False


def ground(job: TuneJob, model: Model, adapter: Adapter, *, progress: Progress, anew: bool = False) -> StartingPoint:
    """Return what `job` starts from.

    The same adapter as the earlier step's goes on being trained. Any other is put on a base into which the earlier
    step's update was merged; that base lies in `job.folder` while the run lasts.
    anew: a new adapter in any case, for what is no policy any more.

    Raises StageFailed where an earlier step's adapter, or this one, cannot be merged.
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
    """Return what the harness wrote about the tuned system in `folder`; nothing where it wrote none."""
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

    Raises StageFailed where the adapter is of no known kind, or does not fit the model.
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

    Raises StageFailed where the adapter is of no known kind, or does not fit the model.
    """
    support, real = support_of(adapter), next(base.parameters()).device.type != "meta"
    config = support.peft_config(prepared=real)
    network = own.add_custom_modules(base, adapter) if config is None else _carried(base, adapter, config)
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


def save_trained(
    model: Any, tokenizer: Any, folder: Path, *, about: dict[str, str | int | None], ground: StartingPoint, base: str
) -> None:
    """Write the tuned system to `folder`, whole or not at all: an adapter, or a full model with its tokenizer.

    about: what harness.json says of it. base: the name that an adapter gives its base model. An adapter on a base
    that earlier steps moved is merged into it, in float32.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if is_adapted(model):
        _save_adapter(model, unfinished, base=base)
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
