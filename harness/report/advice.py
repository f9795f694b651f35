"""The verdict as one sentence that says what to do."""

from harness.report.numbers import rounded_or_unknown, units_of
from harness.report.reading import chosen, findings, primary_comparison
from harness.store.rows import ComparisonRow, Evidence, SystemRow

TITLES = {"GO": "GO", "NO_GO": "NO-GO", "INCONCLUSIVE": "INCONCLUSIVE", "INVALID": "INVALID"}


def advice(evidence: Evidence) -> str:
    """Return what to do, in one sentence that names the systems."""
    verdict = evidence.decision.verdict
    if verdict == "GO":
        return _go(evidence)
    if verdict == "NO_GO":
        return _no_go(evidence)
    if verdict == "INCONCLUSIVE":
        return _inconclusive(evidence)
    broken = [row.name for row in evidence.checks if row.status == "invalid"]
    if broken:
        return f"Don’t decide on this evidence. Repair first: {_listed(broken)}."
    return "Don’t decide on this evidence: it can’t be trusted."


def _go(evidence: Evidence) -> str:
    tuned, baseline = chosen(evidence, "tuned"), chosen(evidence, "baseline")
    if tuned is None or baseline is None:
        return "Tune the model: every criterion is met."
    return f"Use the tuned model {tuned.system} in place of {spoken(baseline)}: every criterion is met."


def _no_go(evidence: Evidence) -> str:
    baseline, row = chosen(evidence, "baseline"), primary_comparison(evidence)
    if baseline is None:
        return "Don’t tune: a criterion failed."
    if row is None:
        return f"Don’t tune: {spoken(baseline)} is already enough, so nothing was trained."
    if _baseline_wins(row):
        unit = units_of(evidence).get(row.metric, "")
        before, after = (rounded_or_unknown(mean, unit) for mean in (row.baseline_mean, row.tuned_mean))
        return (
            f"Don’t tune: {spoken(baseline)} is the better answer, "
            f"with {row.metric} {before} against {after} for the tuned model."
        )
    return f"Don’t ship the tuned model: keep {spoken(baseline)}, because a criterion failed."


def _inconclusive(evidence: Evidence) -> str:
    needed = [finding.needed_samples for finding in findings(evidence.decision.findings) if finding.needed_samples]
    row = primary_comparison(evidence)
    statuses = {finding.status for finding in findings(evidence.decision.findings)}
    if not statuses:
        return "Nothing is decided yet: the holdout has not been opened."
    if evidence.decision.post_hoc and statuses == {"met"}:
        return "Confirm it on a fresh holdout before you decide: the rule was changed after this one was opened."
    if not needed:
        return "Measure more before you decide: the interval still spans the threshold."
    has = f" instead of {row.samples:,}" if row else ""
    return f"Measure more before you decide: about {max(needed):,} holdout samples{has} would settle it."


def spoken(system: SystemRow) -> str:
    """Return the system's name, introduced by "retrieval" where that is what it does."""
    words = f"{system.system} {system.description}".lower()
    retrieves = "rag" in words.replace("(", " ").replace("-", " ").split() or "retriev" in words
    return f"retrieval ({system.system})" if retrieves else system.system


def _baseline_wins(row: ComparisonRow) -> bool:
    if row.difference is None:
        return False
    return row.difference < 0 if row.better == "higher" else row.difference > 0


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
