"""Our fit against plain TRL: the same losses, step by step."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import Sampler

from benchmarks.plain_trl import train_plainly
from harness.inference.models.loading import load_tokenizer
from harness.recipes import SFT, LoRA
from harness.training.rows import make_rows
from harness.training.sft import LikeLengths, fit
from harness.types.jobs import TuneJob


def test_twenty_steps_have_the_losses_of_plain_trl(job: Callable[..., TuneJob], heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recipe = SFT(adapter=LoRA(rank=16), epochs=7, batch_size=8, learning_rate=1e-2, patience=None)
    made = job(recipe)
    ours = fit(made, progress=heard)
    rows = make_rows(load_tokenizer(made.model), made.train)
    theirs = train_plainly(
        Path(made.model.source),
        [row.features() for row in rows],
        recipe,
        dtype=torch.float32,
        seed=made.seed,
        folder=tmp_path / "trl",
        order=_Epochs([row.tokens for row in rows], batch_size=recipe.batch_size, seed=made.seed),
    )

    losses = [point.value for point in ours.log if point.name == "loss"]
    assert len(losses) == 21
    assert losses[0] - losses[-1] > 0.5
    assert losses == pytest.approx(theirs.losses, abs=1e-3)
    assert [point.value for point in ours.log if point.name == "tokens"] == list(theirs.tokens)


class _Epochs(Sampler[int]):
    """Our order of each epoch, one after the other."""

    def __init__(self, lengths: list[int], *, batch_size: int, seed: int) -> None:
        self._epoch = -1
        self._order = LikeLengths(lengths, batch_size=batch_size, seed=seed, epoch=lambda: self._epoch)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self):  # type: ignore[no-untyped-def]
        self._epoch += 1
        return iter(self._order)
