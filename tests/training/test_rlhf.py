"""From demonstrations and preferences to a policy: supervised tuning, a reward model, PPO or RLOO on its rewards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.recipes import PPO, RLOO, SFT, LoRA, Reinforced, RewardModel
from harness.training.preferences.reward_model import fit as fit_reward
from harness.training.rl.grpo import fit_rloo
from harness.training.rl.ppo import fit as fit_ppo
from harness.training.sft import fit as fit_sft
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from tests.training.conftest import Heard, colour_pairs, colours
from tests.training.rewarding import logged, statuses

Jobs = Callable[..., TuneJob]
_LORA = LoRA(rank=8)


@pytest.fixture(scope="module")
def learned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneResult, TuneResult]:
    """A policy that was taught what to answer, and a reward model that prefers the right answer."""
    made = TuneJob(
        recipe=SFT(adapter=_LORA, epochs=6, learning_rate=1e-2),
        model=Model(str(tiny_model), dtype="float32"),
        train=colours(24, prefix="t"),
        dev=colours(8, prefix="d"),
        seed=1,
        folder=tmp_path_factory.mktemp("policy"),
        pairs=colour_pairs(24, prefix="t"),
        dev_pairs=colour_pairs(8, prefix="d"),
    )
    taught = fit_sft(made, progress=Heard())
    recipe = RewardModel(adapter=_LORA, epochs=4, learning_rate=5e-3)
    return taught, fit_reward(replace(made, recipe=recipe, folder=tmp_path_factory.mktemp("judge")), progress=Heard())


@pytest.mark.parametrize(
    ("fit", "recipe", "rise"),
    [
        (
            fit_ppo,
            PPO(adapter=_LORA, batch_size=24, epochs=4, passes=2, learning_rate=3e-3, max_tokens=8, patience=None),
            0.2,
        ),
        (
            fit_rloo,
            RLOO(
                adapter=_LORA,
                batch_size=6,
                epochs=3,
                generations=8,
                learning_rate=1e-2,
                max_tokens=8,
                patience=None,
            ),
            0.1,
        ),
    ],
    ids=["ppo", "rloo"],
)
def test_the_policy_gains_by_the_reward_model_and_stays_one_adapter(
    learned: tuple[TuneResult, TuneResult],
    job: Jobs,
    heard,  # type: ignore[no-untyped-def]
    fit: Callable[..., TuneResult],
    recipe: Reinforced,
    rise: float,
) -> None:
    policy, judge = learned
    result = fit(job(recipe, start=policy.folder, reward=judge.folder), progress=heard)

    rewards = logged(result, "reward")
    assert sum(rewards[-3:]) / 3 > sum(rewards[:2]) / 2 + rise, rewards
    assert logged(result, "kl")[0] == pytest.approx(0, abs=1e-4)
    assert abs(logged(result, "kl")[-1]) < 2
    assert logged(result, "reward reward_model") == pytest.approx(logged(result, "reward"), abs=1e-5)
    found = statuses(result)
    assert found["saved system answers as trained"] == "ok"
    assert found["reward model"] == "ok"
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "harness.json",
    ]
