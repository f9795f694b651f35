"""The recipes of one experiment side by side, as the page draws them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.drawing import IntervalDrawing, draw_interval, symmetric_axis
from harness.report.numbers import part_of, rounded_or_unknown
from harness.report.reading import finite


@dataclass(frozen=True, slots=True, kw_only=True)
class RungLine:
    """One recipe. trainable: in words, with its share of all. forgot: one entry a guard, None where none was asked."""

    rung: Mapping[str, Any]
    drawing: IntervalDrawing | None
    trainable: str
    forgot: tuple[Mapping[str, Any] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderView:
    """baseline: what gains are measured against. trainable, memory: whether any recipe has them.

    untuned: (guard, the untuned model's mean in words).
    """

    baseline: str | None
    trainable: bool
    memory: bool
    guards: tuple[str, ...]
    untuned: tuple[tuple[str, str], ...]
    lines: tuple[RungLine, ...]


def ladder_view(ladder: Mapping[str, Any] | None) -> LadderView | None:
    """Return the stored insight "ladder" ready to be drawn; one that an older version stored has fewer columns."""
    if not ladder:
        return None
    rungs: Sequence[Mapping[str, Any]] = ladder["rungs"]
    gains = [rung.get("gain") or {} for rung in rungs]
    axis = symmetric_axis(end for gain in gains for end in _ends(gain))
    asked = [forgot for rung in rungs for forgot in rung.get("forgot", ())]
    guards = tuple(dict.fromkeys(forgot["guard"] for forgot in asked))
    untuned = {forgot["guard"]: rounded_or_unknown(forgot["untuned"], forgot["unit"]) for forgot in asked}
    return LadderView(
        baseline=ladder.get("baseline"),
        trainable=any(rung.get("trainable") for rung in rungs),
        memory=any(rung.get("memory") for rung in rungs),
        guards=guards,
        untuned=tuple(untuned.items()),
        lines=tuple(
            RungLine(
                rung=rung,
                drawing=draw_interval(axis, *(finite(gain.get(end)) for end in ("low", "value", "high")))
                if gain
                else None,
                trainable=part_of(rung.get("trainable"), rung.get("total")),
                forgot=tuple(_of(rung, guard) for guard in guards),
            )
            for rung, gain in zip(rungs, gains, strict=True)
        ),
    )


def _ends(gain: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    return finite(gain.get("low")), finite(gain.get("value")), finite(gain.get("high"))


def _of(rung: Mapping[str, Any], guard: str) -> Mapping[str, Any] | None:
    return next((forgot for forgot in rung.get("forgot", ()) if forgot["guard"] == guard), None)
