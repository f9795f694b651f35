"""Another recipe that gains as much and harms a guard less: what a race of recipes says beside its winner."""

from collections.abc import Iterator, Mapping

from harness.insights.estimate import Estimate
from harness.insights.situation import Content, Situation, moved_by, number
from harness.stats.wording import mean_text

_ROUNDING = 1e-9


def gentler(situation: Situation) -> Iterator[str]:
    """Yield, for each guard that is not kept, the recipe that harms it least among those as good on DEV.

    As good: of shares, its mean on DEV is worse by one sample at most; of other metrics, by nothing. Less: the whole
    interval of what it did to the guard lies on the better side of the chosen one's.
    """
    race = situation.insight("ladder")
    rungs = _parts(race, "rungs") if race is not None else []
    chosen = next((rung for rung in rungs if rung.get("chosen")), None)
    if race is None or chosen is None:
        return
    unit = str(race.get("unit", ""))
    rivals = [rung for rung in rungs if rung is not chosen and _as_good(race, rung, chosen)]
    for finding in (*situation.failing("failed"), *situation.failing("open")):
        mine = _harm(chosen, finding.metric)
        harms = [(rung, found) for rung in rivals if (found := _harm(rung, finding.metric)) is not None]
        lower = finding.good_side == "below"
        less = [
            (harm.value if lower else -harm.value, str(rung["system"]), rung, harm)
            for rung, harm in harms
            if mine is not None and (harm.high < mine.low if lower else harm.low > mine.high)
        ]
        if mine is not None and less:
            _, name, rung, harm = min(less, key=lambda one: one[:2])
            yield (
                f"Try {name} in place of {chosen['system']}: on DEV its {race['metric']} is {_mean(rung, unit)} "
                f"beside {_mean(chosen, unit)}, and it moves {finding.metric} by {harm.as_difference(finding.unit)} "
                f"in place of {mine.as_difference(finding.unit)}."
            )


def _as_good(race: Content, rung: Content, chosen: Content) -> bool:
    own, best = moved_by(rung, "mean"), moved_by(chosen, "mean")
    if own is None or best is None:
        return False
    short = best.value - own.value if race.get("better") == "higher" else own.value - best.value
    sample = 1 / max(1.0, number(race, "samples", missing=1.0)) if race.get("unit") == "%" else 0.0
    return short <= sample + _ROUNDING


def _harm(rung: Content, guard: str) -> Estimate | None:
    found = next((one for one in _parts(rung, "forgot") if one.get("guard") == guard), None)
    return None if found is None else moved_by(found, "difference")


def _mean(rung: Content, unit: str) -> str:
    found = moved_by(rung, "mean")
    return "unknown" if found is None else mean_text(found.value, found.low, found.high, unit=unit)


def _parts(content: Content, name: str) -> list[Mapping[str, object]]:
    value = content.get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []
