"""A batch that the memory does not hold."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.errors import StageFailed
from harness.fingerprint import file_sha256
from harness.recipes import SFT, LoRA
from harness.training.sft import AnswerTrainer, fit
from harness.types.jobs import TuneJob

Jobs = Callable[..., TuneJob]
# What torch's allocator says on a CPU, and the class it has on a GPU.
_CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


def planted(monkeypatch, *, most: int, error: RuntimeError, after: int = 0) -> list[int]:
    """Let a step with more than `most` rows run out of memory, and return the rows of each computed batch."""
    original, seen = AnswerTrainer._summed_loss, []

    def summed(self, model, inputs):
        rows = len(inputs["input_ids"])
        if model.training:
            if rows > most and len(seen) >= after:
                raise error
            seen.append(rows)
        return original(self, model, inputs)

    monkeypatch.setattr(AnswerTrainer, "_summed_loss", summed)
    return seen


def test_half_a_batch_at_once_learns_what_a_declared_half_learns(job: Jobs, heard, tmp_path: Path, monkeypatch) -> None:
    recipe = SFT(adapter=LoRA(rank=4), epochs=0.5, learning_rate=1e-2)
    declared = fit(
        job(SFT(adapter=LoRA(rank=4), epochs=0.5, learning_rate=1e-2, micro_batch_size=2), folder=tmp_path / "a"),
        progress=heard,
    )
    seen = planted(monkeypatch, most=3, error=torch.OutOfMemoryError("CUDA out of memory"))
    made = job(recipe, folder=tmp_path / "b")
    found = fit(made, progress=heard)

    assert set(seen) == {2}
    assert file_sha256(found.folder / "adapter_model.safetensors") == file_sha256(
        declared.folder / "adapter_model.safetensors"
    )
    assert heard.lines == [
        "8 examples at once do not fit the memory: going on with 4, as many a step",
        "4 examples at once do not fit the memory: going on with 2, as many a step",
    ]
    check = {check.name: check for check in found.checks}["memory"]
    assert check.status == "warning"
    assert check.detail == (
        "8 examples at once did not fit the memory; trained 2 at a time, 4 times a step: the batch is 8 as declared"
    )
    assert found.environment["micro_batch_size"] == 2
    assert [path.name for path in made.folder.iterdir()] == ["adapter"]


def test_training_goes_on_from_the_last_checkpoint(job: Jobs, heard, monkeypatch) -> None:
    seen = planted(monkeypatch, most=3, error=RuntimeError(_CPU), after=4)
    found = fit(job(SFT(adapter=LoRA(rank=4), epochs=2, evaluate_every=2)), progress=heard)

    # Four steps of eight rows, the fifth fails; the last two are computed in halves, from the checkpoint of step 4.
    assert seen == [8, 8, 8, 8, *[2] * 8]
    assert found.environment["resumed_from"] == "checkpoint-4"
    assert [point.step for point in found.log if point.name == "loss"] == [1, 2, 3, 4, 5, 6]


def test_one_example_that_does_not_fit_ends_the_run_with_the_way_out(job: Jobs, heard, monkeypatch) -> None:
    planted(monkeypatch, most=0, error=RuntimeError(_CPU))
    with pytest.raises(
        StageFailed, match=r"one example alone does not fit the memory .*can't allocate.*lower max_length .*QLoRA"
    ):
        fit(job(SFT(epochs=1, batch_size=2)), progress=heard)


def test_the_size_that_fitted_is_remembered_by_a_run_that_was_killed(job: Jobs, heard, monkeypatch) -> None:
    made = job(SFT(epochs=1))
    made.folder.mkdir(parents=True)
    (made.folder / "micro_batch.json").write_text(json.dumps({"micro_batch_size": 2}))
    seen = planted(monkeypatch, most=8, error=RuntimeError(_CPU))
    fit(made, progress=heard)

    assert set(seen) == {2}


def test_any_other_error_is_not_taken_for_want_of_memory(job: Jobs, heard, monkeypatch) -> None:
    planted(monkeypatch, most=0, error=RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit(job(SFT(epochs=1)), progress=heard)
