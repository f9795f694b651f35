"""Several recipes beside one another: what each cost, which was chosen on DEV, what choosing cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.analysis.estimate import Estimate
from harness.errors import Incomparable
from harness.stats.compare import DEFAULT_LEVEL, Comparison, SystemScores, compare, standing
from harness.stats.wording import confidence, count, rounded
from harness.types.protocols import Direction, Named
from harness.types.samples import Split

# Recipes that the sentence names; of more the best and the last.
_NAMED = 6
_EQUAL = 1.1  # budgets that differ by at most a tenth


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgot:
    """What one recipe did to one guard on its DEV samples: the untuned model's mean, and tuned minus untuned."""

    guard: str
    better: Direction
    unit: str
    untuned: float
    difference: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One recipe. examples (with repeats), tokens and seconds: of training, the sum over its seeds.

    Args:
        gain: Tuned minus the best baseline, paired; None without one.
        trainable, total: Parameters.
        memory: Peak of the training process in bytes; None if it was not measured.
    """

    system: str
    mean: Estimate
    gain: Estimate | None = None
    trainable: int | None = None
    total: int | None = None
    memory: int | None = None
    forgot: tuple[Forgot, ...] = ()
    seeds: int
    examples: int
    tokens: int
    seconds: float
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Recipes, best first, by their mean on DEV.

    Args:
        baseline: What the gains are measured against.
        equal_budget: Examples seen differ by at most 10 % between the recipes.
        budget_ratio: Most over fewest.
        choosing_seconds, choosing_tokens: What was spent on the recipes that were not chosen.
        optimism: DEV mean minus holdout mean of the chosen recipe in the metric's good direction, since the winner
            of several was partly lucky; None before the holdout is opened, as is holdout_mean.
    """

    metric: str
    better: Direction
    unit: str
    level: float
    samples: int
    baseline: str | None = None
    rungs: tuple[Rung, ...]
    equal_budget: bool
    budget_ratio: float
    choosing_seconds: float
    choosing_tokens: int
    holdout_mean: Estimate | None
    optimism: Estimate | None
    sentence: str


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedRecipe:
    """One recipe's DEV scores and what its training took over all seeds; examples: seen, epochs counted.

    Args:
        trainable, total, memory, forgot: As in Rung.
    """

    scores: SystemScores
    examples: int
    tokens: int
    seconds: float
    trainable: int | None = None
    total: int | None = None
    memory: int | None = None
    forgot: tuple[Forgot, ...] = ()


def ladder(
    metric: Named,
    *,
    recipes: Sequence[TrainedRecipe],
    chosen: str,
    baseline: SystemScores | None = None,
    holdout: SystemScores | None = None,
) -> Ladder:
    """Set the recipes beside one another.

    Args:
        chosen: The name of the system that went to the holdout.
        holdout: Its scores there.
        baseline: DEV scores of the best baseline.

    Raises:
        Incomparable: If `chosen` is none of the recipes, or they were scored on different samples.
    """
    _check(metric, recipes, chosen)
    found = {recipe.scores.system: standing(metric, split=Split.DEV.value, system=recipe.scores) for recipe in recipes}
    sign = 1 if metric.better == "higher" else -1
    ranked = sorted(recipes, key=lambda recipe: -sign * found[recipe.scores.system].tuned_mean)
    gains = {
        recipe.scores.system: compare(metric, split=Split.DEV.value, baseline=baseline, tuned=recipe.scores)
        for recipe in recipes
        if baseline is not None
    }
    rungs = tuple(
        _rung(recipe, found[recipe.scores.system], gains.get(recipe.scores.system), chosen) for recipe in ranked
    )
    after = holdout and standing(metric, split=Split.HOLDOUT.value, system=holdout)
    others = [rung for rung in rungs if not rung.chosen]
    fewest, most = min(rung.examples for rung in rungs), max(rung.examples for rung in rungs)
    ratio = most / fewest if fewest else math.inf
    made = Ladder(
        metric=metric.name,
        better=metric.better,
        unit=found[chosen].unit,
        level=DEFAULT_LEVEL,
        samples=found[chosen].samples,
        baseline=None if baseline is None else baseline.system,
        rungs=rungs,
        equal_budget=ratio <= _EQUAL,
        budget_ratio=ratio,
        choosing_seconds=sum(rung.seconds for rung in others),
        choosing_tokens=sum(rung.tokens for rung in others),
        holdout_mean=_mean(after) if after else None,
        optimism=_optimism(_mean(found[chosen]), _mean(after), sign) if after else None,
        sentence="",
    )
    return replace(made, sentence=_sentence(made))


def _check(metric: Named, recipes: Sequence[TrainedRecipe], chosen: str) -> None:
    names = [recipe.scores.system for recipe in recipes]
    if chosen not in names:
        raise Incomparable(f"{metric.name}: {chosen} was chosen, which is none of {', '.join(names) or 'no recipes'}")
    for recipe in recipes:
        if recipe.scores.sample_ids != recipes[0].scores.sample_ids:
            raise Incomparable(
                f"{metric.name}: {names[0]} and {recipe.scores.system} were scored on different samples; "
                "score every recipe on the whole of dev, in its order"
            )


def _rung(recipe: TrainedRecipe, found: Comparison, gain: Comparison | None, chosen: str) -> Rung:
    return Rung(
        system=recipe.scores.system,
        mean=_mean(found),
        gain=None if gain is None else Estimate(gain.difference, gain.low, gain.high),
        trainable=recipe.trainable,
        total=recipe.total,
        memory=recipe.memory,
        forgot=recipe.forgot,
        seeds=found.seeds,
        examples=recipe.examples,
        tokens=recipe.tokens,
        seconds=recipe.seconds,
        chosen=recipe.scores.system == chosen,
    )


def _mean(found: Comparison) -> Estimate:
    return Estimate(found.tuned_mean, found.tuned_low, found.tuned_high)


def _optimism(dev: Estimate, holdout: Estimate, sign: int) -> Estimate:
    """Return sign * (dev - holdout) of two independent means, with the interval made from their own.

    Source: Zou and Donner, Construction of Confidence Limits About Effect Measures, Statistics in Medicine 27 (2008).
    """
    difference = dev.value - holdout.value
    low = difference - math.hypot(dev.value - dev.low, holdout.high - holdout.value)
    high = difference + math.hypot(dev.high - dev.value, holdout.value - holdout.low)
    return Estimate(sign * difference, *sorted((sign * low, sign * high)))


def _sentence(made: Ladder) -> str:
    chosen = next(rung for rung in made.rungs if rung.chosen)
    named = made.rungs if len(made.rungs) <= _NAMED else (*made.rungs[: _NAMED - 1], made.rungs[-1])
    means = [f"{rung.system} {rung.mean.as_mean(made.unit)}" for rung in named]
    if named != made.rungs:
        means[-1] = f"... {means[-1]}"
    budgets = "at an equal budget" if made.equal_budget else f"at budgets {made.budget_ratio:.1f} to 1 apart"
    raced = f"{made.metric} on DEV, {count(len(made.rungs), 'recipe')} {budgets}"
    parts = [f"{raced}: {', '.join(means)}; {chosen.system} was chosen."]
    if len(made.rungs) > 1:
        parts.append(
            f"Training those that were not chosen cost {rounded(made.choosing_seconds, unit='s')} and "
            f"{count(made.choosing_tokens, 'token')}."
        )
    if made.optimism is not None and made.holdout_mean is not None:
        on_holdout = rounded(made.holdout_mean.value, unit=made.unit)
        parts.append(
            f"On the holdout it has {on_holdout}: {_flattery(made.optimism)} {made.optimism.as_difference(made.unit)} "
            f"({confidence(made.level)} intervals)."
        )
    return " ".join(parts)


def _flattery(optimism: Estimate) -> str:
    """Return what the interval can carry, to be followed by it."""
    if optimism.low > 0:
        return "DEV flattered it by"
    return "DEV did not flatter it:" if optimism.high <= 0 else "whether DEV flattered it cannot be told:"
