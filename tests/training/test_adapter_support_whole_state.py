"""Checkpoints of adapters that PEFT saves in part: training goes on, and the best weights come back, whole."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from harness.fingerprint import file_sha256
from harness.inference.models.adapters import attach
from harness.inference.models.loading import load_model, load_tokenizer
from harness.recipes import SFT, AdaLoRA, Adapter, LoRA, PrefixTuning, PTuning
from harness.training.adapter_setup import has_virtual_tokens
from harness.training.adapter_support import align
from harness.training.rows import make_rows
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model
from tests.training.conftest import Heard
from tests.training.rewarding import timeless

Jobs = Callable[..., TuneJob]
WHOLE = (
    AdaLoRA(rank=2, initial_rank=4, warm=0.1, settled=0.3, dropout=0.1),
    PTuning(tokens=4),
    PrefixTuning(tokens=4, hidden=16),
    # These are saved whole by PEFT, and start from the same numbers again.
    LoRA(rank=4, init="pissa"),
    LoRA(rank=4, init="eva"),
)


class Interrupted(Exception):
    pass


class Pulled(Heard):
    """A progress that pulls the plug after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self._left -= amount
        if self._left == 0:
            raise Interrupted


@pytest.mark.parametrize("adapter", WHOLE, ids=lambda adapter: adapter.name)
def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(
    job: Jobs, heard: Any, tmp_path: Path, adapter: Adapter
) -> None:
    recipe = SFT(adapter=adapter, epochs=3, learning_rate=2e-2, evaluate_every=3, patience=None)
    whole = fit(job(recipe, folder=tmp_path / "whole"), progress=heard)

    halved = job(recipe, folder=tmp_path / "halved")
    with pytest.raises(Interrupted):
        fit(halved, progress=Pulled(8))  # type: ignore[arg-type]
    again = fit(halved, progress=heard)

    assert again.environment["resumed_from"] == "checkpoint-6"
    assert timeless(again) == timeless(whole)
    weights = [file_sha256(result.folder / "adapter_model.safetensors") for result in (whole, again)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("adapter", WHOLE[:3], ids=lambda adapter: adapter.name)
def test_the_saved_weights_are_those_of_the_best_evaluation(
    job: Jobs, heard: Any, tiny: Model, adapter: Adapter
) -> None:
    # A dev set of other answers: what is learned on train makes it worse, so the best evaluation is not the last.
    dev = tuple(replace(example, answer="zzzz#") for example in job(SFT()).dev)
    recipe = SFT(adapter=adapter, epochs=6, learning_rate=0.1, evaluate_every=3, patience=None)
    made = job(recipe, dev=dev)
    result = fit(made, progress=heard)
    found = {point.step: point.value for point in result.log if point.name == "dev_loss"}
    assert result.environment["best_step"] == min(found, key=lambda step: (found[step], step))
    assert result.environment["best_step"] != max(found)

    tuned = attach(load_model(tiny, dtype=torch.float32), result.folder)
    if has_virtual_tokens(tuned):
        align(tuned)
    total, tokens = 0.0, 0
    for row in make_rows(load_tokenizer(tiny), dev):
        ids = torch.tensor([[*row.prompt, *row.answer]])
        with torch.no_grad():
            logits = tuned(input_ids=ids).logits[0, len(row.prompt) - 1 : -1]
        total += float(cross_entropy(logits, torch.tensor(row.answer), reduction="sum"))
        tokens += len(row.answer)
    assert total / tokens == pytest.approx(min(found.values()), abs=1e-4)
