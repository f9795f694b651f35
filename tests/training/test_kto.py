"""Learning from votes: the loss is the paper's, the reference is what training starts from, margins rise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.errors import StageFailed
from harness.inference.models.loading import load_model, load_tokenizer, model_of
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.recipes import KTO, Full, LoRA
from harness.training.preferences.kto import balance, fit
from harness.training.preferences.pairs import VoteRow
from harness.training.rows import TokenizedRow
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.samples import Example, Message, Vote

Jobs = Callable[..., TuneJob]


def values(result: TuneResult, name: str) -> list[float]:
    return [point.value for point in result.log if point.name == name]


def statuses(result: TuneResult) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


@pytest.mark.parametrize("adapter", [LoRA(rank=8), Full()], ids=["lora", "full"])
def test_good_answers_rise_over_bad_ones(preferring: Jobs, heard, adapter: Any) -> None:
    recipe = KTO(adapter=adapter, epochs=3, learning_rate=5e-3, evaluate_every=6)

    result = fit(preferring(recipe), progress=heard)

    # The policy is its reference at first: each loss is 1 - sigmoid(0).
    assert values(result, "loss")[0] == pytest.approx(0.5, abs=1e-5)
    assert values(result, "dev_reward_margin")[-1] > 1.0
    assert values(result, "dev_loss")[-1] < values(result, "dev_loss")[0] < 0.5
    assert set(statuses(result).values()) == {"ok"}
    assert (result.environment["train_votes"], result.environment["dev_votes"]) == (48, 16)


def test_the_loss_of_a_batch_is_the_papers(preferring: Jobs, heard, tiny: Model) -> None:
    """All weights trained for a step; then the dev votes, one batch, are weighed by hand."""
    recipe = KTO(
        adapter=Full(),
        epochs=1,
        batch_size=48,
        learning_rate=2e-3,
        warmup=0,
        beta=0.2,
        desirable_weight=1.5,
        undesirable_weight=1.2,
    )
    made = preferring(recipe)

    result = fit(made, progress=heard)

    tokenizer = load_tokenizer(tiny)
    networks = (
        load_model(tiny, dtype=torch.float32),
        model_of(result.folder, device=torch.device("cpu"), dtype=torch.float32),
    )

    def ratio(prompt: tuple[Message, ...], text: str) -> torch.Tensor:
        """Return the log-probability of an answer under the tuned model less that under the base."""
        asked, answer = prompt_ids(tokenizer, prompt), answer_ids(tokenizer, text, end=True)
        with torch.no_grad():
            base, tuned = (
                network(input_ids=torch.tensor([[*asked, *answer]]))
                .logits[0, len(asked) - 1 : -1]
                .log_softmax(-1)
                .gather(1, torch.tensor(answer)[:, None])
                .sum()
                for network in networks
            )
        return tuned - base

    votes = made.dev_votes
    own = torch.stack([ratio(vote.prompt, vote.answer) for vote in votes])
    beside = torch.stack([ratio(vote.prompt, votes[place - 1].answer) for place, vote in enumerate(votes)])
    divergence = beside.mean().clamp(min=0)
    good = torch.tensor([vote.good for vote in votes])
    losses = torch.where(
        good,
        1.5 * (1 - torch.sigmoid(0.2 * (own - divergence))),
        1.2 * (1 - torch.sigmoid(0.2 * (divergence - own))),
    )
    assert values(result, "dev_loss")[-1] == pytest.approx(float(losses.mean()), abs=1e-4)
    assert values(result, "dev_kl")[-1] == pytest.approx(float(divergence), abs=1e-3)


@pytest.mark.parametrize(
    ("good", "bad", "weights", "status", "said"),
    [
        (6, 6, {}, "ok", "6 good and 6 bad answers, weighed 1.00 to 1"),
        (9, 3, {}, "warning", "weigh 3.00 to 1 where 1 to 1.33 is advised; give desirable_weight=0.333 or und"),
        (9, 3, {"undesirable_weight": 3.0}, "ok", "weighed 1.00 to 1"),
        (4, 0, {}, "warning", "4 good and 0 bad answers: nothing tells what is wanted"),
    ],
)
def test_unequal_votes_are_weighed_or_warned_of(good: int, bad: int, weights: Any, status: str, said: str) -> None:
    row = TokenizedRow(example=Example(id="v", prompt=(), answer="a"), prompt=(1,), answer=(2,))

    check = balance(KTO(**weights), [VoteRow(row, place < good) for place in range(good + bad)])

    assert check.status == status
    assert said in check.detail


def test_without_votes_the_way_out_is_said(preferring: Jobs, heard) -> None:
    with pytest.raises(StageFailed, match=r"there is no vote to learn from; name a file with votes="):
        fit(preferring(KTO(), votes=()), progress=heard)


def test_votes_that_do_not_fit_are_left_out_and_named(preferring: Jobs, heard) -> None:
    made = preferring(KTO(epochs=1, max_length=60, evaluate_every=6))
    long = Vote(id="long", prompt=(Message("user", "#" * 80),), answer="red", good=True)

    result = fit(replace(made, votes=(*made.votes, long)), progress=heard)

    check = {check.name: check for check in result.checks}["train votes that fit"]
    assert (check.status, check.items) == ("warning", ("long",))
