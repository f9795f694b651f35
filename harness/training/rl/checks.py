"""What training on rewards checks: prompts as served, answers that end, rewards that tell answers apart."""

from collections.abc import Sequence
from typing import Any

from harness.inference.models.rendering import prompt_ids
from harness.training.callbacks import History
from harness.training.rows import TokenizedRow, prompt_fault
from harness.types.samples import Check

CLIPPED, SAME, REWARD = "completions/clipped_ratio", "frac_reward_zero_std", "reward"
# Most clipped completions that are passed over.
_CLIPPED = 0.1
# Steps without any difference between rewards after which the run says so.
_FLAT_STEPS = 5
_REMEDY = (
    "give a reward that grades, such as JsonFields(), or warm the model up with supervised tuning first, as in "
    "Steps([SFT(...), GRPO(...)])"
)


def prompts_check(fed: Sequence[Sequence[int]], rows: Sequence[TokenizedRow], serving: Any) -> Check:
    """Return the check "prompt parity": what the trainer generates from equals the served prompt, token by token.

    Args:
        fed: The tokens that the trainer makes of each row's prompt.
        serving: The tokenizer that serves.
    """
    faults = [
        {"id": row.example.id, "fault": prompt_fault(tuple(ids), row.example.prompt, serving)}
        for ids, row in zip(fed, rows, strict=True)
        if list(ids) != prompt_ids(serving, row.example.prompt)
    ]
    if not faults:
        return Check(
            name="prompt parity",
            status="ok",
            detail=f"all {len(rows):,} training prompts have the served prompt's tokens",
        )
    detail = (
        f"{len(faults):,} of {len(rows):,} training prompts differ from what is served; "
        f"{faults[0]['id']}: {faults[0]['fault']}"
    )
    return Check(name="prompt parity", status="invalid", detail=detail, items=tuple(faults[:20]))


def ends_check(history: History, *, answers: int, most: int, end: str) -> Check:
    """Return the check of how many completions ended by themselves. answers: drawn a step. most: tokens of one."""
    shares = [float(entry[CLIPPED]) for entry in history if entry.get(CLIPPED) is not None]
    drawn = answers * len(shares)
    cut = round(sum(shares) * answers)
    name = "completions end"
    if drawn and cut == drawn:
        return Check(
            name=name,
            status="invalid",
            detail=f"none of {drawn:,} completions ended with {end} within {most} tokens: the model never stops, and "
            "its rewards are those of answers cut off; raise max_tokens, or teach it to end with SFT first",
        )
    share = cut / drawn if drawn else 0.0
    said = f"{cut:,} of {drawn:,} completions ({share:.0%}) were cut at {most} tokens before their end token {end}"
    if share > _CLIPPED:
        return Check(name=name, status="warning", detail=f"{said}; raise max_tokens, or teach it to end with SFT first")
    return Check(name=name, status="ok", detail=said)


def flat_reward(history: History) -> str | None:
    """Return in words that the first rewards taught nothing, None if some differ or steps are yet to come."""
    steps = [entry for entry in history if entry.get(SAME) is not None][:_FLAT_STEPS]
    if len(steps) < _FLAT_STEPS or any(float(entry[SAME]) < 1 for entry in steps):
        return None
    values = [float(entry[REWARD]) for entry in steps]
    said = f"{values[0]:g}" if min(values) == max(values) else f"{min(values):g} to {max(values):g}"
    return (
        f"in the first {_FLAT_STEPS} steps all answers to a prompt had the same reward ({said}), so nothing was "
        f"learned from them; {_REMEDY}"
    )


def flat_now(history: History) -> bool:
    """Tell whether the newest entry is the one that makes `flat_reward` speak."""
    told = sum(entry.get(SAME) is not None for entry in history)
    return told == _FLAT_STEPS and history[-1].get(SAME) is not None and flat_reward(history) is not None


def varies_check(history: History) -> Check:
    """Return the check that rewards tell answers apart."""
    fact = flat_reward(history)
    if fact is not None:
        return Check(name="reward varies", status="warning", detail=fact)
    shares = [float(entry[SAME]) for entry in history if entry.get(SAME) is not None]
    share = sum(shares) / len(shares) if shares else 0.0
    detail = f"in {share:.0%} of the groups all answers had the same reward, from which nothing is learned"
    return Check(name="reward varies", status="ok", detail=detail)
