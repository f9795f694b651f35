"""RLOO: the reward rises while the policy stays near what it started from."""

from collections.abc import Callable

import pytest

from harness.recipes import RLOO, LoRA
from harness.training.rl.grpo import fit_rloo
from harness.types.jobs import TuneJob
from tests.training.rewarding import logged, lowercase, statuses


def test_the_reward_rises_and_the_divergence_stays_bounded(job: Callable[..., TuneJob], heard) -> None:  # type: ignore[no-untyped-def]
    recipe = RLOO(
        reward=lowercase,
        adapter=LoRA(rank=8),
        generations=8,
        max_tokens=4,
        epochs=2,
        learning_rate=1e-2,
        beta=0.02,
        normalise=True,
        patience=None,
    )
    result = fit_rloo(job(recipe), progress=heard)

    rewards = logged(result, "dev_reward")
    assert max(rewards) > rewards[0] + 0.15
    assert max(rewards) > 0.6
    assert logged(result, "kl")[0] == pytest.approx(0, abs=1e-5)
    assert 0 < max(logged(result, "kl")) < 3
    assert len(logged(result, "reward lowercase")) == 12
    found = statuses(result)
    assert found["prompt parity"] == "ok"
    assert found["adapter changes the model"] == "ok"
    assert found["saved system answers as trained"] == "ok"
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "harness.json",
    ]
