"""What goes with a trainer because of the adapter it trains, whatever the method: callbacks, checkpoints, checks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer

from harness.errors import StageFailed
from harness.recipes import AdaLoRA, Trained
from harness.samples import Check
from harness.tuning.aligned import has_virtual_tokens
from harness.tuning.four_bits import Flow, format_check, four_bit_layers
from harness.tuning.ranks import Allocation, ranks_checks
from harness.tuning.whole_state import keep_whole

# Modules inside attention, in the names of the usual architectures.
_ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj", "query_key_value", "c_attn"})
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Company:
    """checks: what is known before training. later: returns those that only its end can make."""

    checks: tuple[Check, ...]
    later: Callable[[], tuple[Check, ...]]


def accompany(trainer: Any, recipe: Trained, folder: Path) -> Company:
    """Give `trainer` what the adapter of `recipe` needs while training. folder: where the result will lie.

    Raises StageFailed where the trainer's settings would train another model than the one that is served.
    """
    network, adapter = trainer.model, recipe.adapter
    _refuse_faults(trainer, recipe)
    keep_whole(trainer)
    if four_bit_layers(network):
        trainer.add_callback(Flow())
    checks = [check for check in (format_check(network), modules_check(network)) if check is not None]
    if not isinstance(adapter, AdaLoRA):
        return Company(tuple(checks), tuple)
    trainer.add_callback(Allocation(adapter))
    return Company(tuple(checks), lambda: ranks_checks(folder, adapter))


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
