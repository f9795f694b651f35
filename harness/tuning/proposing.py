"""What a search over a recipe's fields tries next: a space of ranges and choices, and the trials so far."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.recipes import Trained
from harness.recipes.looking import is_range

# Evaluations whose median a trial is held against come from at least this many trials.
_FIRST = 2
# Trials drawn at random before the estimator of good and bad recipes proposes any.
_RANDOM = 4
# A range that spans this factor is searched by its logarithm.
_WIDE = 10.0

State = Literal["complete", "pruned", "failed"]
STATES: dict[State, optuna.trial.TrialState] = {
    "complete": optuna.trial.TrialState.COMPLETE,
    "pruned": optuna.trial.TrialState.PRUNED,
    "failed": optuna.trial.TrialState.FAIL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trained recipe. tried: field -> value. value: the best evaluation, None where there was none.

    along: step -> evaluation, each the smaller the better. note: why it failed. seconds: what it took in all.
    """

    number: int
    tried: Mapping[str, object]
    places: Mapping[str, float | int]
    state: State
    value: float | None
    along: Mapping[int, float]
    tokens: int = 0
    note: str = ""
    seconds: float = 0.0


def proposed(recipe: Trained, before: Sequence[Trial], *, seed: int, number: int) -> optuna.trial.Trial:
    """Return a trial of what no earlier one tried: of choices alone there are so few that chance repeats them."""
    space = {name: _distribution(values) for name, values in recipe.space}
    trial: optuna.trial.Trial = _study(before, space, seed=seed, number=number).ask(space)
    if any(one.places == trial.params for one in before):
        untried = [places for places in combinations(recipe) if all(one.places != places for one in before)]
        if untried:
            study = _study(before, space, seed=seed, number=number)
            study.enqueue_trial(untried[seed % len(untried)])
            trial = study.ask(space)
    return trial


def combinations(recipe: Trained) -> list[dict[str, int]]:
    """Return every combination of choices; none where a field has a range."""
    if any(is_range(values) for _, values in recipe.space):
        return []
    names = [name for name, _ in recipe.space]
    places = itertools.product(*(range(len(values)) for _, values in recipe.space))
    return [dict(zip(names, found, strict=True)) for found in places]


def _study(before: Sequence[Trial], space: Mapping[str, BaseDistribution], *, seed: int, number: int) -> Any:
    """Return a study that has seen the trials `before`; its next proposal depends on them, seed and number alone."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed * 1_000_003 + number, n_startup_trials=_RANDOM),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST),
    )
    for one in before:
        study.add_trial(
            optuna.trial.create_trial(
                state=STATES[one.state],
                value=one.value if one.state == "complete" else None,
                params=dict(one.places),
                distributions=dict(space),
                intermediate_values=dict(one.along),
            )
        )
    return study


def _distribution(values: Sequence[object]) -> BaseDistribution:
    """Return a range of numbers, or the places of `values` to choose among."""
    if not is_range(values):
        return CategoricalDistribution(range(len(values)))
    low, high = values
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    wide = low > 0 and high / low >= _WIDE
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=wide)
    return FloatDistribution(float(low), float(high), log=wide)


def values_of(recipe: Trained, places: Mapping[str, float | int]) -> dict[str, object]:
    """Return what is tried: of a choice the value at the place that was drawn."""
    return {name: places[name] if is_range(values) else values[int(places[name])] for name, values in recipe.space}


def at_an_edge(recipe: Trained, chosen: Trial) -> list[str]:
    """Return in words each number of the chosen trial that is the lowest or the highest of those it was chosen from."""
    said = []
    for name, values in recipe.space:
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        found = chosen.tried[name]
        if len(numbers) < len(values) or len(set(numbers)) < 2 or found not in (min(numbers), max(numbers)):
            continue
        said.append(f"{name}={found:.4g} is the {'lowest' if found == min(numbers) else 'highest'} that was searched")
    return said
