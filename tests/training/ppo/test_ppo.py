"""PPO on the tiny model: the reward rises near the start, an interrupted run goes on, a runaway one ends."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import StageFailed
from harness.fingerprint import file_sha256
from harness.inference.models.loading import load_tokenizer, weights_folder
from harness.inference.models.reward import new_scorer
from harness.recipes import PPO, Full, LoRA, PTuning
from harness.training.rl.ppo import fit
from harness.training.rl.ppo_math import FILE
from harness.types.jobs import TuneJob
from harness.types.models import Model
from tests.training.rewarding import interrupting, logged, lowercase, statuses, timeless

Jobs = Callable[..., TuneJob]
_RECIPE = PPO(
    reward=lowercase,
    adapter=LoRA(rank=8),
    batch_size=24,
    max_tokens=4,
    epochs=5,
    passes=2,
    learning_rate=5e-3,
    beta=0.01,
    kl_target=None,
    patience=None,
)


def test_the_reward_rises_and_the_divergence_stays_bounded(job: Jobs, heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    made = job(replace(_RECIPE, adapter=Full(), learning_rate=2e-3, batch_size=48, epochs=12, passes=3))
    result = fit(made, progress=heard)

    rewards, drawn = logged(result, "dev_reward"), logged(result, "reward")
    assert max(rewards) > rewards[0] + 0.15
    assert sum(drawn[3:]) / 3 > sum(drawn[:2]) / 2 + 0.05
    assert logged(result, "kl_per_answer")[0] == pytest.approx(0, abs=1e-4)
    assert 0 < max(logged(result, "kl_per_answer")) < 6
    assert len(logged(result, "loss")) == len(logged(result, "clip_fraction")) == 18
    for once_a_batch in ("reward", "reward lowercase", "kl", "entropy", "explained_variance"):
        assert len(logged(result, once_a_batch)) == 6
    assert logged(result, "kl_coefficient") == [0.01] * 6
    assert logged(result, "value_loss")[-1] < logged(result, "value_loss")[0]
    assert logged(result, "tokens")[-1] == result.tokens > 0
    found = statuses(result)
    for name in ("prompt parity", "reward varies", "adapter changes the model", "saved system answers as trained"):
        assert found[name] == "ok"
    assert sorted(path.name for path in made.folder.iterdir()) == ["adapter", FILE]
    assert FILE not in [path.name for path in result.folder.iterdir()]


def test_a_run_that_is_interrupted_ends_with_the_weights_and_the_log_of_an_undisturbed_one(
    job: Jobs,
    heard,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    recipe = replace(
        _RECIPE, adapter=Full(), learning_rate=1e-3, batch_size=8, epochs=1.5, minibatches=2, kl_target=3.0
    )
    undisturbed = fit(job(recipe, folder=tmp_path / "undisturbed"), progress=heard)
    with pytest.raises(KeyboardInterrupt):
        fit(job(interrupting(recipe, after=44), folder=tmp_path / "killed"), progress=heard)
    resumed = fit(job(recipe, folder=tmp_path / "killed"), progress=heard)

    assert resumed.environment["resumed_from"] == "checkpoint-8"
    assert timeless(resumed) == timeless(undisturbed)
    for name in ("adapter/model.safetensors", FILE):
        assert file_sha256(tmp_path / "killed" / name) == file_sha256(tmp_path / "undisturbed" / name)


def test_the_coefficient_is_steered(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    recipe = replace(_RECIPE, beta=0.1, kl_target=40.0, kl_horizon=48, epochs=2)
    result = fit(job(recipe), progress=heard)
    # Far below its target the divergence is made cheaper by a fifth of 24 / 48 a batch.
    assert logged(result, "kl_coefficient") == pytest.approx([0.1, 0.09])


def test_a_policy_that_runs_away_ends_the_run_with_the_way_out(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    recipe = replace(_RECIPE, learning_rate=0.3, beta=0.0, kl_limit=8.0, kl_target=None)
    with pytest.raises(
        StageFailed,
        match=r"the policy has run away from what it started as, by .* nats an answer \(kl_limit is 8.*Lower",
    ):
        fit(job(recipe), progress=heard)


def test_micro_batches_learn_what_whole_minibatches_learn(job: Jobs, heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recipe = replace(_RECIPE, epochs=2)
    whole = fit(job(recipe, folder=tmp_path / "a"), progress=heard)
    parts = fit(job(replace(recipe, micro_batch_size=6), folder=tmp_path / "b"), progress=heard)
    for name in ("loss", "value_loss", "clip_fraction", "reward"):
        assert logged(parts, name) == pytest.approx(logged(whole, name), abs=1e-3)


@pytest.fixture
def reward_model(tiny: Model, tmp_path: Path) -> Path:
    """A reward model with a random head on the tiny model's body."""
    folder, tokenizer = tmp_path / "reward", load_tokenizer(tiny)
    torch.manual_seed(2)
    scorer = new_scorer(weights_folder(tiny), tokenizer, device=torch.device("cpu"), dtype=torch.float32)
    torch.nn.init.normal_(scorer.score.weight, std=0.3)
    scorer.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "harness.json").write_text(json.dumps({"makes": "reward"}))
    return folder


def test_rewards_come_from_the_reward_model_of_an_earlier_step(job: Jobs, heard, reward_model: Path) -> None:  # type: ignore[no-untyped-def]
    result = fit(job(replace(_RECIPE, reward=None), reward=reward_model), progress=heard)

    rewards = logged(result, "dev_reward")
    assert max(rewards) > rewards[0] + 0.1
    assert logged(result, "reward reward_model") == logged(result, "reward")
    (check,) = [check for check in result.checks if check.name == "reward model"]
    assert check.detail.startswith("it gave 160 completions ")
    assert heard.lines[0] == f"rewards come from the reward model in {reward_model}"


def test_without_a_reward_there_is_nothing_to_learn_from(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StageFailed, match="has nothing to learn from"):
        fit(job(replace(_RECIPE, reward=None)), progress=heard)


def test_virtual_tokens_are_refused_with_what_to_use(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StageFailed, match=r"cannot be trained by PPO.*give LoRA\(\)"):
        fit(job(replace(_RECIPE, adapter=PTuning(tokens=4))), progress=heard)
