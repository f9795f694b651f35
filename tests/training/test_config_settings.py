"""The number formats of a run are chosen on purpose: neither TRL's default nor a model's name decides them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from trl import SFTConfig

from harness.recipes import SFT, Full, LoRA
from harness.recipes.adapters import Adapter
from harness.training.config import StartingPoint, choose_precision, shared_settings
from harness.training.network import trainable
from harness.types.models import Model


def test_a_run_on_a_cpu_says_so_where_the_defaults_would_raise(tiny: Model, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, where TRL's default is fine")
    precision = choose_precision(tiny, LoRA())
    begun = SimpleNamespace(recipe=SFT(), checkpoints=tmp_path, job=SimpleNamespace(seed=1), precision=precision)
    settings = shared_settings(begun, steps=10, every=5)  # type: ignore[arg-type]
    assert (settings["use_cpu"], settings["bf16"]) == (True, False)
    assert SFTConfig(**settings).use_cpu
    # The planted fault: TRL asks for bfloat16 of transformers, which refuses it without a GPU.
    with pytest.raises(ValueError, match="bf16"):
        SFTConfig(**{name: value for name, value in settings.items() if name not in ("use_cpu", "bf16")})


@pytest.mark.parametrize(
    ("dtype", "adapter", "frozen", "trained"),
    [
        ("bfloat16", LoRA(rank=2), torch.bfloat16, torch.float32),
        ("bfloat16", Full(), None, torch.float32),
        ("float32", LoRA(rank=2), torch.float32, torch.float32),
    ],
)
def test_weights_are_loaded_in_the_format_that_is_chosen(
    tiny: Model, heard, dtype: str, adapter: Adapter, frozen: torch.dtype | None, trained: torch.dtype
) -> None:
    model = Model(tiny.source, dtype=dtype)  # type: ignore[arg-type]
    network = trainable(StartingPoint(model), adapter, choose_precision(model, adapter), progress=heard)
    held = {weight.dtype for weight in network.parameters() if not weight.requires_grad}
    learned = {weight.dtype for weight in network.parameters() if weight.requires_grad}
    assert held == ({frozen} if frozen else set())
    assert learned == {trained}
