"""One experiment in a few lines: what verdicts.json, the terminal, JUnit and a pull request say of it.

Every experiment in one table.

reports/summary.md: every verdict in GitHub-flavoured Markdown, for a pull request.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.report.costs import Spending, all_tokens, spendings, training_cost
from harness.report.draw import IntervalDrawing, draw_interval, symmetric_axis
from harness.report.insights import TITLES, advice, paragraph, sentences, verdict_level
from harness.report.read import chosen, difference_interval, finite, insights_of, primary_comparison, units_of, whole
from harness.report.templates import render
from harness.stats.compare import ONE_SEED
from harness.stats.wording import Counts, confidence, count, difference_text, rounded
from harness.store.rows import Evidence
from harness.types.codec import to_json

Entry = dict[str, Any]


def verdict_entry(evidence: Evidence) -> Entry:
    """Return one entry of verdicts.json; "primary", "gain" and "look" are None if nothing was tuned and compared.

    advice: sentences, the first says the most. checks: how many of each status. insights: what each kind says.
    gain, cost: for a reader.
    """
    decision, row = evidence.decision, primary_comparison(evidence)
    checks = Counter(check.status for check in evidence.checks)
    ledger = insights_of(evidence).ledger
    return {
        "experiment": evidence.experiment.name,
        "question": evidence.experiment.question,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "findings": to_json(decision.findings) or [],
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
        "look": ledger.look if ledger else None,
        "gain": _gain(evidence),
        "cost": _cost(evidence),
        "checks": {status: checks[status] for status in ("ok", "warning", "invalid")},
        "post_hoc": decision.post_hoc,
        "insights": sentences(evidence),
    }


def terminal_lines(entry: Mapping[str, Any], *, page: str) -> list[str]:
    """Return at most ten lines: verdict and why, then what to do, gain, cost, holdout, checks and the page.

    Args:
        page: Its path as it can be opened from where the reader is.
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
    shown = difference_text(difference, low, high, unit=unit, of=Counts(row.samples, row.seeds, row.groups))
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
    """Return "19 checks, 1 warning"; nothing if nothing was checked."""
    total = sum(counts.values())
    if not total:
        return ""
    said = [f"{counts['invalid']} invalid"] if counts["invalid"] else []
    said += [count(counts["warning"], "warning")] if counts["warning"] else []
    return f"{count(total, 'check')}, {', '.join(said) or 'all passed'}"


def _printable(text: str) -> str:
    """A name or a tag may hold what moves the cursor: nothing of it reaches a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line of the index. metric, gain and drawing are None if nothing was tuned and compared."""

    experiment: str
    question: str
    verdict: str
    advice: str
    post_hoc: bool
    known_negative: bool
    metric: str | None
    better: str | None
    gain: str | None
    samples: int
    seeds: int
    drawing: IntervalDrawing | None
    training_seconds: float
    tokens: int
    decided_at: datetime

    @property
    def title(self) -> str:
        return TITLES.get(self.verdict, self.verdict)

    @property
    def page(self) -> str:
        return f"{self.experiment}.html"


def summarise(evidence: Evidence) -> Summary:
    """Return the index line of one experiment."""
    row, decision = primary_comparison(evidence), evidence.decision
    gain, drawing = None, None
    if row is not None and (difference := finite(row.difference)) is not None:
        low, high = finite(row.low), finite(row.high)
        unit = units_of(evidence).get(row.metric, "")
        gain = difference_interval(difference, low, high, unit)
        drawing = draw_interval(symmetric_axis((low, difference, high)), low, difference, high)
    return Summary(
        experiment=evidence.experiment.name,
        question=evidence.experiment.question,
        verdict=decision.verdict,
        advice=advice(evidence),
        post_hoc=decision.post_hoc,
        known_negative=decision.known_negative,
        metric=row.metric if row else None,
        better=row.better if row else None,
        gain=gain,
        samples=row.samples if row else 0,
        seeds=row.seeds if row else 0,
        drawing=drawing,
        training_seconds=training_cost(evidence).total,
        tokens=all_tokens(evidence),
        decided_at=decision.decided_at,
    )


def render_index(summaries: Sequence[Summary]) -> str:
    """Return the page that lists every experiment, the latest decided first."""
    latest_first = sorted(summaries, key=lambda summary: summary.decided_at, reverse=True)
    verdicts = [summary.verdict for summary in summaries]
    counts = [(verdict, title, verdicts.count(verdict)) for verdict, title in TITLES.items() if verdict in verdicts]
    return render("index.html", head_script="theme.js", scripts=(), summaries=latest_first, counts=counts)


_MARKS = {"GO": "✅ GO", "NO_GO": "⛔ NO-GO", "INCONCLUSIVE": "❔ INCONCLUSIVE", "INVALID": "⚠️ INVALID"}
_STATUSES = {"met": "met", "failed": "**failed**", "open": "open"}
# Whatever could begin markup in a cell or a paragraph: backslash first.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()~|!])")
_NO_LINK = "\u200b"  # zero width: a mention, an issue's number or an address is shown, but not linked


def render_summary(entries: Sequence[Entry]) -> str:
    """Return one table of all experiments, then each one's advice, criteria and what else its evidence says."""
    lines = ["# Should we tune?", ""]
    if not entries:
        return "\n".join([*lines, "Nothing is measured yet.", ""])
    lines += ["| verdict | experiment | difference | advice |", "| --- | --- | --- | --- |"]
    for entry in entries:
        link = f"[{escaped(entry['experiment'])}]({_address(entry['report'])})"
        cells = (_mark(entry), link, escaped(_difference(entry)), escaped(entry["advice"][0]))
        lines.append(f"| {' | '.join(cells)} |")
    for entry in entries:
        lines += ["", *_details(entry)]
    return "\n".join([*lines, ""])


def _difference(entry: Entry) -> str:
    one = entry["primary"] is not None and entry["primary"]["seeds"] == 1
    return (entry["gain"] or "nothing was compared") + (f"; {ONE_SEED}" if one else "")


def escaped(text: object) -> str:
    """Return text of users, data and models on one line, with nothing that Markdown, HTML or GitHub would act on."""
    return _SPECIAL.sub(r"\\\1", _in_html(text))


def _in_html(text: object) -> str:
    """Return the text for inside an HTML element, where Markdown's backslashes would be seen."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([@#])(?=\w)", rf"\1{_NO_LINK}", line)
    line = re.sub(r"(?i)\b(https?|ftp|mailto)(?=:)", rf"\1{_NO_LINK}", line)
    return re.sub(r"(?i)\bwww\.", f"www{_NO_LINK}.", line)


def _details(entry: Entry) -> list[str]:
    lines = [f"<details><summary>{_mark(entry)} {_in_html(entry['experiment'])}</summary>", ""]
    lines += [escaped(entry["question"]), "", escaped(entry["reason"]), "", escaped(" ".join(entry["advice"])), ""]
    if entry["findings"]:
        lines += ["| criterion | status | finding |", "| --- | --- | --- |"]
        lines += [_finding(found) for found in entry["findings"]]
        lines.append("")
    said = [text for value in entry["insights"].values() for text in (value if isinstance(value, list) else [value])]
    lines += [f"- {escaped(text)}" for text in said]
    facts = [
        entry["cost"],
        checks_text(entry["checks"]),
        f"look {entry['look']} at the holdout" if entry["look"] else None,
    ]
    lines += ["", escaped("; ".join(fact for fact in facts if fact)), "", "</details>"]
    return lines


def _finding(found: Mapping[str, Any]) -> str:
    status = _STATUSES.get(str(found["status"]), escaped(found["status"]))
    return f"| {escaped(found['criterion'])} | {status} | {escaped(found['sentence'])} |"


def _mark(entry: Entry) -> str:
    post_hoc = " (post-hoc)" if entry["post_hoc"] else ""
    return f"{_MARKS.get(entry['verdict'], escaped(entry['verdict']))}{post_hoc}"


def _address(page: str) -> str:
    """Return a relative address without characters that would end a Markdown link."""
    return "".join(
        letter if letter.isalnum() or letter in "-_./" else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in page
    )
