"""The holdout ledger: how often a holdout was looked at, and the alpha that each look spent."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import Incomparable
from harness.stats.multiplicity import spent_alpha
from harness.stats.wording import confidence, count, rounded

_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutLedger:
    """Where this candidate's look stands among the distinct candidates of one holdout.

    Args:
        look: 1 for the first candidate.
        alpha: Two-sided, that of this look's interval; level = 1 - alpha.
        spent, left: One-sided, the chance of a false GO over the looks up to this one, and what is left of `total`.
        others: The other candidates, in the order of their first looks.
    """

    candidate: str
    look: int
    alpha: float
    level: float
    total: float
    spent: float
    left: float
    others: tuple[str, ...]
    sentence: str


def holdout_ledger(candidate: str, candidates: Mapping[str, str], *, alpha: float = 0.05) -> HoldoutLedger:
    """Return what the look of `candidate` may claim.

    Args:
        candidate: Its key.
        candidates: Key -> name of every distinct candidate that met this holdout, in the order of their first
            looks, this one among them.
        alpha: Two-sided, of the first look.

    Raises:
        Incomparable: If the candidate is none of them.
    """
    keys = list(candidates)
    if candidate not in candidates:
        raise Incomparable(f"candidate {candidate!r} has not looked at this holdout; record the look first")
    look = keys.index(candidate) + 1
    own = spent_alpha(look, alpha)
    spent = sum(spent_alpha(place, alpha) for place in range(1, look + 1)) / 2  # a gain errs on one side only
    others = tuple(name for key, name in candidates.items() if key != candidate)
    name = candidates[candidate]
    return HoldoutLedger(
        candidate=name,
        look=look,
        alpha=own,
        level=1 - own,
        total=alpha,
        spent=spent,
        left=alpha - spent,
        others=others,
        sentence=_sentence(name, look, own, (spent, alpha), others),
    )


def _sentence(name: str, look: int, own: float, budget: tuple[float, float], others: tuple[str, ...]) -> str:
    spent, total = (rounded(share, unit="%") for share in budget)
    if look == 1:
        first = f"{name} is the first candidate to meet this holdout: its intervals are at {confidence(1 - own)}."
    else:
        before = others[: look - 1]
        named = ", ".join(before[:_NAMED_AT_MOST]) + (", ..." if len(before) > _NAMED_AT_MOST else "")
        first = (
            f"{name} is candidate {look} on this holdout, after {named}: chance has had {count(look, 'try')}, so its "
            f"intervals are at {confidence(1 - own)}."
        ).replace("trys", "tries")
    later = len(others) - look + 1
    since = f" {count(later, 'candidate')} came later." if later > 0 else ""
    return f"{first} A false GO among all candidates so far has a chance of at most {spent}, of {total} in all.{since}"
