"""What goes with a trainer because of its adapter: faults that are refused, modules that are named."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from transformers import TrainingArguments

from harness.errors import StageFailed
from harness.inference.models.loading import load_model
from harness.recipes import PEFT, SFT, Adapter, LoRA, PrefixTuning, PromptTuning
from harness.training import sft
from harness.training.adapter_setup import accompany
from harness.training.network import add_adapter
from harness.training.sft import fit, trainer_config
from harness.types.jobs import TuneJob
from harness.types.models import Model

Jobs = Callable[..., TuneJob]


def trainer(tiny: Model, adapter: Adapter, **fields: Any) -> Any:
    """Return as much of a trainer as is looked at."""
    network = add_adapter(load_model(tiny, dtype=torch.float32), adapter)
    return SimpleNamespace(
        model=network,
        args=TrainingArguments(use_cpu=True),
        add_callback=lambda _: None,
        _save_checkpoint=None,
        **fields,
    )


def checks(tiny: Model, adapter: Adapter) -> list[tuple[str, str, str]]:
    found, _ = accompany(trainer(tiny, adapter), SFT(adapter=adapter), Path("nowhere"))
    return [(check.status, check.name, check.detail) for check in found]


def test_a_prefix_under_checkpointing_is_refused(job: Jobs, heard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's default is to checkpoint; the past that a prefix is would be dropped."""

    def with_checkpointing(*given: Any, **named: Any) -> Any:
        config = trainer_config(*given, **named)
        config.activation_checkpointing = config.gradient_checkpointing = True
        return config

    monkeypatch.setattr(sft, "trainer_config", with_checkpointing)
    with pytest.raises(StageFailed, match=r"^prefix-4: with gradient checkpointing the virtual tokens' .*=False$"):
        fit(job(SFT(adapter=PrefixTuning(tokens=4), epochs=1)), progress=heard)


def test_no_run_checkpoints_of_itself(job: Jobs, heard: Any) -> None:
    result = fit(job(SFT(adapter=PrefixTuning(tokens=4), epochs=1)), progress=heard)
    assert {check.name: check.status for check in result.checks}["adapter changes the model"] == "ok"


def test_answers_drawn_in_left_padded_batches_are_refused_with_virtual_tokens(tiny: Model) -> None:
    adapter = PromptTuning(tokens=4)
    with pytest.raises(StageFailed, match="draws its answers in left-padded batches"):
        accompany(trainer(tiny, adapter, num_generations=4), SFT(adapter=adapter), Path("nowhere"))


def test_all_linear_layers_but_the_head_are_the_default(tiny: Model) -> None:
    named = "14 modules are adapted: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    assert checks(tiny, LoRA()) == [("ok", "adapted modules", named)]


@pytest.mark.parametrize("adapter", [LoRA(targets=("q_proj", "v_proj"))], ids=lambda adapter: adapter.name)
def test_attention_alone_is_named_with_what_is_better(tiny: Model, adapter: Adapter) -> None:
    ((status, name, detail),) = checks(tiny, adapter)
    assert (status, name) == ("warning", "adapted modules")
    assert detail.startswith("4 modules are adapted: q_proj, v_proj; attention alone learns less")
    assert detail.endswith('targets="all-linear"')


def test_pefts_own_default_of_queries_and_values_is_named(tiny: Model) -> None:
    ((status, _, detail),) = checks(tiny, PEFT(peft.LoraConfig(task_type="CAUSAL_LM")))
    assert status == "warning"
    assert detail.startswith("4 modules are adapted: q_proj, v_proj;")


def test_virtual_tokens_adapt_no_module(tiny: Model) -> None:
    assert checks(tiny, PromptTuning(tokens=4)) == []
