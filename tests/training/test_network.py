"""What a second step starts from: the same adapter goes on, any other meets a base with the first one's update."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.inference.models.adapters import attach, is_adapter
from harness.inference.models.loading import load_model, model_of
from harness.recipes import SFT, Full, LoRA
from harness.training.sft import fit
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model

Jobs = Callable[..., TuneJob]
_FIRST = SFT(adapter=LoRA(rank=4), epochs=8, learning_rate=1e-2)


@pytest.fixture
def first(job: Jobs, heard, tmp_path: Path) -> TuneResult:
    return fit(job(_FIRST, folder=tmp_path / "first"), progress=heard)


def logits(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network(input_ids=torch.arange(1, 20)[None]).logits.float()
        return found


def checked(result: TuneResult) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


def test_the_same_adapter_goes_on_and_stays_one_adapter(first: TuneResult, job: Jobs, heard, tiny: Model) -> None:
    second = fit(job(SFT(adapter=LoRA(rank=4), epochs=1, learning_rate=1e-2), start=first.folder), progress=heard)

    assert is_adapter(second.folder)
    assert second.log[0].value < first.log[0].value / 2  # it begins where the first ended
    assert checked(second)["adapter changes the model"] == "ok"


def test_a_rate_of_0_in_the_second_step_is_found_although_the_first_changed_the_model(
    first: TuneResult, job: Jobs, heard
) -> None:
    second = fit(job(SFT(adapter=LoRA(rank=4), epochs=1, learning_rate=0), start=first.folder), progress=heard)

    assert checked(second)["adapter changes the model"] == "invalid"


@pytest.mark.parametrize("adapter", [LoRA(rank=8), Full()], ids=["lora", "full"])
def test_another_adapter_meets_the_merged_base_and_is_saved_whole(
    first: TuneResult, job: Jobs, heard, tiny: Model, adapter: LoRA | Full
) -> None:
    second = fit(job(SFT(adapter=adapter, epochs=1, learning_rate=1e-3), start=first.folder), progress=heard)

    assert not is_adapter(second.folder)
    assert second.log[0].value < first.log[0].value / 2
    assert checked(second)["saved system answers as trained"] == "ok"
    assert "merging the earlier step's lora-r4 into the model" in heard.lines
    after_first = logits(attach(load_model(tiny, dtype=torch.float32), first.folder))
    after_second = logits(model_of(second.folder, device=torch.device("cpu"), dtype=torch.float32))
    before = logits(load_model(tiny, dtype=torch.float32))
    assert (after_second - after_first).norm() < (after_first - before).norm()
    assert not (second.folder.parent / "base").exists()
