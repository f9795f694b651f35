"""AdaLoRA at work: ranks are handed out step by step, and the singular vectors are kept orthogonal.

Neither transformers nor TRL asks PEFT to hand out ranks, and PEFT adds its penalty to a loss that TRL does not use.

A network with virtual tokens whose logits lie where the text's tokens do, wherever its rows are padded.

PEFT puts virtual tokens before the padding of a left-padded row, which moves them away from the text and changes the
loss silently; and it leaves the virtual tokens' own logits in, which no trainer of TRL expects.

What training on a 4-bit base needs: the right format, and layers whose gradient goes on flowing.

Checkpoints of adapters of which PEFT saves less than training needs to go on.

Of a prompt encoder PEFT saves the virtual tokens that it makes, not the encoder; loading them into one gives another
prompt. Of AdaLoRA it saves the ranks that are left, and loading them changes the shapes that the optimiser knows.

What goes with a trainer because of the adapter it trains, whatever the method: callbacks, checkpoints, checks.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import AdaLoraModel
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.errors import StageFailed
from harness.inference.models.adapters import is_adapted, is_prompt_learning
from harness.inference.models.hardware import dtype_name, unwarned
from harness.recipes import AdaLoRA, Trained
from harness.recipes.adapters import support_of
from harness.types.samples import Check

# PEFT takes the empty tensors of a module that lost all its ranks for a fault.
NO_RANK_LEFT = r"Adapter '.*': \d+ LoRA tensor\(s\) have invalid shape"


def allocates_ranks(network: Any) -> bool:
    """Tell whether `network` carries AdaLoRA."""
    return isinstance(getattr(network, "base_model", None), AdaLoraModel)


def freeze_divisors(network: Any) -> None:
    """Leave the number by which each update is divided untrained; PEFT thaws it where it moves it to a device."""
    for name, weights in network.named_parameters():
        if ".ranknum." in name:
            weights.requires_grad_(False)


def keep_ranks(network: Any) -> None:
    """Let PEFT save the ranks that `network` computes with; its own record is as old as the last pruning."""
    config = network.peft_config[network.active_adapter]
    config.rank_pattern = {
        name.removeprefix("base_model.model."): _kept(values, config.init_r)
        for name, values in network.named_parameters()
        if f".lora_E.{network.active_adapter}" in name
    }


def _kept(values: torch.Tensor, initial: int) -> list[bool]:
    """Return which of the `initial` ranks are left; a module that an earlier step pruned holds no others any more."""
    if len(values) < initial:
        return [place < len(values) for place in range(initial)]
    return [bool(value) for value in (values != 0).view(-1)]


def orthogonality(network: Any) -> torch.Tensor:
    """Return the mean over the singular matrices P of ||P P' - I||, the penalty of Zhang et al. 2023, equation 4."""
    apart = []
    for name, weight in network.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            square = weight @ weight.T if ".lora_A." in name else weight.T @ weight
            apart.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=square.device)))
    return torch.stack(apart).mean()


class Allocation(TrainerCallback):  # type: ignore[misc]
    """Hands out ranks after each update, and adds the gradient of the penalty before it.

    The penalty is kept out of the losses, which stay comparable with those of other adapters; its gradient is added
    after clipping, and is small: that of a norm is no larger than the matrix.
    """

    def __init__(self, adapter: AdaLoRA) -> None:
        self._adapter = adapter
        self._prunes = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        config, allocator = model.peft_config[model.active_adapter], model.base_model.rankallocator
        config.total_step = state.max_steps
        config.tinit, config.tfinal = (
            int(fraction * state.max_steps) for fraction in (self._adapter.warm, self._adapter.settled)
        )
        # An adapter that an earlier step pruned has its budget already.
        allocator._set_budget_scheduler(model.base_model.model)
        self._prunes = allocator.init_bgt > allocator.target_bgt

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        if self._adapter.orthogonality > 0:
            (self._adapter.orthogonality * orthogonality(model)).backward()  # type: ignore[no-untyped-call]

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        if self._prunes:
            model.base_model.update_and_allocate(state.global_step + 1)


def ranks_checks(folder: Path, adapter: AdaLoRA) -> tuple[Check, ...]:
    """Return the check that the adapter saved in `folder` keeps to its budget of ranks; none where it was merged."""
    if not (folder / "adapter_config.json").is_file():
        return ()
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    found = [sum(kept) for kept in config["rank_pattern"].values()]
    kept, budget, began = sum(found), adapter.rank * len(found), adapter.initial_rank * len(found)
    facts = f"{kept} of {began} ranks are left on {len(found)} modules, {min(found)} to {max(found)} each"
    if kept <= budget:
        return (Check(name="ranks handed out", status="ok", detail=f"{facts}; the budget is {budget}"),)
    detail = (
        f"{facts}, more than the budget of {budget}: the weights that were kept are from before the last pruning; "
        "train longer, or give patience=None"
    )
    return (Check(name="ranks handed out", status="warning", detail=detail),)


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


def four_bit_layers(network: Any) -> list[Any]:
    """Return the layers of `network` that hold their weights in 4 bits."""
    return [module for module in network.modules() if isinstance(module, Linear4bit)]


def format_check(network: Any) -> Check | None:
    """Return the check of the 4-bit format; None where nothing is quantised.

    bitsandbytes' own defaults are FP4 without double quantisation, with products in float32 whatever the model.
    """
    layers = four_bit_layers(network)
    if not layers:
        return None
    kinds = sorted({str(layer.weight.quant_type) for layer in layers})
    double = all(layer.weight.quant_state.nested for layer in layers)
    products = sorted({dtype_name(layer.compute_dtype) for layer in layers})
    facts = (
        f"{len(layers)} linear layers in {', '.join(kinds).upper()} {'with' if double else 'without'} double "
        f"quantisation, products in {', '.join(products)}"
    )
    if kinds == ["nf4"] and double and layers[0].compute_dtype != torch.float16:
        return Check(name="quantised base", status="ok", detail=facts)
    detail = f"{facts}; QLoRA is NF4 with double quantisation and products in bfloat16 or float32: load the base so"
    return Check(name="quantised base", status="invalid", detail=detail)


class Flow(TrainerCallback):  # type: ignore[misc]
    """Ends a run on a 4-bit base whose layers have lost their gradient.

    On CPUs with avx512_bf16 a forward pass in evaluation mode repacks 4-bit weights for a kernel that has no gradient.
    What lies before such a layer is then reached through the adapters beside it alone: it learns, from a wrong
    gradient, and neither the loss nor the gradient's norm shows it.
    """

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        layers = four_bit_layers(model)
        repacked = sum(bool(getattr(layer.weight.quant_state, "packing_format_for_cpu", False)) for layer in layers)
        if repacked:
            raise StageFailed(
                f"step {state.global_step + 1} of {state.max_steps}: {repacked} of {len(layers)} 4-bit layers were "
                "repacked by an evaluation for a kernel without gradient, so that the adapters before them learn from "
                "a wrong one; train with LoRA instead, or on a GPU"
            )


_FILE = "trained.safetensors"
_SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # what the rank allocator has seen of each weight


def keep_whole(trainer: Any) -> None:
    """Let the checkpoints of `trainer` hold all trained weights, where PEFT's own file does not."""
    network = trainer.model
    if not (has_virtual_tokens(network) or allocates_ranks(network)):
        return
    trainer.add_callback(_Keeper())
    trainer._save_checkpoint = partial(_save, trainer._save_checkpoint)
    trainer._load_from_checkpoint = partial(_load, trainer)


class _Keeper(TrainerCallback):  # type: ignore[misc]
    """Writes the trained weights, and the allocator's scores, beside PEFT's file."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        tensors = {f"weight/{name}": value.detach().contiguous() for name, value in _trained(model)}
        metadata = {}
        if allocates_ranks(model):
            allocator = model.base_model.rankallocator
            for score in _SCORES:
                tensors |= {f"{score}/{name}": value for name, value in getattr(allocator, score).items()}
            metadata["ranks"] = json.dumps(model.peft_config[model.active_adapter].rank_pattern)
        save_file(tensors, Path(args.output_dir) / f"checkpoint-{state.global_step}" / _FILE, metadata=metadata)


def _save(original: Callable[..., None], *given: Any, **named: Any) -> None:
    with unwarned(NO_RANK_LEFT):
        original(*given, **named)


def _trained(network: Any) -> list[tuple[str, torch.Tensor]]:
    return [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]


def _load(trainer: Any, checkpoint: str, model: Any = None) -> None:
    network = trainer.model if model is None else model
    weights = dict(_trained(network))
    with safe_open(Path(checkpoint) / _FILE, framework="pt") as stored, torch.no_grad():
        if allocates_ranks(network):
            allocator = network.base_model.rankallocator
            allocator.reset_ipt()
            network.peft_config[network.active_adapter].rank_pattern = json.loads(stored.metadata()["ranks"])
        for key in stored.keys():  # noqa: SIM118 - a file, no mapping
            part, _, name = key.partition("/")
            if part == "weight":
                weights[name].copy_(stored.get_tensor(key))
            else:
                getattr(allocator, part)[name] = stored.get_tensor(key).to(network.device)


# Modules inside attention, in the names of the usual architectures.
_ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj", "query_key_value", "c_attn"})
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class SupportChecks:
    """checks: what is known before training. later: returns those that only its end can make."""

    checks: tuple[Check, ...]
    later: Callable[[], tuple[Check, ...]]


def accompany(trainer: Any, recipe: Trained, folder: Path) -> SupportChecks:
    """Give `trainer` what the adapter of `recipe` needs while training. folder: where the result will lie.

    Raises StageFailed where the trainer's settings would train another model than the one that is served.
    """
    network = trainer.model
    _refuse_faults(trainer, recipe)
    keep_whole(trainer)
    if four_bit_layers(network):
        trainer.add_callback(Flow())
    checks = [check for check in (format_check(network), modules_check(network)) if check is not None]
    return SupportChecks(tuple(checks), support_of(recipe.adapter).accompany(trainer, folder))


def modules_check(network: Any) -> Check | None:
    """Return the check that names the adapted modules; None where no module is adapted.

    PEFT's own default for LoRA is the queries and values of attention.
    """
    adapted = [
        name.rpartition(".")[2] for name, module in network.named_modules() if isinstance(module, BaseTunerLayer)
    ]
    if not adapted:
        return None
    kinds = sorted(set(adapted))
    named = ", ".join(kinds[:_SHOWN]) + (f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else "")
    facts = f"{len(adapted)} modules are adapted: {named}"
    if any(isinstance(module, LoraLayer) for module in network.modules()) and set(kinds) <= _ATTENTION:
        detail = f'{facts}; attention alone learns less than all layers do at the same size: targets="all-linear"'
        return Check(name="adapted modules", status="warning", detail=detail)
    return Check(name="adapted modules", status="ok", detail=facts)


def _refuse_faults(trainer: Any, recipe: Trained) -> None:
    if not has_virtual_tokens(trainer.model):
        return
    name = recipe.adapter.name
    # The first is the trainer's wish, which it carries out when training begins; the second what the model does now.
    if trainer.args.activation_checkpointing or trainer.model.base_model.is_activation_checkpointing:
        raise StageFailed(
            f"{name}: with gradient checkpointing the virtual tokens' keys and values are dropped, and nothing is "
            "learned; set gradient_checkpointing=False"
        )
    if hasattr(trainer, "num_generations"):
        raise StageFailed(
            f"{name}: {type(recipe).__name__} draws its answers in left-padded batches, in which virtual tokens stand "
            "away from the text, so it would learn from the answers of another model; use LoRA"
        )
