"""What training on rewards checks, each with the fault that it is there to find."""

from pathlib import Path

import pytest

from harness.inference.models.loading import load_tokenizer
from harness.training.rl.checks import ends_check, flat_reward, prompts_check, varies_check
from harness.training.rows import make_rows
from harness.types.models import Model
from harness.types.samples import Example, Message


def steps(*clipped: float, same: float = 0.0, reward: float = 0.5) -> list[dict[str, float]]:
    return [
        {"loss": 0.0, "completions/clipped_ratio": share, "frac_reward_zero_std": same, "reward": reward}
        for share in clipped
    ]


@pytest.mark.parametrize(
    ("clipped", "status", "said"),
    [
        ((0.0, 0.125), "ok", "1 of 16 completions (6%) were cut at 9 tokens before their end token <end>"),
        (
            (0.0, 0.25),
            "warning",
            "2 of 16 completions (12%) were cut at 9 tokens before their end token <end>; raise max_tokens, or teach "
            "it to end with SFT first",
        ),
        (
            (1.0, 1.0),
            "invalid",
            "none of 16 completions ended with <end> within 9 tokens: the model never stops, and its rewards are those "
            "of answers cut off; raise max_tokens, or teach it to end with SFT first",
        ),
    ],
)
def test_completions_that_do_not_end_are_counted(clipped: tuple[float, ...], status: str, said: str) -> None:
    check = ends_check(steps(*clipped), answers=8, most=9, end="<end>")
    assert (check.name, check.status, check.detail) == ("completions end", status, said)


def test_rewards_without_any_difference_are_said_with_the_remedy() -> None:
    flat = steps(*[0.0] * 5, same=1.0, reward=0.0)
    assert flat_reward(flat[:4]) is None
    assert flat_reward([*flat[:4], *steps(0.0, same=0.5)]) is None
    check = varies_check(flat)
    assert check.status == "warning"
    assert check.detail == (
        "in the first 5 steps all answers to a prompt had the same reward (0), so nothing was learned from them; give "
        "a reward that grades, such as JsonFields(), or warm the model up with supervised tuning first, as in "
        "Steps([SFT(...), GRPO(...)])"
    )


def test_rewards_that_differ_are_ok_and_the_share_of_flat_groups_is_told() -> None:
    check = varies_check(steps(0.0, 0.0, same=0.25))
    assert (check.status, check.detail[:26]) == ("ok", "in 25% of the groups all a")


def test_a_prompt_that_the_trainer_renders_otherwise_is_found(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(Model(str(tiny_model)))
    rows = make_rows(tokenizer, [Example(id="a", prompt=(Message("user", "red"),), answer="green")])
    served = list(rows[0].prompt)

    assert prompts_check([served], rows, tokenizer).status == "ok"
    doubled = prompts_check([[tokenizer.bos_token_id, *served]], rows, tokenizer)
    assert doubled.status == "invalid"
    assert doubled.detail == (
        "1 of 1 training prompts differ from what is served; a: the prompt begins with a double BOS"
    )
    bare = tokenizer("red", add_special_tokens=False)["input_ids"]
    assert "the chat template is bypassed" in prompts_check([bare], rows, tokenizer).detail
