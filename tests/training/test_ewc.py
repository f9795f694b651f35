"""Elastic weight consolidation: the formula, the Fisher information, and what it keeps on a tiny model."""

import math

import pytest
import torch

from harness import SFT, Full, LoRA, StageFailed
from harness.recipes.continual import EWC
from harness.training.ewc import Consolidation, HeldWeights, fisher
from harness.training.rows import TokenizedRow
from harness.training.sft import fit
from harness.types.samples import Example, Message

EXAMPLE = Example(id="one", prompt=(), answer="")


class Bigram(torch.nn.Module):
    """Logits that depend on the last token alone: one trained row a token."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]]))
        self.unused = torch.nn.Parameter(torch.ones(2))

    def forward(self, input_ids, use_cache):
        return type("Output", (), {"logits": self.table[input_ids]})()


def test_the_penalty_is_the_formula_and_pulls_back():
    weight = torch.nn.Parameter(torch.tensor([1.0, 5.0, 2.0]))
    held = HeldWeights(weight, torch.tensor([0.0, 2.0, 2.0]), torch.tensor([2.0, 0.5, 9.0]))
    penalty = Consolidation((held,), strength=4.0).penalty()

    assert penalty.item() == 4.0 / 2 * (2.0 * 1.0**2 + 0.5 * 3.0**2)
    penalty.backward()
    assert weight.grad.tolist() == [4.0 * 2.0 * 1.0, 4.0 * 0.5 * 3.0, 0.0]


def test_the_fisher_information_is_that_of_the_softmax():
    """The gradient of log p(k) by the logits is one-hot(k) - p, so that its mean square is p (1 - p)."""
    model = Bigram()
    rows = [TokenizedRow(example=EXAMPLE, prompt=(token,), answer=(0,)) for token in (0, 1)] * 250
    table, unused = fisher(model, [model.table, model.unused], rows, seed=3)

    # Each row of the table is met by half of the answers.
    expected = torch.tensor([[0.25, 0.25], [0.75 * 0.25, 0.75 * 0.25]]) / 2
    assert torch.allclose(table, expected, rtol=0.15)
    assert unused.tolist() == [0.0, 0.0]
    again = fisher(model, [model.table, model.unused], rows, seed=3)
    assert torch.equal(table, again[0])


def numbers(count, *, prefix):
    """Another task in the words of the first: the answers to other prompts."""
    return tuple(
        Example(
            id=f"{prefix}{n}", prompt=(Message("user", f"number {n % 4}"),), answer=("one", "two", "six", "ten")[n % 4]
        )
        for n in range(count)
    )


@pytest.mark.parametrize(
    ("adapter", "rates", "strength"),
    [(LoRA(rank=4), (2e-2, 3e-3), 300.0), (Full(), (2e-3, 1e-3), 300.0)],
    ids=["lora", "full"],
)
def test_the_earlier_task_is_forgotten_less(job, heard, tmp_path, adapter, rates, strength):
    """The dev examples are those of the earlier task in both steps: their last loss tells what is left of it."""

    def step(name, rate, **changed):
        keep = changed.pop("keep", None)
        recipe = SFT(
            adapter=adapter,
            epochs=6,
            batch_size=4,
            learning_rate=rate,
            schedule="constant",
            evaluate_every=100,
            patience=None,
            keep=keep,
        )
        return fit(job(recipe, folder=tmp_path / name, **changed), progress=heard)

    first = step("first", rates[0])
    other = {"train": numbers(16, prefix="n"), "start": first.folder}
    free = step("free", rates[1], **other)
    held = step("held", rates[1], **other, keep=EWC(strength=strength), earlier=job(SFT()).train)

    known, lost, kept = (
        [point.value for point in result.log if point.name == "dev_loss"][-1] for result in (first, free, held)
    )
    assert lost > known + 0.1
    assert kept - known < 0.75 * (lost - known)
    penalties = [point.value for point in held.log if point.name == "penalty"]
    assert penalties[0] == 0.0
    assert penalties[-1] > 0.0
    (check,) = [check for check in held.checks if check.name == "weights held for earlier tasks"]
    assert (check.status, "by their Fisher information on 24 earlier examples" in check.detail) == ("ok", True)


def test_replayed_rows_are_learned_beside_the_new_ones(job, heard):
    result = fit(job(SFT(adapter=LoRA(rank=2), epochs=0.1, limit=8), replay=numbers(6, prefix="n")), progress=heard)

    assert result.environment["train_rows"] == 14


def test_without_an_earlier_task_there_is_nothing_to_keep(job, heard):
    with pytest.raises(StageFailed, match="ewc-100 has no earlier task to keep"):
        fit(job(SFT(keep=EWC(), epochs=0.1)), progress=heard)
