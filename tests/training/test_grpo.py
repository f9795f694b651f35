"""GRPO: the reward rises, and what is trained is what is served."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import StageFailed
from harness.fingerprint import file_sha256
from harness.inference.models.adapters import attach, switched_off
from harness.inference.models.loading import load_model
from harness.recipes import GRPO, SFT, Full, LoRA, Weighted
from harness.training.rl.grpo import fit
from harness.training.rl.policy import Groups
from harness.training.sft import fit as fit_sft
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Answer, Sample
from tests.training.rewarding import interrupting, logged, lowercase, statuses, timeless

Jobs = Callable[..., TuneJob]
_RECIPE = GRPO(
    reward=lowercase,
    adapter=LoRA(rank=8),
    generations=8,
    max_tokens=4,
    epochs=2,
    learning_rate=1e-2,
    evaluate_every=4,
    patience=None,
)


def nothing(sample: Sample, answer: Answer) -> float:
    return 0.0


def test_the_reward_rises_and_the_adapter_saves_reloads_and_switches_off(job: Jobs, heard, tiny: Model) -> None:  # type: ignore[no-untyped-def]
    result = fit(job(replace(_RECIPE, reward=[lowercase, Weighted(nothing, 0.5)])), progress=heard)

    rewards = logged(result, "dev_reward")
    assert max(rewards) > rewards[0] + 0.2
    assert max(rewards) > 0.65
    assert len(logged(result, "reward")) == len(logged(result, "entropy")) == 12
    assert logged(result, "reward lowercase") == pytest.approx(logged(result, "reward"), abs=1e-6)
    assert logged(result, "reward nothing") == [0.0] * 12
    assert logged(result, "tokens")[-1] == result.tokens > 0
    assert [point.epoch for point in result.log if point.name == "dev_reward"] == pytest.approx([2 / 3, 4 / 3, 2])
    assert result.environment["best_step"] == 4 * (1 + rewards.index(max(rewards)))
    found = statuses(result)
    assert [found[name] for name in ("prompt parity", "adapter changes the model", "reward varies")] == ["ok"] * 3
    assert found["saved system answers as trained"] == "ok"
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "harness.json",
    ]

    ids = torch.arange(1, 20)[None]
    tuned = attach(load_model(tiny), result.folder)
    with torch.inference_mode(), switched_off(tuned):
        assert torch.equal(tuned(input_ids=ids).logits, load_model(tiny)(input_ids=ids).logits)


def test_all_weights_held_to_the_start_stay_near_it(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    recipe = replace(_RECIPE, adapter=Full(), learning_rate=3e-3, micro_batch_size=2, beta=0.05, epochs=1)
    result = fit(job(recipe), progress=heard)

    divergence = logged(result, "kl")
    assert divergence[0] == pytest.approx(0, abs=1e-5)
    assert 0 < max(divergence) < 2
    assert logged(result, "dev_reward")[-1] > 0.5


def test_an_earlier_step_is_what_the_policy_is_held_to(job: Jobs, heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = fit_sft(
        job(SFT(adapter=LoRA(rank=8), epochs=8, learning_rate=1e-2), folder=tmp_path / "sft"), progress=heard
    )
    recipe = replace(_RECIPE, beta=0.05, epochs=0.5)
    result = fit(job(recipe, start=first.folder), progress=heard)

    # After tuning on lower-case words, most letters are small from the first step on.
    assert logged(result, "reward")[0] > 0.7
    assert logged(result, "kl")[0] == pytest.approx(0, abs=1e-5)
    assert logged(result, "kl")[-1] > 0
    assert [path.name for path in result.folder.iterdir() if path.is_dir()] == []


def test_a_reward_that_is_always_zero_is_said_with_the_remedy_and_clipped_answers_are_counted(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    result = fit(job(replace(_RECIPE, reward=nothing, generations=2, max_tokens=1, epochs=1)), progress=heard)

    (said,) = [line for line in heard.lines if "had the same reward (0)" in line]
    assert "Steps([SFT(...), GRPO(...)])" in said
    found = statuses(result)
    assert found["reward varies"] == "warning"
    assert found["completions end"] == "invalid"
    assert found["adapter changes the model"] == "invalid"


def test_a_run_that_is_interrupted_ends_with_the_weights_and_the_log_of_an_undisturbed_one(
    job: Jobs, heard, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    recipe = replace(_RECIPE, adapter=LoRA(rank=4, dropout=0.1), generations=2, beta=0.05, evaluate_every=2, epochs=1)
    undisturbed = fit(job(recipe, folder=tmp_path / "undisturbed"), progress=heard)

    with pytest.raises(KeyboardInterrupt):
        fit(job(interrupting(recipe, after=40), folder=tmp_path / "killed"), progress=heard)
    resumed = fit(job(recipe, folder=tmp_path / "killed"), progress=heard)

    assert resumed.environment["resumed_from"] is not None
    assert timeless(resumed) == timeless(undisturbed)
    assert resumed.tokens == undisturbed.tokens
    assert file_sha256(resumed.folder / "adapter_model.safetensors") == file_sha256(
        undisturbed.folder / "adapter_model.safetensors"
    )


def test_a_broken_grader_ends_the_run_with_its_error(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    def broken(sample: Sample, answer: Answer) -> float:
        raise KeyError("lamp")

    with pytest.raises(StageFailed, match=r"the grader broken failed on 32 of 32 completions.*KeyError: 'lamp'"):
        fit(job(replace(_RECIPE, reward=broken)), progress=heard)


def test_without_dev_prompts_the_last_weights_are_kept_and_the_run_says_so(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    result = fit(job(replace(_RECIPE, generations=2, max_tokens=1, epochs=0.3), dev=()), progress=heard)
    assert logged(result, "dev_reward") == []
    assert statuses(result)["dev prompts that fit"] == "warning"


def test_prompts_that_leave_no_room_for_an_answer_end_the_run(job: Jobs, heard) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StageFailed, match="there is no prompt to answer: 24 of 24 train prompts leave no room"):
        fit(job(replace(_RECIPE, max_tokens=512)), progress=heard)


def test_groups_come_whole_and_once_a_part_and_every_prompt_each_time_round() -> None:
    order = list(Groups(3, prompts=2, generations=2, repeats=2, steps=3, seed=5))
    steps = [order[start : start + 8] for start in range(0, 24, 8)]
    assert all(step[:4] == step[4:] for step in steps)
    assert all(step[0] == step[1] and step[2] == step[3] for step in steps)
    rounds = [place for step in steps for place in step[:4:2]]
    assert [sorted(rounds[:3]), sorted(rounds[3:])] == [[0, 1, 2]] * 2
    assert list(Groups(3, prompts=2, generations=2, repeats=2, steps=3, seed=5)) == order
