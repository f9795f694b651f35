"""What a training log says of the fit: overfitting, underfitting, too high a rate, known by heart; and what next."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

FittingKind = Literal["unstable", "nothing learned", "memorised", "overfitting", "underfitting", "converged"]
Series = Sequence[tuple[int, float]]

# A step's loss is a spike above this multiple of the median of the steps before it.
_SPIKE, _BEFORE = 2.0, 8
# Spikes are the rate's fault from this share of the steps on.
_OFTEN = 0.05
# The dev loss has risen for good above its lowest by this share; and is still falling where the last evaluation took
# off this share of all that was won.
_RISEN, _STILL = 0.05, 0.05
# Less than this share of the first loss won is nothing; a train loss below this is known by heart.
_NOTHING, _BY_HEART = 0.02, 0.05
# The dev loss over the train loss, above which what is known by heart does not carry over.
_APART = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """One training run judged by its losses. stage: key of its tune stage.

    Args:
        first_dev, best_dev, last_dev: Dev losses, or the watched metric turned so that less is better.
        train_at_best, last_train: Train losses as means over neighbouring steps.
        spikes: Steps far above those before them.
        advice: For the next run.
        recipe: The system that it belongs to, whichever step of it this is.
        learning_rate: As trained.
        suggested_rate: The middle of the adapter's usual range; None if unknown.
    """

    stage: str
    system: str
    seed: int
    kind: FittingKind
    steps: int
    best_step: int
    first_dev: float
    best_dev: float
    last_dev: float
    train_at_best: float
    last_train: float
    spikes: int
    sentence: str
    advice: str
    recipe: str = ""
    learning_rate: float | None = None
    suggested_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """The numbers that the words stand on."""

    steps: int
    best_step: int
    first_dev: float
    best_dev: float
    before_last: float
    last_dev: float
    first_train: float
    train_at_best: float
    last_train: float
    spikes: int

    @property
    def won(self) -> float:
        return self.first_dev - self.best_dev


def fitting(*, stage: str, system: str, seed: int, train: Series, dev: Series) -> Fitting | None:
    """Return what the losses of one run say; None if fewer than three steps or no evaluation was logged.

    With fewer than three evaluations only a training that learned nothing can be told.
    train, dev: (step, loss), in order. The thresholds are rules of thumb, and the sentence gives the numbers.
    """
    if not dev or len(train) < 3:
        return None
    facts = _facts(train, dev)
    kind = _kind(facts)
    if len(dev) < 3 and kind != "nothing learned":
        return None
    said, advice = _words(kind, facts)
    return Fitting(
        stage=stage,
        system=system,
        seed=seed,
        kind=kind,
        steps=facts.steps,
        best_step=facts.best_step,
        first_dev=facts.first_dev,
        best_dev=facts.best_dev,
        last_dev=facts.last_dev,
        train_at_best=facts.train_at_best,
        last_train=facts.last_train,
        spikes=facts.spikes,
        sentence=f"{system}, seed {seed}: {said}.",
        advice=advice,
    )


def _facts(train: Series, dev: Series) -> _Facts:
    best_step, best = min(dev, key=lambda point: point[1])
    return _Facts(
        steps=train[-1][0],
        best_step=best_step,
        first_dev=dev[0][1],
        best_dev=best,
        before_last=dev[-2][1] if len(dev) > 1 else dev[-1][1],
        last_dev=dev[-1][1],
        first_train=_around(train, train[0][0]),
        train_at_best=_around(train, best_step),
        last_train=_around(train, train[-1][0]),
        spikes=_spikes([loss for _, loss in train]),
    )


def _kind(facts: _Facts) -> FittingKind:
    if facts.spikes > max(1, _OFTEN * facts.steps):
        return "unstable"
    if max(facts.won, facts.first_train - facts.last_train) < _NOTHING * abs(facts.first_dev):
        return "nothing learned"
    risen = facts.last_dev > facts.best_dev + _RISEN * abs(facts.best_dev)
    if facts.last_train < _BY_HEART and facts.last_dev > max(_APART * facts.last_train, _BY_HEART):
        return "memorised"
    if risen and facts.last_train < facts.train_at_best:
        return "overfitting"
    if facts.best_dev == facts.last_dev and facts.before_last - facts.last_dev > _STILL * facts.won:
        return "underfitting"
    return "converged"


def _words(kind: FittingKind, facts: _Facts) -> tuple[str, str]:
    """Return what was seen, with its numbers, and what to try next."""
    dev = f"{facts.first_dev:.3g} at the first evaluation, {facts.best_dev:.3g} at step {facts.best_step}"
    end = f"{facts.last_dev:.3g} at the last"
    if kind == "unstable":
        return (
            f"{facts.spikes} of {facts.steps} steps cost more than twice what the steps before them did: the learning "
            f"rate is too high (dev loss {dev}, {end})",
            "lower learning_rate, a third is a good start, or give more warmup",
        )
    if kind == "nothing learned":
        return (
            f"the losses hardly moved: dev loss {dev}, {end}; train loss {facts.first_train:.3g} to "
            f"{facts.last_train:.3g}",
            'raise learning_rate, or let learning_rate="find" look for it',
        )
    if kind == "memorised":
        return (
            f"the training answers are known by heart, train loss {facts.last_train:.3g}, which does not carry over: "
            f"dev loss {facts.last_dev:.3g}",
            "give more or more varied examples, fewer epochs, or a smaller rank",
        )
    if kind == "overfitting":
        return (
            f"it overfits after step {facts.best_step} of {facts.steps}: the dev loss rises from {facts.best_dev:.3g} "
            f"to {facts.last_dev:.3g} while the train loss falls from {facts.train_at_best:.3g} to "
            f"{facts.last_train:.3g}; the weights of step {facts.best_step} were kept",
            "give fewer epochs, more examples, or dropout",
        )
    if kind == "underfitting":
        return (
            f"it was still learning when it ended: dev loss {dev}, and the last evaluation alone brought "
            f"{facts.before_last - facts.last_dev:.2g}",
            "give more epochs, or a higher learning_rate",
        )
    return f"it has learned what it could: dev loss {dev}, {end}", "more epochs will bring little; more examples may"


def _around(train: Series, step: int) -> float:
    """Return the mean train loss of the tenth of the steps around `step`."""
    reach = max(1, len(train) // 20)
    place = min(range(len(train)), key=lambda at: abs(train[at][0] - step))
    return fmean(loss for _, loss in train[max(0, place - reach) : place + reach + 1])


def _spikes(losses: Sequence[float]) -> int:
    return sum(
        losses[at] > _SPIKE * median(losses[at - _BEFORE : at]) and losses[at] > _BY_HEART
        for at in range(_BEFORE, len(losses))
    )
