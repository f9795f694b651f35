"""What the evidence says beside the verdict: which kinds of insight there are, and the class of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import get_args, get_type_hints

from harness.analysis.break_even import Payback
from harness.analysis.continual import Continual
from harness.analysis.endings import Endings
from harness.analysis.fit_diagnosis import Fitting
from harness.analysis.forgetting import Retention
from harness.analysis.holdout_ledger import HoldoutLedger
from harness.analysis.holdout_power import EnoughEvidence
from harness.analysis.learning_curve import LearningCurve
from harness.analysis.noise_floor import NoiseFloor
from harness.analysis.preference import Trainings, WinRates
from harness.analysis.recipe_ranking import Ladder
from harness.analysis.retrieval_table import FourWay
from harness.analysis.safety import SafetyTable
from harness.analysis.sequential import StoppedEarly
from harness.types.codec import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """Each field is a kind of insight, under the name that the store has for it; None or empty if there is none.

    Attributes:
        evidence: Whether the holdout is large enough.
        endings: How the answers of each system ended.
        noise: The noise floor of each metric.
        fitting: What the log of each training says.
    """

    evidence: EnoughEvidence | None = None
    endings: tuple[Endings, ...] = ()
    noise: tuple[NoiseFloor, ...] = ()
    fitting: tuple[Fitting, ...] = ()
    curve: LearningCurve | None = None
    four_way: FourWay | None = None
    ladder: Ladder | None = None
    continual: tuple[Continual, ...] = ()
    ledger: HoldoutLedger | None = None
    sequential: StoppedEarly | None = None
    preference: WinRates | None = None
    trainings: Trainings | None = None
    break_even: Payback | None = None
    retention: Retention | None = None
    safety: SafetyTable | None = None


def kind_of(insight: object) -> str:
    """Return the name under which the store keeps an insight of this class."""
    return next(kind for kind, (made, _) in _kinds().items() if made is type(insight))


def stored_insights(rows: Iterable[tuple[str, object]]) -> Insights:
    """Return what was stored as (kind, JSON object); of a kind that comes once the last one counts."""
    found: dict[str, object] = {}
    for kind, content in rows:
        if kind in _kinds() and isinstance(content, Mapping):
            made, several = _kinds()[kind]
            insight: object = from_json(made, content)
            before = found.setdefault(kind, ())
            found[kind] = (*before, insight) if several and isinstance(before, tuple) else insight
    return Insights(**found)  # type: ignore[arg-type]


@cache
def _kinds() -> Mapping[str, tuple[type, bool]]:
    """Return the class of each kind, and whether it comes several times."""
    hints = get_type_hints(Insights)
    return {kind: (get_args(hint)[0], get_args(hint)[1] is Ellipsis) for kind, hint in hints.items()}
