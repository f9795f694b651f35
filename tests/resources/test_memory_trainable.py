"""Trained weights in closed form: the published counts, and those of networks that are really built."""

import dataclasses
from pathlib import Path

import pytest

from harness.recipes import (
    IA3,
    MAM,
    AdaLoRA,
    BitFit,
    Bottleneck,
    DoRA,
    Full,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
    UniPELT,
)
from harness.recipes.adapters import Adapter
from harness.resources.model_shape import read_shape, shape_of
from harness.types.models import Model
from tests.resources.test_model_shape import LLAMA_2_7B, LLAMA_3B

ADAPTERS = (
    Full(),
    LoRA(rank=4),
    LoRA(rank=4, targets=("q_proj", "v_proj")),
    DoRA(rank=4),
    QLoRA(rank=4),
    AdaLoRA(rank=4, initial_rank=6),
    IA3(),
    PromptTuning(tokens=5),
    PTuning(tokens=5),
    PTuning(tokens=5, encoder="lstm", hidden=24),
    PrefixTuning(tokens=5),
    PTuningV2(tokens=5),
    Bottleneck(),
    Bottleneck(kind="houlsby", reduction=8),
    MAM(prefix_tokens=3, bottleneck=16),
    UniPELT(),
    BitFit(),
)


@pytest.mark.parametrize(
    ("config", "adapter", "trained"),
    [
        (LLAMA_3B, LoRA(rank=32, targets=("q_proj", "v_proj")), 9_175_040),
        (LLAMA_3B, LoRA(rank=10, targets=("gate_proj", "up_proj", "down_proj")), 9_461_760),
        (LLAMA_3B, IA3(), 286_720),
        (LLAMA_3B, PromptTuning(tokens=200), 614_400),
        (LLAMA_3B, PTuningV2(tokens=200), 11_468_800),
        (LLAMA_3B, BitFit(), 175_104),
        (LLAMA_3B, Full(), 3_212_749_824),
        (LLAMA_2_7B, LoRA(rank=16), 39_976_960),
    ],
)
def test_the_counts_are_the_published_ones(config: dict[str, object], adapter, trained: int) -> None:
    assert adapter.trained_parameters(shape_of(config)) == trained


def test_the_norms_alone_are_those_of_the_published_count() -> None:
    assert shape_of(LLAMA_3B).norm_parameters == 175_104


def test_every_adapter_trains_as_many_weights_as_its_closed_form(tiny_model: Path) -> None:
    import torch

    from harness.inference.models.adapters import count_parameters
    from harness.inference.models.loading import load_model
    from harness.training.network import add_adapter

    model = Model(str(tiny_model), dtype="float32")
    shape = read_shape(model)
    found, expected = {}, {}
    for adapter in ADAPTERS:
        base = load_model(model, dtype=torch.float32)
        network = base if isinstance(adapter, Full) else add_adapter(base.requires_grad_(False), adapter)
        found[repr(adapter)] = count_parameters(network)[0]
        expected[repr(adapter)] = adapter.trained_parameters(shape)
    assert found == expected


def test_a_method_without_a_closed_form_has_no_count() -> None:
    @dataclasses.dataclass(frozen=True)
    class Other(Adapter):
        name: str = "other"

    assert Other().trained_parameters(shape_of(LLAMA_3B)) is None
