"""Criteria + comparisons + protocol findings -> Decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from harness.errors import Incomparable, InvalidExperiment
from harness.experiment.criteria import BreakEven, Criterion, Finding, Gain, Guard, NoWorse
from harness.stats.compare import ONE_SEED, Comparison
from harness.types.protocols import Named
from harness.types.samples import Check


class Verdict(str, Enum):
    GO = "GO"
    NO_GO = "NO_GO"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()


def decide(
    criteria: Sequence[Criterion],
    guards: Sequence[Criterion],
    comparisons: Sequence[Comparison],
    checks: Sequence[Check],
    *,
    post_hoc: bool,
) -> Decision:
    """Return the verdict: every criterion and guard must be met, each at full confidence.

    No correction for their number is due, since all must hold (an intersection-union test). Nothing is judged on
    evidence that a check calls invalid. The reason says so if one training stands for the recipe.

    Args:
        criteria: Of `go_if`.
        guards: Judged like them.
        comparisons: Of the chosen pair on HOLDOUT.
        checks: Of data and protocol.
        post_hoc: The rule changed after the holdout was opened, so that it may have been fitted to what was seen; it
            can still fail, but not give GO.

    Raises:
        Incomparable: If a criterion's comparison is missing.
        InvalidExperiment: If there is no criterion.
    """
    invalid = [check for check in checks if check.status == "invalid"]
    if invalid:
        more = f" ({len(invalid) - 1} more invalid: {', '.join(check.name for check in invalid[1:])})"
        return Decision(verdict=Verdict.INVALID, reason=invalid[0].detail + (more if len(invalid) > 1 else ""))
    if not criteria:
        raise InvalidExperiment("go_if is empty, so anything would be GO; add a criterion, such as Gain(metric, 0.02)")
    findings = tuple(rule.judge(comparisons) for rule in (*criteria, *guards))
    verdict, reason = _weigh(findings)
    reason += _unmeasured(comparisons)
    if post_hoc and verdict is Verdict.GO:
        verdict = Verdict.INCONCLUSIVE
        reason = (
            "The rule changed after the holdout was opened, so meeting it proves nothing: "
            f"confirm it on a fresh holdout. {reason}"
        )
    return Decision(verdict=verdict, reason=reason, findings=findings)


def enough(stop_if: Sequence[Criterion], comparisons: Sequence[Comparison]) -> Decision | None:
    """Return NO_GO if the baseline already meets every `stop_if` criterion, else None: go on and tune.

    An open criterion does not stop: it takes a whole interval to call a baseline enough.

    Args:
        stop_if: Criteria about the baseline alone; none never stop.
        comparisons: The DEV standings of the best baseline.

    Raises:
        Incomparable: If a criterion's standing is missing.
        InvalidExperiment: If a rule is about a difference.
    """
    for rule in stop_if:
        if isinstance(rule, Gain | NoWorse | Guard | BreakEven):
            kind = type(rule).__name__
            raise InvalidExperiment(f"stop_if is about the baseline alone; use AtLeast or AtMost instead of {kind}")
    findings = tuple(rule.judge(comparisons) for rule in stop_if)
    if not findings or any(finding.status != "met" for finding in findings):
        return None
    names = ", ".join(dict.fromkeys(comparison.tuned for comparison in comparisons))
    sentences = " ".join(finding.sentence for finding in findings)
    reason = f"The baseline {names} is already enough, so nothing was tuned. {sentences}"
    return Decision(verdict=Verdict.NO_GO, reason=reason, findings=findings)


def better_of(metric: Named, standings: Sequence[Comparison]) -> str:
    """Return the system with the best mean in the metric's direction; the first of equals.

    Raises:
        Incomparable: If no standing is of this metric.
    """
    ranked = [standing for standing in standings if standing.metric == metric.name]
    if not ranked:
        raise Incomparable(f"no system was measured with {metric.name}; add it to metrics")
    sign = 1 if metric.better == "higher" else -1
    return max(ranked, key=lambda standing: sign * standing.tuned_mean).tuned


def _weigh(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    failed = [finding for finding in findings if finding.status == "failed"]
    if failed:
        return Verdict.NO_GO, failed[0].sentence + _others(failed, "fails", "fail")
    still_open = [finding for finding in findings if finding.status == "open"]
    if still_open:
        # The one that takes the most samples comes first: with fewer, the verdict would stay open.
        hardest = max(still_open, key=lambda finding: finding.needed_samples or float("inf"))
        return Verdict.INCONCLUSIVE, hardest.sentence + _others(still_open, "is open", "are open")
    return Verdict.GO, f"{findings[0].sentence}{_others(findings, 'is met', 'are met')}"


def _unmeasured(comparisons: Sequence[Comparison]) -> str:
    """Return, as the end of a reason, that luck in training was not measured: every comparison is of one training."""
    one = bool(comparisons) and all(comparison.seeds == 1 for comparison in comparisons)
    return f" {ONE_SEED.capitalize()}." if one else ""


def _others(findings: Sequence[Finding], singular: str, plural: str) -> str:
    count = len(findings) - 1
    return (
        ""
        if count == 0
        else f" {count} more {'criterion' if count == 1 else 'criteria'} {singular if count == 1 else plural}."
    )
