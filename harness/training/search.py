"""A small search over a recipe's fields, judged on DEV: trials by optuna, half-finished ones pruned, the best kept.

What a search over a recipe's fields tries next: a space of ranges and choices, and the trials so far.
"""

import csv
import itertools
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.errors import InvalidExperiment, StageFailed
from harness.recipes import Trained
from harness.recipes.base import is_range
from harness.training.callbacks import CheckpointGoal
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress
from harness.types.samples import Check

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
class SearchTrial:
    """One trained recipe. tried: field -> value. value: the best evaluation, None if there was none.

    Args:
        along: Step -> evaluation, each the smaller the better.
        note: Why it failed.
        seconds: What it took in all.
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


def proposed(recipe: Trained, before: Sequence[SearchTrial], *, seed: int, number: int) -> optuna.trial.Trial:
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
    """Return every combination of choices; none if a field has a range."""
    if any(is_range(values) for _, values in recipe.space):
        return []
    names = [name for name, _ in recipe.space]
    places = itertools.product(*(range(len(values)) for _, values in recipe.space))
    return [dict(zip(names, found, strict=True)) for found in places]


def _study(before: Sequence[SearchTrial], space: Mapping[str, BaseDistribution], *, seed: int, number: int) -> Any:
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


def at_an_edge(recipe: Trained, chosen: SearchTrial) -> list[str]:
    """Return in words each number of the chosen trial that is the lowest or the highest of those it was chosen from."""
    said = []
    for name, values in recipe.space:
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        found = chosen.tried[name]
        if len(numbers) < len(values) or len(set(numbers)) < 2 or found not in (min(numbers), max(numbers)):
            continue
        said.append(f"{name}={found:.4g} is the {'lowest' if found == min(numbers) else 'highest'} that was searched")
    return said


class Judge(TrainerCallback):  # type: ignore[misc]
    """Reports each evaluation of a trial, and ends it if it is worse than the median of those before.

    Without a trial it ends nothing.
    """

    def __init__(self, trial: optuna.trial.Trial | None = None) -> None:
        self._trial = trial
        self.goal = CheckpointGoal()
        self.along: dict[int, float] = {}

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        for step, value in self.goal.points(state.log_history):
            if step not in self.along:
                self.along[step] = -value if self.goal.higher else value
                if self._trial is not None:
                    self._trial.report(self.along[step], step)
        if self._trial is not None and self._trial.should_prune():
            raise optuna.TrialPruned
        return control


Train = Callable[[TuneJob, Judge], TuneResult]


def search(job: TuneJob, train: Train, *, progress: Progress) -> TuneResult:
    """Return the best of `job.recipe.trials` recipes from its space, as `train` trained it, judged on DEV only.

    Trials are proposed by TPE from the trials before and the job's seed alone, so that the same seed tries the same
    recipes and a killed search goes on if it was. The result's tokens and seconds are those of all trials.

    Raises:
        StageFailed: If no trial came to an end, or there is nothing to judge by.
    """
    recipe = job.recipe
    assert isinstance(recipe, Trained)
    folder = job.folder / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    trials: list[SearchTrial] = []
    before = 0.0
    kept: tuple[int, TuneResult] | None = None
    for number in range(_trials(recipe)):
        stored = _stored(folder, recipe, number)
        if stored is not None:
            before += stored.seconds
        else:
            stored, result = _tried(job, recipe, trials, number, train)
            before += result.seconds_before if result else 0.0
            best = _best([*trials, stored])
            if result is not None and best is not None and best.number == number:
                if kept is not None:
                    shutil.rmtree(folder / str(kept[0]), ignore_errors=True)
                kept = number, result
            else:
                shutil.rmtree(folder / str(number), ignore_errors=True)
            _store(folder, stored)
        trials.append(stored)
        progress.say(f"trial {number + 1} of {_trials(recipe)}: {_said(stored)}")
    chosen = _best(trials)
    if chosen is None:
        raise StageFailed(
            f"none of the {len(trials)} trials of {recipe.name} came to an end: {trials[-1].note or 'all pruned'}; "
            "search a lower learning_rate, or fewer values"
        )
    if kept is None or kept[0] != chosen.number:  # an interrupted search lost what the best trial returned
        kept = chosen.number, train(_job_of(job, recipe, chosen.tried, folder / str(chosen.number)), Judge())
    return _finished(job, trials, chosen, replace(kept[1], seconds_before=before))


def _tried(
    job: TuneJob, recipe: Trained, before: Sequence[SearchTrial], number: int, train: Train
) -> tuple[SearchTrial, TuneResult | None]:
    trial = proposed(recipe, before, seed=job.seed, number=number)
    tried = values_of(recipe, trial.params)
    judge = Judge(trial)
    began = time.monotonic()

    def ended(state: State, *, result: TuneResult | None = None, note: str = "") -> SearchTrial:
        value = min(judge.along.values(), default=None)
        tokens, before = (result.tokens, result.seconds_before) if result else (0, 0.0)
        return SearchTrial(
            number=number, tried=tried, places=trial.params, state=state, value=value, along=judge.along,
            tokens=tokens, note=note, seconds=before + time.monotonic() - began,
        )  # fmt: skip

    try:
        result = train(_job_of(job, recipe, tried, job.folder / "trials" / str(number)), judge)
    except optuna.TrialPruned:
        return ended("pruned"), None
    except (StageFailed, InvalidExperiment) as error:
        return ended("failed", note=str(error)), None
    if not judge.along:
        raise StageFailed(f"{recipe.name}: a search is judged on dev examples, and there are none; give some")
    return ended("complete", result=result), result


def _trials(recipe: Trained) -> int:
    """Return how many trials there are: no more than combinations."""
    return min(recipe.trials or 0, len(combinations(recipe)) or recipe.trials or 0)


def _job_of(job: TuneJob, recipe: Trained, tried: Mapping[str, object], folder: Path) -> TuneJob:
    own = {declared.name for declared in fields(recipe)}
    adapter = replace(recipe.adapter, **{name: value for name, value in tried.items() if name not in own})  # type: ignore[type-var]
    mine: dict[str, Any] = {name: value for name, value in tried.items() if name in own}
    return replace(job, recipe=replace(recipe, search=None, trials=None, adapter=adapter, **mine), folder=folder)


def _best(trials: Sequence[SearchTrial]) -> SearchTrial | None:
    done = [one for one in trials if one.state == "complete" and one.value is not None]
    return min(done, key=lambda one: one.value or 0.0) if done else None


def _finished(job: TuneJob, trials: Sequence[SearchTrial], chosen: SearchTrial, result: TuneResult) -> TuneResult:
    """Move the chosen trial's system to its place, and write the table of all trials beside it."""
    folder = job.folder / "adapter"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(result.folder, folder)
    shutil.rmtree(job.folder / "trials")
    _write_table(job.folder / "trials.csv", trials)
    count = {state: sum(one.state == state for one in trials) for state in STATES}
    told = f"{len(trials)} trials ({count['pruned']} stopped early, {count['failed']} failed)"
    detail = f"{told}, judged on DEV only; kept trial {chosen.number + 1}: {_tried_text(chosen)}"
    assert isinstance(job.recipe, Trained)
    edges = at_an_edge(job.recipe, chosen)
    if edges:
        detail += f"; {' and '.join(edges)}: a wider range may hold a better one"
    rows = tuple([one.number + 1, _tried_text(one), one.state, one.value, one.note] for one in trials)
    return replace(
        result,
        folder=folder,
        checks=(*result.checks, Check(name="search", status="warning" if edges else "ok", detail=detail, items=rows)),
        tokens=sum(one.tokens for one in trials),
        environment={
            **result.environment,
            "trials": len(trials),
            "trials_pruned": count["pruned"],
            "trials_failed": count["failed"],
            **{f"chosen_{name}": _plain(value) for name, value in chosen.tried.items()},
        },
    )


def _write_table(path: Path, trials: Sequence[SearchTrial]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", *trials[0].tried, "state", "value", "tokens", "seconds", "note"])
        for one in trials:
            cells = [one.state, one.value, one.tokens, round(one.seconds, 1), one.note]
            writer.writerow([one.number + 1, *one.tried.values(), *cells])


def _said(one: SearchTrial) -> str:
    ended = {"complete": "", "pruned": ", stopped early", "failed": f", failed: {one.note}"}[one.state]
    value = "no evaluation" if one.value is None else f"{abs(one.value):.4g} on DEV"
    return f"{_tried_text(one)}: {value}{ended}"


def _tried_text(one: SearchTrial) -> str:
    return ", ".join(f"{name}={_plain(value)}" for name, value in one.tried.items())


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value if isinstance(value, int | bool) or value is None else str(value)


def _store(folder: Path, one: SearchTrial) -> None:
    """Keep a trial that has ended, whole or not at all."""
    unfinished = folder / f"{one.number}.unfinished"
    unfinished.write_text(json.dumps({**asdict(one), "tried": None}), encoding="utf-8")
    unfinished.rename(folder / f"{one.number}.json")


def _stored(folder: Path, recipe: Trained, number: int) -> SearchTrial | None:
    path = folder / f"{number}.json"
    if not path.is_file():
        return None
    read = json.loads(path.read_text(encoding="utf-8"))
    along = {int(step): value for step, value in read["along"].items()}
    return SearchTrial(**{**read, "along": along, "tried": values_of(recipe, read["places"])})
