"""Reward models: they learn which answer is preferred, are saved with their head, and gate by held-out pairs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import StageFailed
from harness.inference.models.adapters import is_adapter
from harness.inference.models.loading import load_tokenizer
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.inference.models.reward import load_reward, rewards
from harness.recipes import SFT, Bottleneck, Full, LoRA, PromptTuning, QLoRA, RewardModel
from harness.training.preferences.reward_model import fit, held_out_check
from harness.training.sft import fit as fit_sft
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.samples import Message, Pair

Jobs = Callable[..., TuneJob]


def values(result: TuneResult, name: str) -> list[float]:
    return [point.value for point in result.log if point.name == name]


def checks(result: TuneResult) -> dict[str, Any]:
    return {check.name: check for check in result.checks}


def rewards_of(result: TuneResult, model: Model, pairs: tuple[Pair, ...]) -> list[tuple[float, float]]:
    tokenizer = load_tokenizer(model)
    sequences = [
        [*prompt_ids(tokenizer, pair.prompt), *answer_ids(tokenizer, text, end=True)]
        for pair in pairs
        for text in (pair.chosen, pair.rejected)
    ]
    found = rewards(load_reward(model, result.folder), tokenizer, sequences)
    return list(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("adapter", [LoRA(rank=8), Full(), QLoRA(rank=8)], ids=["lora", "full", "qlora"])
def test_it_orders_pairs_that_it_never_saw(preferring: Jobs, heard, tiny: Model, adapter: Any) -> None:
    made = preferring(RewardModel(adapter=adapter, epochs=4, learning_rate=5e-3, evaluate_every=6, at_least=0.9))

    result = fit(made, progress=heard)

    assert values(result, "loss")[0] - values(result, "loss")[-1] > 0.4
    assert checks(result)["held-out pairs in order"].status == "ok"
    assert checks(result)["prompt parity"].status == "ok"
    assert checks(result)["saved model scores as trained"].status != "invalid"
    found = rewards_of(result, tiny, made.dev_pairs)
    assert sum(chosen > rejected for chosen, rejected in found) / len(found) > 0.9
    assert json.loads((result.folder / "harness.json").read_text())["makes"] == "reward"
    assert (result.folder / "tokenizer.json").is_file()


def test_the_loss_is_that_of_bradley_and_terry(preferring: Jobs, heard, tiny: Model) -> None:
    made = preferring(RewardModel(epochs=1, batch_size=24, learning_rate=1e-3, warmup=0))

    result = fit(made, progress=heard)

    margins = torch.tensor([chosen - rejected for chosen, rejected in rewards_of(result, tiny, made.dev_pairs)])
    assert values(result, "dev_loss")[-1] == pytest.approx(
        float(-torch.nn.functional.logsigmoid(margins).mean()), abs=1e-4
    )


def test_the_head_is_saved_with_the_adapter(preferring: Jobs, heard) -> None:
    result = fit(preferring(RewardModel(adapter=LoRA(rank=4), epochs=1)), progress=heard)

    config = json.loads((result.folder / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"
    head = [
        tensor for name, tensor in load_file(result.folder / "adapter_model.safetensors").items() if "score" in name
    ]
    assert [tensor.shape for tensor in head] == [(1, 64)]
    # rank * (in + out) of the seven linear layers of each of two layers, and the head.
    assert result.trainable_parameters == 2 * 4 * (128 + 2 * 96 + 128 + 2 * 192 + 192) + 64


@pytest.mark.parametrize("adapter", [LoRA(rank=4), Full()], ids=["same as the step's", "full"])
def test_after_an_earlier_step_it_is_saved_whole_on_what_that_step_left(
    preferring: Jobs, heard, tiny: Model, tmp_path: Path, adapter: Any
) -> None:
    first = SFT(adapter=LoRA(rank=4), epochs=2, learning_rate=1e-2, evaluate_every=6)
    start = fit_sft(preferring(first, folder=tmp_path / "first"), progress=heard).folder
    recipe = RewardModel(adapter=adapter, epochs=4, learning_rate=5e-3, evaluate_every=6)

    result = fit(preferring(recipe, start=start), progress=heard)

    assert not is_adapter(result.folder)
    assert checks(result)["saved model scores as trained"].status == "ok"
    assert checks(result)["held-out pairs in order"].status == "ok"


def test_a_reward_is_the_same_alone_and_in_a_batch(preferring: Jobs, heard, tiny: Model) -> None:
    result = fit(preferring(RewardModel(adapter=LoRA(rank=4), epochs=1)), progress=heard)
    network, tokenizer = load_reward(tiny, result.folder), load_tokenizer(tiny)
    end = tokenizer.eos_token_id  # also the padding token
    sequences = [[5, 6, 7, end], [8, 9, 10, 11, 12, 13, end], [14, end], [15, 16, 17]]

    together = rewards(network, tokenizer, sequences)

    assert together == pytest.approx([rewards(network, tokenizer, [one])[0] for one in sequences], abs=1e-5)
    assert len(set(together)) == 4


def test_a_learning_rate_of_zero_is_invalid_evidence(preferring: Jobs, heard) -> None:
    result = fit(preferring(RewardModel(epochs=1, learning_rate=0, at_least=0)), progress=heard)

    assert checks(result)["training changes the rewards"].status == "invalid"


@pytest.mark.parametrize(
    ("pairs", "at_least", "status", "said"),
    [
        (4, 0.5, "ok", "orders 2 of 4 held-out pairs rightly (50.0%; half is chance)"),
        (4, 0.6, "invalid", "where at_least=0.6 is asked for: what learns from it would learn noise"),
        (0, 0.6, "invalid", "no held-out pairs"),
        (0, 0.0, "warning", "no held-out pairs"),
    ],
)
def test_a_model_that_orders_too_few_pairs_is_invalid(
    tiny: Model, monkeypatch: pytest.MonkeyPatch, pairs: int, at_least: float, status: str, said: str
) -> None:
    tokenizer = load_tokenizer(tiny)
    asked = (Message("user", "?"),)
    given = [Pair(id=str(place), prompt=asked, chosen="a", rejected="b") for place in range(pairs)]
    order = iter([1, 0, 0, 1, 1, 0, 0, 0])  # right, wrong, right, a tie
    monkeypatch.setattr(
        "harness.training.preferences.reward_model.rewards", lambda *_: [float(next(order)) for _ in range(8)]
    )

    check = held_out_check(None, tokenizer, given, at_least=at_least)

    assert check.status == status
    assert said in check.detail


@pytest.mark.parametrize("adapter", [LoRA(rank=8), QLoRA(rank=8)], ids=["lora", "qlora"])
def test_a_float32_head_trains_beside_a_bfloat16_body(preferring: Jobs, heard, tiny: Model, adapter: Any) -> None:
    half = Model(tiny.source, dtype="bfloat16")
    recipe = RewardModel(adapter=adapter, epochs=3, learning_rate=5e-3, evaluate_every=3)

    result = fit(preferring(recipe, model=half), progress=heard)

    assert values(result, "loss")[-1] < values(result, "loss")[0]
    assert checks(result)["held-out pairs in order"].status == "ok"
    assert checks(result)["saved model scores as trained"].status != "invalid"


@pytest.mark.parametrize("adapter", [PromptTuning(), Bottleneck()], ids=lambda adapter: adapter.name)
def test_an_adapter_that_cannot_keep_a_head_is_refused(preferring: Jobs, heard, adapter: Any) -> None:
    with pytest.raises(StageFailed, match=r"cannot train a reward model here: .* give LoRA, QLoRA or Full"):
        fit(preferring(RewardModel(adapter=adapter)), progress=heard)


def test_a_policy_is_no_reward_model(preferring: Jobs, heard, tiny: Model) -> None:
    policy = fit_sft(preferring(SFT(epochs=1)), progress=heard)

    with pytest.raises(StageFailed, match=r"holds a policy, not a reward model; train one with RewardModel"):
        load_reward(tiny, policy.folder)
