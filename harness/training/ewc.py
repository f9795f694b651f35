"""Elastic weight consolidation: what holds the weights that earlier tasks need if they were.

Source: Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 114 (2017), equation 3.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from harness.errors import StageFailed
from harness.recipes.continual import EWC
from harness.training.config import TrainingContext
from harness.training.rows import TokenizedRow, draw_rows, make_rows, rows_that_fit
from harness.types.samples import Check


@dataclass(frozen=True)
class HeldWeights:
    """One trained tensor, where the step found it, and its Fisher information, all of one shape."""

    parameter: torch.Tensor
    start: torch.Tensor
    fisher: torch.Tensor


@dataclass(frozen=True)
class Consolidation:
    """The springs of one step. strength: lambda."""

    held: tuple[HeldWeights, ...]
    strength: float

    def penalty(self) -> torch.Tensor:
        """Return strength / 2 times the sum of Fisher x (weight - start) squared.

        With strength 1 it is, to second order, how much the earlier tasks' loss a token would rise.
        """
        parts = [(one.fisher * (one.parameter - one.start).square()).sum() for one in self.held]
        return 0.5 * self.strength * torch.stack(parts).sum()


def consolidate(begun: TrainingContext, keep: EWC) -> tuple[Consolidation, tuple[Check, ...]]:
    """Return what holds the network's trainable weights if they are, estimated on examples of earlier tasks.

    Raises:
        StageFailed: If there is no earlier task.
    """
    model, job = begun.network, begun.job
    if not job.earlier:
        raise StageFailed(f"{keep.name} has no earlier task to keep; put a step on another task before this one")
    drawn = make_rows(begun.tokenizer, draw_rows(job.earlier, keep.samples, seed=job.seed))
    rows, fit = rows_that_fit(drawn, longest=begun.longest, kind="earlier")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found = fisher(model, parameters, rows, seed=job.seed, autocast=begun.precision.autocast)
    held = tuple(
        HeldWeights(parameter, parameter.detach().clone().float(), information)
        for parameter, information in zip(parameters, found, strict=True)
    )
    return Consolidation(held, keep.strength), (fit, _check(keep, held, rows))


def fisher(
    model: Any,
    parameters: Sequence[torch.Tensor],
    rows: Sequence[TokenizedRow],
    *,
    seed: int,
    autocast: torch.dtype | None = None,
) -> list[torch.Tensor]:
    """Return the diagonal Fisher information of each of `parameters` for one answer token, in float32.

    It is the mean square of the gradient of log p(answer drawn from the model). Answers are drawn token by token after
    the reference's own tokens: references the model knows by heart have no gradient left, and would hold nothing.
    """
    training = model.training
    model.eval()
    generator = torch.Generator(device=model.device).manual_seed(seed)
    total = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
    for row in rows:
        loss = _drawn_loss(model, row, generator, autocast)
        gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
        for information, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                information.add_(gradient.float().square())
    model.train(training)
    tokens = sum(len(row.answer) for row in rows)
    return [information.div_(tokens) for information in total]


def _drawn_loss(
    model: Any, row: TokenizedRow, generator: torch.Generator, autocast: torch.dtype | None
) -> torch.Tensor:
    """Return minus the log-likelihood of one token drawn at each place of the answer."""
    ids = torch.tensor([[*row.prompt, *row.answer]], device=model.device)
    with torch.autocast(ids.device.type, dtype=autocast) if autocast is not None else nullcontext():
        logits = model(input_ids=ids, use_cache=False).logits
    # Counted from the end: virtual tokens of a prompt-learning adapter may stand before the prompt.
    answers = logits[0, -len(row.answer) - 1 : -1].float()  # (answer tokens, vocabulary)
    drawn = torch.multinomial(answers.detach().softmax(dim=-1), 1, generator=generator).squeeze(-1)
    return cross_entropy(answers, drawn, reduction="sum")


def _check(keep: EWC, held: Sequence[HeldWeights], rows: Sequence[TokenizedRow]) -> Check:
    weights = sum(one.parameter.numel() for one in held)
    most = max((float(one.fisher.max()) for one in held), default=0.0)
    name = "weights held for earlier tasks"
    if most == 0:
        detail = "no weight moves the likelihood of an earlier task's answers: nothing holds them"
        return Check(name=name, status="warning", detail=detail)
    detail = f"{keep.name}: {weights:,} weights are held, by their Fisher information on {len(rows):,} earlier examples"
    return Check(name=name, status="ok", detail=detail)
