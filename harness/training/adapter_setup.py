"""What an adapter needs before and while it is trained, whatever the method: supplies, callbacks, checks.

Low-rank updates: where one starts from, beyond random numbers; one product in place of PEFT's casts and additions.

What training on a 4-bit base needs: the right format, and layers whose gradient goes on flowing.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import AdaLoraModel, EvaConfig, IA3Config, LoraConfig, get_peft_model_state_dict, initialize_lora_eva_weights
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.errors import StageFailed
from harness.inference.models.adapters import is_adapted, is_prompt_learning, merge
from harness.inference.models.loading import dtype_name, side_by_side
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.recipes import Trained
from harness.recipes.adapters import IA3, AdapterSupport, LowRank, support_of
from harness.types.jobs import TuneJob
from harness.types.samples import Check

# Rows that EVA looks at; more move its directions little.
_EVA_ROWS, _EVA_BATCH, _EVA_TOKENS = 256, 16, 1024
_LOFTQ_ROUNDS = 5  # Li et al. 2023, section 4
_START = "harness_start"


@dataclass(frozen=True, slots=True)
class Supplies:
    """What a start may need. sequences: returns token ids of training rows. Without them it falls back to random."""

    tokenizer: Any = None
    sequences: Callable[[], Sequence[Sequence[int]]] = tuple


NOTHING = Supplies()


def supplies_of(job: TuneJob, tokenizer: Any) -> Supplies:
    """Return what `job` holds: its examples, or the preferred answers of its pairs and votes."""

    def sequences() -> list[list[int]]:
        read = [(example.prompt, example.answer) for example in job.train]
        read += [(pair.prompt, pair.chosen) for pair in job.pairs]
        read += [(vote.prompt, vote.answer) for vote in job.votes if vote.good]
        rows = [
            [*prompt_ids(tokenizer, prompt), *answer_ids(tokenizer, answer, end=True)]
            for prompt, answer in read[:_EVA_ROWS]
        ]
        return [row[:_EVA_TOKENS] for row in rows]

    return Supplies(tokenizer, sequences)


def moved_its_base(network: Any) -> bool:
    """Tell whether the start was taken out of the base's weights, so that the adapter fits no other base."""
    return hasattr(network, _START)


@torch.no_grad()
def quantise_and_mend(layer: Any, name: str) -> None:
    """Let `layer` hold its weights as NF4 keeps them, and start its update at what that lost (Li et al. 2023).

    Quantised weights Q and update s B A take turns: Q of W - s B A, then the leading directions of W - Q.
    """
    weight = layer.get_base_layer().weight
    whole, scale, rank = weight.data.float(), float(layer.scaling[name]), int(layer.r[name])
    update = torch.zeros_like(whole)
    for _ in range(_LOFTQ_ROUNDS):
        kept = dequantize_4bit(*quantize_4bit((whole - update).contiguous(), quant_type="nf4"))
        left, sizes, right = torch.linalg.svd(whole - kept, full_matrices=False)
        root = (sizes[:rank] / scale).sqrt()
        low, high = root[:, None] * right[:rank], left[:, :rank] * root
        update = scale * high @ low
    layer.lora_A[name].weight.data = low.contiguous()
    layer.lora_B[name].weight.data = high.contiguous()
    weight.data = kept.to(weight.dtype)


def save_plain(network: Any, folder: Path, *, base: str) -> None:
    """Write the adapter as one for the model as declared: [A; A0] and [B, -B0], twice as wide as it was trained.

    W - s B0 A0 + s B A is what was trained, so s (B A - B0 A0) is the update of W.
    """
    began = getattr(network, _START)
    state = {}
    for name, trained in get_peft_model_state_dict(network).items():
        first = began[name].to(trained.device)
        joined = torch.cat([trained, first], dim=0) if "lora_A" in name else torch.cat([trained, -first], dim=1)
        state[name] = joined.contiguous().cpu()
    config = deepcopy(network.peft_config[network.active_adapter])
    # The scale stays: alpha / rank, or alpha / sqrt(rank).
    config.lora_alpha *= math.sqrt(2) if config.use_rslora else 2
    config.r *= 2
    config.init_lora_weights, config.inference_mode, config.base_model_name_or_path = True, True, base
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)


def _lora_layers(network: Any) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, LoraLayer)]


def _from_data(network: Any, supplies: Supplies) -> None:
    rows = list(supplies.sequences())
    if not rows:
        raise StageFailed(
            'LoRA(init="eva") starts from training rows, and there are none; give some, or init="default"'
        )
    pad = supplies.tokenizer.pad_token_id or 0
    batches = [_batch(rows[at : at + _EVA_BATCH], pad, network.device) for at in range(0, len(rows), _EVA_BATCH)]
    initialize_lora_eva_weights(network, batches, show_progress_bar=False)


def _batch(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    ids, mask = side_by_side(rows, pad, left=False)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


TASK = "CAUSAL_LM"
# What PEFT does to the weights at the start; LoftQ is done here, PEFT's own needs a GPU.
_INIT: dict[str, bool | str] = {"default": True, "pissa": "pissa", "olora": "olora", "loftq": True, "eva": "eva"}


def peft_targets(given: str | tuple[str, ...]) -> str | list[str]:
    return given if isinstance(given, str) else list(given)


class LoRASupport(AdapterSupport[LowRank]):
    """Low-rank updates, and the starts that take something out of the base's weights or the data."""

    def peft_config(self, *, prepared: bool = True) -> LoraConfig:
        """See `AdapterSupport.peft_config`."""
        adapter = self.adapter
        init = _INIT[adapter.init] if prepared else True
        return LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.scale,
            lora_dropout=adapter.dropout,
            target_modules=peft_targets(adapter.targets),
            use_rslora=adapter.rslora,
            use_dora=adapter.dora,
            init_lora_weights=init,
            # All tokens are looked at: answers alone are often fewer than an update is wide.
            eva_config=EvaConfig(use_label_mask=False) if init == "eva" else None,
            task_type=TASK,
        )

    def start(self, network: Any, supplies: Supplies) -> None:
        """See `AdapterSupport.start`; raises StageFailed if EVA finds no training row."""
        init = self.adapter.init
        if init == "eva":
            _from_data(network, supplies)
        if init == "loftq":
            for layer in _lora_layers(network):
                quantise_and_mend(layer, network.active_adapter)
        if init in ("pissa", "olora", "loftq"):
            state = get_peft_model_state_dict(network)
            object.__setattr__(network, _START, {name: tensor.detach().clone() for name, tensor in state.items()})

    def trained_base(self, put_on: Callable[[], Any]) -> Any | None:
        """Return the base that LoftQ trained on, in float32: its weights as NF4 keeps them, with the update's start."""
        return merge(put_on().float()) if self.adapter.init == "loftq" else None


class IA3Support(AdapterSupport[IA3]):
    """Activations scaled by learned vectors."""

    def peft_config(self, *, prepared: bool = True) -> IA3Config:
        """See `AdapterSupport.peft_config`."""
        targets, feedforward = self.adapter.targets, self.adapter.feedforward
        return IA3Config(
            task_type=TASK,
            target_modules=None if targets is None else list(targets),
            feedforward_modules=None if targets is None else list(feedforward or ()),
        )


def allocates_ranks(network: Any) -> bool:
    """Tell whether `network` carries AdaLoRA."""
    return isinstance(getattr(network, "base_model", None), AdaLoraModel)


def has_virtual_tokens(network: Any) -> bool:
    """Tell whether PEFT puts virtual tokens before what `network` reads."""
    return is_adapted(network) and is_prompt_learning(network)


def four_bit_layers(network: Any) -> list[Any]:
    """Return the layers of `network` that hold their weights in 4 bits."""
    return [module for module in network.modules() if isinstance(module, Linear4bit)]


def format_check(network: Any) -> Check | None:
    """Return the check of the 4-bit format; None if nothing is quantised.

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


# Modules inside attention, in the names of the usual architectures.
_ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj", "query_key_value", "c_attn"})
_SHOWN = 12


def accompany(trainer: Any, recipe: Trained, folder: Path) -> tuple[tuple[Check, ...], Callable[[], tuple[Check, ...]]]:
    """Give `trainer` what the adapter of `recipe` needs while training.

    Args:
        trainer: A trainer of transformers.
        recipe: What it trains.
        folder: Where the result will lie.

    Returns:
        The checks that are known before training, and what makes those that only its end allows.

    Raises:
        StageFailed: If the trainer's settings would train another model than the one that is served.
    """
    network = trainer.model
    _refuse_faults(trainer, recipe)
    if four_bit_layers(network):
        trainer.add_callback(Flow())
    checks = [check for check in (format_check(network), modules_check(network)) if check is not None]
    return tuple(checks), support_of(recipe.adapter).accompany(trainer, folder)


def modules_check(network: Any) -> Check | None:
    """Return the check that names the adapted modules; None if no module is adapted.

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


def fuse_lora(model: Any) -> int:
    """Let every plain LoRA layer of `model` compute the fused way, and return how many there are.

    Left as PEFT has them: layers with dropout, with a variant such as DoRA, with more adapters than one, and those on
    a quantised base. Only the computation changes, so the model saves, loads and merges as before.
    """
    layers = [module for module in model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)
    return len(layers)


def _is_plain(module: Any) -> bool:
    if type(module) is not LoraLinear or type(module.base_layer) is not torch.nn.Linear:
        return False
    names = list(module.active_adapters)
    return (
        len(names) == 1
        and names[0] in module.lora_A
        and not module.lora_variant
        and not module.fan_in_fan_out
        and isinstance(module.lora_dropout[names[0]], torch.nn.Identity)
        and module.lora_A[names[0]].bias is None
        and module.lora_B[names[0]].bias is None
    )


def _forward(layer: Any, original: Callable[..., torch.Tensor], states: torch.Tensor, **rest: Any) -> torch.Tensor:
    if layer.disable_adapters or layer.merged or rest:
        return original(states, **rest)
    base, name = layer.base_layer, layer.active_adapters[0]
    output: torch.Tensor = _Fused.apply(  # type: ignore[no-untyped-call]
        states, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )
    return output


class _Fused(torch.autograd.Function):
    """y = x W' + b + scale (x A') B'. The frozen weights W and b get no gradient.

    Products are in W's dtype: float32 accumulation of bfloat16 factors is what autocast does too.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,  # (..., in)
        weight: torch.Tensor,  # (out, in)
        bias: torch.Tensor | None,  # (out)
        down: torch.Tensor,  # (rank, in), float32
        up: torch.Tensor,  # (out, rank), float32
        scale: float,
    ) -> torch.Tensor:
        flat = states.reshape(-1, states.shape[-1]).to(weight.dtype)
        low, high = down.to(weight.dtype), up.to(weight.dtype)
        inner = flat @ low.t()  # (tokens, rank)
        output = flat @ weight.t() if bias is None else torch.addmm(bias, flat, weight.t())
        output.addmm_(inner, high.t(), alpha=scale)
        ctx.save_for_backward(flat, weight, low, high, inner)
        ctx.scale, ctx.dtype = scale, states.dtype
        return output.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, weight, low, high, inner = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0])  # (tokens, out)
        through = gradient @ high  # (tokens, rank)
        grad_down = (through.t() @ flat).float().mul_(ctx.scale)
        grad_up = (gradient.t() @ inner).float().mul_(ctx.scale)
        grad_states = None
        if ctx.needs_input_grad[0]:
            grad_states = (gradient @ weight).addmm_(through, low, alpha=ctx.scale).to(ctx.dtype)
            grad_states = grad_states.view(*gradients[0].shape[:-1], -1)
        return grad_states, None, None, grad_down, grad_up, None
