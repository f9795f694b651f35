"""Training logs -> the curves of each recipe, one series a seed: its loss or reward, and what else tells of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.fit_diagnosis import Fitting
from harness.report.read import finite, insights_of
from harness.store.rows import Evidence, StageFacts, StageRow, TrainingLogRow

_MOST_POINTS = 400
# What is drawn below the loss or the reward where a method logs it, and how the axis says it.
_BESIDES = {"reward_accuracy": "share of pairs told apart", "kl": "KL from the reference model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRun:
    """One tune stage. best_step, best_dev_loss: the checkpoint that was kept; None if no dev loss was logged.

    Args:
        best_dev_reward: The same of a method that learns from rewards, whose loss says nothing of how good it is.
        fitting, advice: What the log says of the fit, and what to try next; empty if it says nothing.
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
class Panel:
    """One value of the log by step. points: (seed, step, value) of training and of DEV; best: of the kept step."""

    measure: str
    label: str
    train: tuple[tuple[int, int, float], ...]
    dev: tuple[tuple[int, int, float], ...]
    best: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingChart:
    """The panels of a recipe, the loss or the reward first; empty if nothing was logged.

    Args:
        also: The other recipes that the same training is a step of.
    """

    system: str
    panels: tuple[Panel, ...]
    runs: tuple[TuneRun, ...]
    also: tuple[str, ...] = ()


def training_charts(evidence: Evidence) -> tuple[TrainingChart, ...]:
    """Return one chart a recipe that was tuned, in the order of the systems; of steps, one a step, shared ones once."""
    log: dict[str, list[TrainingLogRow]] = {}
    for row in evidence.training_log:
        log.setdefault(row.stage_key, []).append(row)
    stages = {stage.key: stage for stage in evidence.stages}
    runs: dict[tuple[str, str], list[tuple[int, StageRow]]] = {}
    for membership in evidence.memberships:
        if membership.kind == "tune" and membership.stage_key in stages:
            trained = (membership.system, membership.part)
            runs.setdefault(trained, []).append((membership.seed, stages[membership.stage_key]))
    fits: dict[str, list[Fitting]] = {}
    for fit in insights_of(evidence).fitting:
        fits.setdefault(fit.stage, []).append(fit)
    shared: dict[tuple[str, ...], list[str]] = {}
    for trained, found in runs.items():
        found.sort(key=lambda run: run[0])
        shared.setdefault(tuple(stage.key for _, stage in found), []).append(", ".join(filter(None, trained)))
    stages_of = {tuple(stage.key for _, stage in found): found for found in runs.values()}
    return tuple(_chart(names, stages_of[keys], log, fits) for keys, names in shared.items())


def _chart(
    names: Sequence[str],
    runs: Sequence[tuple[int, StageRow]],
    log: Mapping[str, Sequence[TrainingLogRow]],
    fits: Mapping[str, Sequence[Fitting]],
) -> TrainingChart:
    system, *also = names

    def fit(stage: StageRow) -> Fitting | None:
        judged = fits.get(stage.key, ())
        return next((one for one in judged if system.startswith(one.system)), judged[0] if judged else None)

    described = tuple(_run(system, seed, stage, log.get(stage.key, ()), fit(stage)) for seed, stage in runs)
    logs = [(run.seed, run.best_step, log.get(stage.key, ())) for run, (_, stage) in zip(described, runs, strict=True)]
    named = {row.name for _, _, rows in logs for row in rows}
    measures = {"reward": "reward (mean)"} if "reward" in named else {"loss": "loss (nats a token)"}
    watched = {str(name): f"{name} (watched)" for _, stage in runs if (name := stage.facts.watched)}
    panels = [_panel(measure, label, logs) for measure, label in {**measures, **_BESIDES, **watched}.items()]
    return TrainingChart(
        system=system,
        panels=tuple(panel for panel in panels if panel.train or panel.dev),
        runs=described,
        also=tuple(also),
    )


def _panel(measure: str, label: str, logs: Sequence[tuple[int, int | None, Sequence[TrainingLogRow]]]) -> Panel:
    train = [(seed, _series(rows, measure)) for seed, _, rows in logs]
    dev = [(seed, best, _series(rows, f"dev_{measure}")) for seed, best, rows in logs]
    return Panel(
        measure=measure,
        label=label,
        train=tuple((seed, *point) for seed, series in train for point in _thinned(series)),
        dev=tuple((seed, *point) for seed, _, series in dev for point in _thinned(series)),
        best=tuple((seed, *point) for seed, best, series in dev for point in series if point[0] == best),
    )


def _thinned(series: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most 400 points, evenly thinned, the last one kept."""
    stride = -(-len(series) // _MOST_POINTS)
    return [
        (step, round(value, 6))
        for place, (step, value) in enumerate(series)
        if place % stride == 0 or place == len(series) - 1
    ]


def _run(system: str, seed: int, stage: StageRow, rows: Sequence[TrainingLogRow], fit: Fitting | None) -> TuneRun:
    losses, dev_losses, dev_rewards = (_series(rows, name) for name in ("loss", "dev_loss", "dev_reward"))
    facts = stage.facts
    best = _kept(dev_losses, facts.best_step)
    rewarded = _kept(dev_rewards, facts.best_step, higher=True)
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
        trainable=_trainable(facts),
        fitting=fit.sentence if fit else "",
        advice=fit.advice if fit else "",
        best_dev_reward=rewarded[1] if rewarded else None,
    )


def _kept(points: Sequence[tuple[int, float]], step: int | None, *, higher: bool = False) -> tuple[int, float] | None:
    """Return the evaluation of the checkpoint that was kept: a metric may have chosen another than the loss would."""
    recorded = next((point for point in points if point[0] == step), None)
    return recorded or min(points, key=lambda point: -point[1] if higher else point[1], default=None)


def _series(rows: Sequence[TrainingLogRow], name: str) -> list[tuple[int, float]]:
    found = [(row.step, value) for row in rows if row.name == name and (value := finite(row.value)) is not None]
    return sorted(found)


def _trainable(facts: StageFacts) -> str | None:
    part, whole = facts.trainable_parameters, facts.total_parameters
    if part is None or not whole:
        return None
    return f"{part:,} of {whole:,} ({part / whole:.2%})"
