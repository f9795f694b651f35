"""Training logs -> the curves of each recipe, one series a seed: rewards where it learns from them, else losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.reading import finite
from harness.store.rows import Evidence, StageRow, TrainingLogRow

_MOST_POINTS = 400
_REWARD = "reward"
_REWARDS = (_REWARD, "dev_reward")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRun:
    """One tune stage. best_step, best_dev_loss: the checkpoint that was kept; None where no dev loss was logged.

    best_dev_reward: the same of a method that learns from rewards, whose loss says nothing of how good it is.
    fitting, advice: what the log says of the fit, and what to try next; empty where it says nothing.
    """

    system: str
    seed: int
    steps: int
    first_loss: float | None
    last_loss: float | None
    best_step: int | None
    best_dev_loss: float | None
    seconds: float
    tokens: int
    trainable: str | None
    fitting: str = ""
    advice: str = ""
    best_dev_reward: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingChart:
    """points: [seed, series name, step, value]; best: [seed, step, dev loss or reward]. As JSON for the script."""

    system: str
    points: tuple[tuple[int, str, int, float], ...]
    best: tuple[tuple[int, int, float], ...]
    runs: tuple[TuneRun, ...]


def training_charts(evidence: Evidence) -> tuple[TrainingChart, ...]:
    """Return one chart a recipe that was tuned, in the order of the systems; of steps, one a step."""
    log: dict[str, list[TrainingLogRow]] = {}
    for row in evidence.training_log:
        log.setdefault(row.stage_key, []).append(row)
    stages = {stage.key: stage for stage in evidence.stages}
    runs: dict[tuple[str, str], list[tuple[int, StageRow]]] = {}
    for membership in evidence.memberships:
        if membership.kind == "tune" and membership.stage_key in stages:
            trained = (membership.system, membership.part)
            runs.setdefault(trained, []).append((membership.seed, stages[membership.stage_key]))
    fits = {
        str(row.content["stage"]): row.content
        for row in evidence.insights
        if row.kind == "fitting" and isinstance(row.content, Mapping)
    }
    return tuple(
        _chart(", ".join(filter(None, trained)), sorted(found, key=lambda run: run[0]), log, fits)
        for trained, found in runs.items()
    )


def _chart(
    system: str,
    runs: Sequence[tuple[int, StageRow]],
    log: Mapping[str, Sequence[TrainingLogRow]],
    fits: Mapping[str, Mapping[str, object]],
) -> TrainingChart:
    described = tuple(
        _run(system, seed, stage, log.get(stage.key, ()), fits.get(stage.key, {})) for seed, stage in runs
    )
    return TrainingChart(
        system=system,
        points=tuple(point for seed, stage in runs for point in _points(seed, log.get(stage.key, ()))),
        best=tuple(
            (run.seed, run.best_step, value)
            for run in described
            for value in (run.best_dev_loss, run.best_dev_reward)
            if run.best_step is not None and value is not None
        ),
        runs=described,
    )


def _points(seed: int, rows: Sequence[TrainingLogRow]) -> list[tuple[int, str, int, float]]:
    """Return the series that are drawn, thinned evenly to at most 400 points each, the last one kept."""
    points = []
    rewarded = any(row.name == _REWARD for row in rows)
    drawn = [row.name for row in rows if (row.name in _REWARDS if rewarded else row.name.endswith("loss"))]
    for name in dict.fromkeys(drawn):
        series = _series(rows, name)
        stride = -(-len(series) // _MOST_POINTS)
        kept = [place for place in range(len(series)) if place % stride == 0 or place == len(series) - 1]
        points += [(seed, name, series[place][0], round(series[place][1], 6)) for place in kept]
    return points


def _run(system: str, seed: int, stage: StageRow, rows: Sequence[TrainingLogRow], fit: Mapping[str, object]) -> TuneRun:
    losses, dev_losses, dev_rewards = (_series(rows, name) for name in ("loss", "dev_loss", "dev_reward"))
    environment = stage.environment if isinstance(stage.environment, Mapping) else {}
    best = _kept(dev_losses, environment.get("best_step"))
    rewarded = _kept(dev_rewards, environment.get("best_step"), higher=True)
    return TuneRun(
        system=system,
        seed=seed,
        steps=max((row.step for row in rows), default=0),
        first_loss=losses[0][1] if losses else None,
        last_loss=losses[-1][1] if losses else None,
        best_step=(rewarded or best or (None,))[0],
        best_dev_loss=best[1] if best else None,
        seconds=stage.seconds,
        tokens=stage.tokens_in + stage.tokens_out,
        trainable=_trainable(environment),
        fitting=str(fit.get("sentence", "")),
        advice=str(fit.get("advice", "")),
        best_dev_reward=rewarded[1] if rewarded else None,
    )


def _kept(points: Sequence[tuple[int, float]], step: object, *, higher: bool = False) -> tuple[int, float] | None:
    """Return the evaluation of the checkpoint that was kept: a metric may have chosen another than the loss would."""
    recorded = next((point for point in points if point[0] == step), None)
    return recorded or min(points, key=lambda point: -point[1] if higher else point[1], default=None)


def _series(rows: Sequence[TrainingLogRow], name: str) -> list[tuple[int, float]]:
    found = [(row.step, value) for row in rows if row.name == name and (value := finite(row.value)) is not None]
    return sorted(found)


def _trainable(environment: Mapping[str, object]) -> str | None:
    part, whole = environment.get("trainable_parameters"), environment.get("total_parameters")
    if not isinstance(part, int) or not isinstance(whole, int) or not whole:
        return None
    return f"{part:,} of {whole:,} ({part / whole:.2%})"
