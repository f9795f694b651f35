"""One experiment in a few lines: what verdicts.json, the terminal, JUnit and a pull request say of it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.report.advice import paragraph
from harness.report.insights import insights_of, sentences, verdict_level
from harness.report.numbers import units_of, whole
from harness.report.reading import chosen, finite, plain, primary_comparison
from harness.report.spending import Spending, spendings, training_cost
from harness.stats.wording import confidence, count, difference_text, rounded
from harness.store.rows import Evidence

Entry = dict[str, Any]


def verdict_entry(evidence: Evidence) -> Entry:
    """Return one entry of verdicts.json; "primary", "gain" and "look" are None where nothing was tuned and compared.

    advice: sentences, the first says the most. checks: how many of each status. insights: what each kind says.
    gain, cost: for a reader.
    """
    decision, row = evidence.decision, primary_comparison(evidence)
    checks = Counter(check.status for check in evidence.checks)
    ledger = insights_of(evidence).get("ledger")
    return {
        "experiment": evidence.experiment.name,
        "question": evidence.experiment.question,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "findings": plain(decision.findings) or [],
        "primary": None
        if row is None
        else {
            "metric": row.metric,
            "baseline": row.baseline,
            "tuned": row.tuned,
            "difference": finite(row.difference),
            "low": finite(row.low),
            "high": finite(row.high),
            "samples": row.samples,
            "seeds": row.seeds,
            "groups": row.groups,
        },
        "report": f"{evidence.experiment.name}.html",
        "advice": list(paragraph(evidence)),
        "level": verdict_level(evidence),
        "look": ledger["look"] if ledger else None,
        "gain": _gain(evidence),
        "cost": _cost(evidence),
        "checks": {status: checks[status] for status in ("ok", "warning", "invalid")},
        "post_hoc": decision.post_hoc,
        "insights": plain(sentences(evidence)),
    }


def terminal_lines(entry: Mapping[str, Any], *, page: str) -> list[str]:
    """Return at most ten lines: verdict and why, then what to do, gain, cost, holdout, checks and the page.

    page: its path as it can be opened from where the reader is.
    """
    lines = [headline(entry)]
    parts = {
        "do": entry["advice"][0],
        "gain": entry["gain"],
        "cost": entry["cost"],
        "holdout": _holdout(entry),
        "checks": checks_text(entry["checks"]),
        "page": page,
    }
    lines += [f"  {name:<9}{text}" for name, text in parts.items() if text]
    return [_printable(line) for line in lines]


def headline(entry: Mapping[str, Any]) -> str:
    """Return the verdict and why, in one line."""
    return _printable(f"{entry['verdict']:<13} {entry['experiment']}: {entry['reason']}")


def properties(entry: Mapping[str, Any], *, page: str) -> list[tuple[str, str]]:
    """Return what a JUnit report tells of the experiment; what was not measured is absent."""
    primary = entry["primary"] or {}
    found = {
        "experiment": entry["experiment"],
        "verdict": entry["verdict"],
        "reason": entry["reason"],
        "primary_metric": primary.get("metric"),
        **{name: primary.get(name) for name in ("difference", "low", "high", "samples")},
        "level": entry["level"] if primary else None,
        "holdout_look": entry["look"],
        "report": page,
    }
    return [(name, _printable(str(value))) for name, value in found.items() if value is not None]


def _gain(evidence: Evidence) -> str | None:
    row = primary_comparison(evidence)
    difference = finite(row.difference) if row else None
    if row is None or difference is None:
        return None
    unit = units_of(evidence).get(row.metric, "")
    low, high = (float("-inf") if row.low is None else row.low), (float("inf") if row.high is None else row.high)
    shown = difference_text(difference, low, high, unit=unit, samples=row.samples, seeds=row.seeds, groups=row.groups)
    means = finite(row.baseline_mean), finite(row.tuned_mean)
    path = "" if None in means else " from {} to {}".format(*(rounded(mean or 0.0, unit=unit) for mean in means))
    return f"{row.metric}{path}: {shown}, {confidence(row.level)} interval"


def _cost(evidence: Evidence) -> str | None:
    """Return training time, and tokens of a request before and after where both systems answered."""
    trained = training_cost(evidence).text
    spent = {row.system: row for row in spendings(evidence)}
    before, after = (_tokens(spent, chosen(evidence, role)) for role in ("baseline", "tuned"))
    parts = [trained] if trained else []
    if before is not None and after is not None:
        same = whole(after) == whole(before)
        parts.append(
            f"a request takes {whole(after)} tokens{', as before' if same else f' instead of {whole(before)}'}"
        )
    elif before is not None:
        parts.append(f"a request takes {whole(before)} tokens")
    return "; ".join(parts) or None


def _tokens(spent: Mapping[str, Spending], system: Any) -> float | None:
    row = spent.get(system.system) if system else None
    if row is None or row.tokens_in_per_answer is None:
        return None
    return row.tokens_in_per_answer + (row.tokens_out_per_answer or 0.0)


def _holdout(entry: Mapping[str, Any]) -> str:
    if entry["look"] is None:
        return ""
    first = "first look" if entry["look"] == 1 else f"look {entry['look']}"
    post_hoc = "; POST-HOC: the rule changed after it was opened" if entry["post_hoc"] else ""
    return f"{first}, so the interval is at {confidence(entry['level'])}{post_hoc}"


def checks_text(counts: Mapping[str, int]) -> str:
    """Return "19 checks, 1 warning"; nothing where nothing was checked."""
    total = sum(counts.values())
    if not total:
        return ""
    said = [f"{counts['invalid']} invalid"] if counts["invalid"] else []
    said += [count(counts["warning"], "warning")] if counts["warning"] else []
    return f"{count(total, 'check')}, {', '.join(said) or 'all passed'}"


def _printable(text: str) -> str:
    """A name or a tag may hold what moves the cursor: nothing of it reaches a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
