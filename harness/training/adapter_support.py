"""Adapters of which PEFT alone does less than training needs: AdaLoRA, virtual tokens, and any by its own config.

AdaLoRA: neither transformers nor TRL asks PEFT to hand out ranks, and PEFT adds its penalty to a loss that TRL does not
use. Virtual tokens: PEFT puts them before the padding of a left-padded row, which moves them away from the text and
changes the loss silently; and it leaves their own logits in, which no trainer of TRL expects.

Checkpoints: of a prompt encoder PEFT saves the virtual tokens that it makes, not the encoder; loading them into one
gives another prompt. Of AdaLoRA it saves the ranks that are left, and loading them changes the shapes that the
optimiser knows.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import AdaLoraConfig, PeftConfig, PeftType, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.errors import StageFailed
from harness.inference.models.loading import unwarned
from harness.recipes.adapters import (
    PEFT,
    AdaLoRA,
    AdapterSupport,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
)  # fmt: skip
from harness.recipes.adapters.protocol import Declared
from harness.recipes.adapters.virtual_tokens import RECURRENT_LAYERS
from harness.training.adapter_setup import TASK, Supplies, allocates_ranks, has_virtual_tokens, peft_targets
from harness.types.samples import Check


def _from_text(network: Any, text: str, tokenizer: Any) -> None:
    encoder = network.prompt_encoder[network.active_adapter]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    count = encoder.embedding.weight.shape[0]
    repeated = (ids * (count // len(ids) + 1))[:count]
    words = network.word_embeddings
    with torch.no_grad():
        chosen = words(torch.tensor(repeated, device=words.weight.device))  # (tokens, hidden)
        encoder.embedding.weight.copy_(chosen.float())


# The allocator's schedule is set when training begins and the number of steps is known.
_STEPS_UNKNOWN = 1 << 20


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
            target_modules=peft_targets(adapter.targets),
            deltaT=adapter.every,
            orth_reg_weight=adapter.orthogonality,
            total_step=_STEPS_UNKNOWN,
            task_type=TASK,
        )

    def accompany(self, trainer: Any, folder: Path) -> Callable[[], tuple[Check, ...]]:
        """See `AdapterSupport.accompany`."""
        keep_whole(trainer)
        trainer.add_callback(Allocation(self.adapter))
        return lambda: ranks_checks(folder, self.adapter)


class _WholeSupport(AdapterSupport[Declared]):
    """Of an adapter whose checkpoints need more than what PEFT saves, if it is one of virtual tokens."""

    def accompany(self, trainer: Any, folder: Path) -> Callable[[], tuple[Check, ...]]:
        """See `AdapterSupport.accompany`."""
        if has_virtual_tokens(trainer.model):
            keep_whole(trainer)
        return tuple


class PromptTuningSupport(_WholeSupport[PromptTuning]):
    """Embeddings before the text, which may start as those of words."""

    def peft_config(self, *, prepared: bool = True) -> PromptTuningConfig:
        """See `AdapterSupport.peft_config`."""
        drawn = "SAMPLE_VOCAB" if self.adapter.text is None else "RANDOM"  # a text's embeddings are put in afterwards
        return PromptTuningConfig(task_type=TASK, num_virtual_tokens=self.adapter.tokens, prompt_tuning_init=drawn)

    def start(self, network: Any, supplies: Supplies) -> None:
        """See `AdapterSupport.start`."""
        if self.adapter.text is not None and supplies.tokenizer is not None:
            _from_text(network, self.adapter.text, supplies.tokenizer)

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any:
        """See `AdapterSupport.go_on`."""
        return _with_embeddings(put_on(), folder)


class _EncodedSupport(_WholeSupport[Declared]):
    """Of virtual tokens that a network makes."""

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any:
        """See `AdapterSupport.go_on`; raises StageFailed in any case."""
        raise StageFailed(
            f"{self.adapter.name}: of an earlier step the virtual tokens are kept, not the network that made them, so "
            "a second step cannot go on with it; use PromptTuning or PTuningV2, or train with LoRA"
        )


class PTuningSupport(_EncodedSupport[PTuning]):
    """Embeddings before the text, made by a small network."""

    def peft_config(self, *, prepared: bool = True) -> PromptEncoderConfig:
        """See `AdapterSupport.peft_config`."""
        kind = self.adapter.encoder.upper()
        layers = {} if kind == "MLP" else {"encoder_num_layers": RECURRENT_LAYERS}
        return PromptEncoderConfig(
            task_type=TASK,
            num_virtual_tokens=self.adapter.tokens,
            encoder_reparameterization_type=kind,
            encoder_hidden_size=self.adapter.hidden,
            **layers,
        )


class PrefixTuningSupport(_EncodedSupport[PrefixTuning]):
    """Keys and values before the text's, made by a small network."""

    def peft_config(self, *, prepared: bool = True) -> PrefixTuningConfig:
        """See `AdapterSupport.peft_config`."""
        return PrefixTuningConfig(
            task_type=TASK,
            num_virtual_tokens=self.adapter.tokens,
            prefix_projection=True,
            encoder_hidden_size=self.adapter.width,
            init_weights="zero",
        )


class PTuningV2Support(_WholeSupport[PTuningV2]):
    """Keys and values before the text's, trained themselves."""

    def peft_config(self, *, prepared: bool = True) -> PrefixTuningConfig:
        """See `AdapterSupport.peft_config`."""
        return PrefixTuningConfig(
            task_type=TASK, num_virtual_tokens=self.adapter.tokens, prefix_projection=False, init_weights="zero"
        )

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any:
        """See `AdapterSupport.go_on`."""
        return _with_embeddings(put_on(), folder)


class PEFTSupport(_WholeSupport[PEFT]):
    """Any other method of PEFT, by its config."""

    def peft_config(self, *, prepared: bool = True) -> PeftConfig:
        """See `AdapterSupport.peft_config`."""
        given = self.adapter.config
        config = _declared(given) if isinstance(given, Mapping) else deepcopy(given)
        config.task_type = config.task_type or TASK
        return config


def _with_embeddings(network: Any, folder: Path) -> Any:
    """Return `network` with the virtual tokens that lie in `folder`."""
    learned = load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]
    with torch.no_grad():
        network.prompt_encoder[network.active_adapter].embedding.weight.copy_(learned)
    return network


# PEFT takes the empty tensors of a module that lost all its ranks for a fault.
NO_RANK_LEFT = r"Adapter '.*': \d+ LoRA tensor\(s\) have invalid shape"


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
    """Return the check that the adapter saved in `folder` keeps to its budget of ranks; none if it was merged."""
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
    rest.pop("position_ids", None)
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
    """Return for each row the order of places that puts its padding last, (rows, time); None if it is there."""
    before = (mask.cumsum(dim=1) == 0).sum(dim=1, keepdim=True)  # (rows, 1), padding on the left
    if not before.any():
        return None
    places = torch.arange(mask.shape[1], device=mask.device)[None]
    return (places + before) % mask.shape[1]


_FILE = "trained.safetensors"
_SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # what the rank allocator has seen of each weight


def keep_whole(trainer: Any) -> None:
    """Let the checkpoints of `trainer` hold all trained weights, which PEFT's own file does not."""
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
