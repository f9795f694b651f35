"""Where an adapter starts from, beyond random numbers: a text, the base's own weights, or what the data excite.

Each adapter that PEFT carries, in PEFT's own words.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from peft import (
    AdaLoraConfig,
    EvaConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftType,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model_state_dict,
    initialize_lora_eva_weights,
)
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

from harness.errors import StageFailed
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.recipes import (
    IA3,
    PEFT,
    AdaLoRA,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
    VirtualTokens,
)
from harness.recipes.adapters import Adapter
from harness.types.jobs import TuneJob

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


def start(network: Any, adapter: Adapter, supplies: Supplies) -> None:
    """Give the new adapter on `network` the start that `adapter` asks for.

    Raises StageFailed where EVA finds no training row.
    """
    if isinstance(adapter, PromptTuning) and adapter.text is not None and supplies.tokenizer is not None:
        _from_text(network, adapter.text, supplies.tokenizer)
    if not isinstance(adapter, LoRA) or adapter.init == "default":
        return
    if adapter.init == "eva":
        _from_data(network, supplies)
    if adapter.init == "loftq":
        for layer in _lora_layers(network):
            quantise_and_mend(layer, network.active_adapter)
    if adapter.init in ("pissa", "olora", "loftq"):
        state = get_peft_model_state_dict(network)
        object.__setattr__(network, _START, {name: tensor.detach().clone() for name, tensor in state.items()})


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


def _from_text(network: Any, text: str, tokenizer: Any) -> None:
    encoder = network.prompt_encoder[network.active_adapter]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    count = encoder.embedding.weight.shape[0]
    repeated = (ids * (count // len(ids) + 1))[:count]
    words = network.word_embeddings
    with torch.no_grad():
        chosen = words(torch.tensor(repeated, device=words.weight.device))  # (tokens, hidden)
        encoder.embedding.weight.copy_(chosen.float())


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
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *([pad] * (width - len(row)))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return {"input_ids": ids, "attention_mask": mask}


_TASK = "CAUSAL_LM"
# The allocator's schedule is set when training begins and the number of steps is known.
_STEPS_UNKNOWN = 1 << 20
# What PEFT does to the weights at the start; LoftQ is done here, PEFT's own needs a GPU.
_INIT: dict[str, bool | str] = {"default": True, "pissa": "pissa", "olora": "olora", "loftq": True, "eva": "eva"}


def peft_config(adapter: Adapter, *, prepared: bool = True) -> PeftConfig | None:
    """Return PEFT's config of `adapter`, None where PEFT does not carry it.

    prepared: False starts from random weights whatever the adapter says, for networks without numbers or data.
    """
    if isinstance(adapter, LoRA):
        return _lora(adapter, init=_INIT[adapter.init] if prepared else True)
    if isinstance(adapter, QLoRA):
        return _lora(LoRA(adapter.rank, adapter.alpha, adapter.dropout, adapter.targets), init=True)
    if isinstance(adapter, AdaLoRA):
        return _ada_lora(adapter)
    if isinstance(adapter, IA3):
        return IA3Config(
            task_type=_TASK,
            target_modules=None if adapter.targets is None else list(adapter.targets),
            feedforward_modules=None if adapter.targets is None else list(adapter.feedforward or ()),
        )
    if isinstance(adapter, VirtualTokens):
        return _virtual(adapter)
    if isinstance(adapter, PEFT):
        config = _declared(adapter.config) if isinstance(adapter.config, Mapping) else deepcopy(adapter.config)
        config.task_type = config.task_type or _TASK
        return config
    return None


def _declared(told: Mapping[str, object]) -> PeftConfig:
    """Return the config that a mapping declares, with the library's defaults for what it leaves out."""
    kind, rest = str(told["peft_type"]).upper(), {name: value for name, value in told.items() if name != "peft_type"}
    if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
        kinds = sorted(one.value for one in PEFT_TYPE_TO_CONFIG_MAPPING)
        raise StageFailed(f"peft_type={kind!r} is no method of peft; give one of {', '.join(kinds)}")
    made = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)]
    try:
        return made(**rest)
    except (TypeError, ValueError) as error:
        known = ", ".join(sorted(one.name for one in fields(made) if one.init))
        raise StageFailed(f"PEFT({kind}): {error}; its settings are {known}") from error


def _targets(given: str | tuple[str, ...]) -> str | list[str]:
    return given if isinstance(given, str) else list(given)


def _lora(adapter: LoRA, *, init: bool | str) -> LoraConfig:
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.scale,
        lora_dropout=adapter.dropout,
        target_modules=_targets(adapter.targets),
        use_rslora=adapter.rslora,
        use_dora=adapter.dora,
        init_lora_weights=init,
        # All tokens are looked at: answers alone are often fewer than an update is wide.
        eva_config=EvaConfig(use_label_mask=False) if init == "eva" else None,
        task_type=_TASK,
    )


def _ada_lora(adapter: AdaLoRA) -> AdaLoraConfig:
    return AdaLoraConfig(
        init_r=adapter.initial_rank,
        target_r=adapter.rank,
        lora_alpha=adapter.scale,
        lora_dropout=adapter.dropout,
        target_modules=_targets(adapter.targets),
        deltaT=adapter.every,
        orth_reg_weight=adapter.orthogonality,
        total_step=_STEPS_UNKNOWN,
        task_type=_TASK,
    )


def _virtual(adapter: VirtualTokens) -> PeftConfig:
    common: dict[str, Any] = {"task_type": _TASK, "num_virtual_tokens": adapter.tokens}
    match adapter:
        case PromptTuning():
            drawn = "SAMPLE_VOCAB" if adapter.text is None else "RANDOM"  # a text's embeddings are put in afterwards
            return PromptTuningConfig(**common, prompt_tuning_init=drawn)
        case PTuning():
            kind = adapter.encoder.upper()
            layers = {} if kind == "MLP" else {"encoder_num_layers": 2}
            return PromptEncoderConfig(
                **common, encoder_reparameterization_type=kind, encoder_hidden_size=adapter.hidden, **layers
            )
        case PrefixTuning():
            return PrefixTuningConfig(
                **common, prefix_projection=True, encoder_hidden_size=adapter.width, init_weights="zero"
            )
        case PTuningV2():
            return PrefixTuningConfig(**common, prefix_projection=False, init_weights="zero")
