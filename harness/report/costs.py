"""Tokens, seconds and money of each system, added up from its stages."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.read import DEV, chosen, directions, duration, finite, main_stages, primary_metric, units_of
from harness.stats.wording import FRACTION, count
from harness.store.rows import Evidence, StageRow, SystemRow

_PRICE_UNIT_TOKENS = 1_000_000
_ANSWER_KINDS = ("answer", "likelihood")
_SECONDS_SHOWN = 0.1  # less is the clock's, and no training


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one system took. money: in the currency of the declared prices, None if no price is known.

    training_*: over all seeds. answers: answers stored; answer_*: for all of them.
    """

    system: str
    role: str
    training_runs: int
    training_seconds: float
    training_tokens: int
    answers: int
    answer_seconds: float
    tokens_in: int
    tokens_out: int
    money: float | None

    @property
    def tokens_in_per_answer(self) -> float | None:
        return self.tokens_in / self.answers if self.answers else None

    @property
    def tokens_out_per_answer(self) -> float | None:
        return self.tokens_out / self.answers if self.answers else None

    @property
    def seconds_per_answer(self) -> float | None:
        return self.answer_seconds / self.answers if self.answers else None

    @property
    def money_per_thousand_answers(self) -> float | None:
        return None if self.money is None or not self.answers else 1000 * self.money / self.answers


def spendings(evidence: Evidence) -> tuple[Spending, ...]:
    """Return one row a system, in the order of the systems."""
    answers: dict[str, int] = {}
    for row in evidence.answers:
        answers[row.stage_key] = answers.get(row.stage_key, 0) + 1
    main = {row.stage_key for row in main_stages(evidence)}
    served = {key: number for key, number in answers.items() if key in main}
    return tuple(_spending(system, stages_of(evidence, system.system), served) for system in evidence.systems)


def stages_of(evidence: Evidence, system: str) -> tuple[StageRow, ...]:
    """Return the stages on which this experiment's `system` stands, also those another experiment ran."""
    keys = {row.stage_key for row in evidence.memberships if row.system == system}
    return tuple(stage for stage in evidence.stages if stage.key in keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """own: seconds of one training of the chosen recipe, the mean of its `seeds`; None if none was chosen.

    Args:
        others: Seconds of the experiment's other trainings, those of other recipes and of the learning curve.
    """

    own: float | None
    seeds: int
    others: float

    @property
    def total(self) -> float:
        return (self.own or 0.0) * self.seeds + self.others

    @property
    def text(self) -> str:
        """Return "trained in 2 min 02 s; other trainings took 1 min 16 s"; nothing if nothing was trained."""
        mean = f", mean of {count(self.seeds, 'seed')}" if self.seeds > 1 else ""
        said = [] if self.own is None else [f"trained in {duration(self.own)}{mean}"]
        if self.others >= _SECONDS_SHOWN:
            said.append(f"{'other ' if said else ''}trainings took {duration(self.others)}")
        return "; ".join(said)


def training_cost(evidence: Evidence) -> TrainingCost:
    """Return what training the chosen system took, apart from what else was trained to choose and to explain."""
    every = sum(stage.seconds for stage in evidence.stages if stage.kind == "tune")
    system = chosen(evidence, "tuned")
    own = [stage for stage in stages_of(evidence, system.system) if stage.kind == "tune"] if system else []
    if not own:
        return TrainingCost(own=None, seeds=0, others=every)
    seeds, seconds = len({stage.seed for stage in own}), sum(stage.seconds for stage in own)
    return TrainingCost(own=seconds / seeds, seeds=seeds, others=every - seconds)


def all_tokens(evidence: Evidence) -> int:
    """Return the tokens of every stage, training included."""
    return sum(stage.tokens_in + stage.tokens_out for stage in evidence.stages)


def serving_chart(evidence: Evidence, spent: Sequence[Spending]) -> dict[str, object] | None:
    """Return what the page's script draws: the primary metric on DEV against tokens for one answer.

    None if fewer than two systems have both.
    """
    metric = primary_metric(evidence)
    means = {row.system: row for row in evidence.system_means if (row.metric, row.split) == (metric, DEV)}
    points = [
        {
            "system": row.system,
            "role": row.role,
            "tokens": round(row.tokens_in_per_answer + (row.tokens_out_per_answer or 0), 1),
            "mean": finite(means[row.system].mean),
            "low": finite(means[row.system].low),
            "high": finite(means[row.system].high),
        }
        for row in spent
        if row.tokens_in_per_answer and row.system in means and finite(means[row.system].mean) is not None
    ]
    if metric is None or len(points) < 2:
        return None
    percent = units_of(evidence).get(metric) == FRACTION
    return {"metric": metric, "better": directions(evidence)[metric], "percent": percent, "points": points}


def _spending(system: SystemRow, stages: Sequence[StageRow], answers: dict[str, int]) -> Spending:
    training = [stage for stage in stages if stage.kind == "tune"]
    # Scoring the reference's likelihood costs tokens too, but serving never pays them.
    answering = [stage for stage in stages if stage.kind in _ANSWER_KINDS and answers.get(stage.key)]
    tokens_in = sum(stage.tokens_in for stage in answering)
    tokens_out = sum(stage.tokens_out for stage in answering)
    return Spending(
        system=system.system,
        role=system.role,
        training_runs=len(training),
        training_seconds=sum(stage.seconds for stage in training),
        training_tokens=sum(stage.tokens_in + stage.tokens_out for stage in training),
        answers=sum(answers[stage.key] for stage in answering),
        answer_seconds=sum(stage.seconds for stage in answering),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        money=_money(system, tokens_in, tokens_out),
    )


def _money(system: SystemRow, tokens_in: int, tokens_out: int) -> float | None:
    if system.price_in is None and system.price_out is None:
        return None
    return ((system.price_in or 0) * tokens_in + (system.price_out or 0) * tokens_out) / _PRICE_UNIT_TOKENS
