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
from safetensors.torch import load_file, save_file

from harness.errors import StageFailed
from harness.inference.models.adapters import merge
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.recipes.adapters import (
    IA3,
    PEFT,
    AdaLoRA,
    Adapter,
    AdapterSupport,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
)  # fmt: skip
from harness.recipes.adapters.virtual_tokens import RECURRENT_LAYERS
from harness.training import adapter_support
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


class LoRASupport(AdapterSupport[LoRA]):
    """Low-rank updates, and the starts that take something out of the base's weights or the data."""

    def peft_config(self, *, prepared: bool = True) -> LoraConfig:
        """See `AdapterSupport.peft_config`."""
        adapter = self.adapter
        init = _INIT[adapter.init] if prepared else True
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


class QLoRASupport(AdapterSupport[QLoRA]):
    """Low-rank updates on a base in 4 bits."""

    def peft_config(self, *, prepared: bool = True) -> LoraConfig:
        """See `AdapterSupport.peft_config`."""
        adapter = self.adapter
        return LoRASupport(LoRA(adapter.rank, adapter.alpha, adapter.dropout, adapter.targets)).peft_config()


class AdaLoRASupport(AdapterSupport[AdaLoRA]):
    """Low-rank updates whose ranks are handed out while training."""

    def peft_config(self, *, prepared: bool = True) -> AdaLoraConfig:
        """See `AdapterSupport.peft_config`."""
        adapter = self.adapter
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

    def accompany(self, trainer: Any, folder: Path) -> Callable[[], tuple[Check, ...]]:
        """See `AdapterSupport.accompany`."""
        trainer.add_callback(adapter_support.Allocation(self.adapter))
        return lambda: adapter_support.ranks_checks(folder, self.adapter)


class IA3Support(AdapterSupport[IA3]):
    """Activations scaled by learned vectors."""

    def peft_config(self, *, prepared: bool = True) -> IA3Config:
        """See `AdapterSupport.peft_config`."""
        targets, feedforward = self.adapter.targets, self.adapter.feedforward
        return IA3Config(
            task_type=_TASK,
            target_modules=None if targets is None else list(targets),
            feedforward_modules=None if targets is None else list(feedforward or ()),
        )


class PromptTuningSupport(AdapterSupport[PromptTuning]):
    """Embeddings before the text, which may start as those of words."""

    def peft_config(self, *, prepared: bool = True) -> PromptTuningConfig:
        """See `AdapterSupport.peft_config`."""
        drawn = "SAMPLE_VOCAB" if self.adapter.text is None else "RANDOM"  # a text's embeddings are put in afterwards
        return PromptTuningConfig(task_type=_TASK, num_virtual_tokens=self.adapter.tokens, prompt_tuning_init=drawn)

    def start(self, network: Any, supplies: Supplies) -> None:
        """See `AdapterSupport.start`."""
        if self.adapter.text is not None and supplies.tokenizer is not None:
            _from_text(network, self.adapter.text, supplies.tokenizer)

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any:
        """See `AdapterSupport.go_on`."""
        return _with_embeddings(put_on(), folder)


class PTuningSupport(AdapterSupport[PTuning]):
    """Embeddings before the text, made by a small network."""

    def peft_config(self, *, prepared: bool = True) -> PromptEncoderConfig:
        """See `AdapterSupport.peft_config`."""
        kind = self.adapter.encoder.upper()
        layers = {} if kind == "MLP" else {"encoder_num_layers": RECURRENT_LAYERS}
        return PromptEncoderConfig(
            task_type=_TASK,
            num_virtual_tokens=self.adapter.tokens,
            encoder_reparameterization_type=kind,
            encoder_hidden_size=self.adapter.hidden,
            **layers,
        )

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any:
        """See `AdapterSupport.go_on`; raises StageFailed in any case."""
        raise _not_kept(self.adapter)


class PrefixTuningSupport(AdapterSupport[PrefixTuning]):
    """Keys and values before the text's, made by a small network."""

    def peft_config(self, *, prepared: bool = True) -> PrefixTuningConfig:
        """See `AdapterSupport.peft_config`."""
        return PrefixTuningConfig(
            task_type=_TASK,
            num_virtual_tokens=self.adapter.tokens,
            prefix_projection=True,
            encoder_hidden_size=self.adapter.width,
            init_weights="zero",
        )

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any:
        """See `AdapterSupport.go_on`; raises StageFailed in any case."""
        raise _not_kept(self.adapter)


class PTuningV2Support(AdapterSupport[PTuningV2]):
    """Keys and values before the text's, trained themselves."""

    def peft_config(self, *, prepared: bool = True) -> PrefixTuningConfig:
        """See `AdapterSupport.peft_config`."""
        return PrefixTuningConfig(
            task_type=_TASK, num_virtual_tokens=self.adapter.tokens, prefix_projection=False, init_weights="zero"
        )

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any:
        """See `AdapterSupport.go_on`."""
        return _with_embeddings(put_on(), folder)


class PEFTSupport(AdapterSupport[PEFT]):
    """Any other method of PEFT, by its config."""

    def peft_config(self, *, prepared: bool = True) -> PeftConfig:
        """See `AdapterSupport.peft_config`."""
        given = self.adapter.config
        config = _declared(given) if isinstance(given, Mapping) else deepcopy(given)
        config.task_type = config.task_type or _TASK
        return config


def _with_embeddings(network: Any, folder: Path) -> Any:
    """Return `network` with the virtual tokens that lie in `folder`."""
    learned = load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]
    with torch.no_grad():
        network.prompt_encoder[network.active_adapter].embedding.weight.copy_(learned)
    return network


def _not_kept(adapter: Adapter) -> StageFailed:
    return StageFailed(
        f"{adapter.name}: of an earlier step the virtual tokens are kept, not the network that made them, so a "
        "second step cannot go on with it; use PromptTuning or PTuningV2, or train with LoRA"
    )
