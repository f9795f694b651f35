"""The numbers that a page embeds -> its comparisons and its decision, recomputed, and every number that differs.

Recompute a page's verdict from the item scores that the page itself holds, and name every number that differs.
"""

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.analysis.break_even import Payback, as_comparison, until_paid
from harness.analysis.sequential import always_valid
from harness.errors import HarnessError, Incomparable, InvalidData
from harness.experiment.criteria import Criterion, Finding
from harness.experiment.decide import Decision, decide, enough
from harness.experiment.declaration import DeclaredCriterion, Rule
from harness.report.proof import (
    FORMAT,
    Proof,
    ProvenPair,
    ProvenSide,
    ProvenStanding,
    seal_holds,
    unpacked_scores,
    unpacked_values,
)
from harness.report.read import difference_interval, finite
from harness.stats.compare import Comparison, SystemScores, compare, standing
from harness.stats.wording import STATISTICS, amount, change, count
from harness.store.rows import ComparisonRow
from harness.types.codec import from_json
from harness.types.protocols import Direction, Named
from harness.types.samples import Check
from harness.verification.rebuild import (
    RecordedCriterion,
    ScoredMetric,
    ScoredRun,
    criterion_of,
    rebuilt_metric,
    recorded_comparison,
    system_scores,
)

_NUMBERS = {
    "baseline_mean": "the baseline's mean",
    "tuned_mean": "the tuned mean",
    "tuned_low": "the low end of the tuned mean",
    "tuned_high": "the high end of the tuned mean",
    "difference": "the difference",
    "low": "the low end of the difference",
    "high": "the high end of the difference",
    "p_value": "the p-value",
    "samples": "the number of samples",
    "seeds": "the number of seeds",
    "groups": "the number of groups",
}

_COUNTS = ("p_value", "samples", "seeds", "groups")


@dataclass
class Verification:
    """What was recomputed, what differs (then the page does not hold) and what could not be recomputed.

    Args:
        comparisons, scores: How many were recomputed, and from how many item scores.
        decided: So was the verdict.
        older: The statistics that the page was made under, if they are not this version's: nothing was compared.
    """

    experiment: str
    verdict: str
    comparisons: int = 0
    scores: int = 0
    decided: bool = False
    older: int | None = None
    differences: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.differences

    def lines(self) -> list[str]:
        """Return the outcome in one line, then a line each for what differs and for what could not be recomputed."""
        about = f"{self.experiment}: {self.verdict}"
        if self.holds and self.older is not None:
            rules = f"made under statistics {self.older}, this harness computes by {STATISTICS}"
            first = f"OLDER  {about} was {rules}: not compared; run the experiment again for a verdict by today's"
        elif self.holds and not self.decided:
            first = f"OK  {about} stands as it was drawn; its decision was not recomputed"
        elif self.holds:
            what = f"from {count(self.scores, 'item score')} in {count(self.comparisons, 'comparison')}"
            first = f"OK  {about} recomputed {what if self.scores else 'from its checks'}; every number agrees"
        else:
            first = f"DIFFERS  {about} is not what the page's own scores give"
        return [first, *(f"  {text}" for text in self.differences), *(f"  remark: {text}" for text in self.remarks)]


class Recomputing:
    """One page's comparisons, then its decision."""

    def __init__(self, proof: Proof, seen: Verification) -> None:
        self.proof, self.seen = proof, seen
        self.rule = proof.rule or Rule()
        self.recorded: set[str] = set()  # metrics whose comparison stands as recorded

    def recompute(self) -> None:
        if self.proof.rule is None:
            # Which metrics are means of scores is part of the rule, so that without it nothing can be recomputed.
            self.seen.remarks.append(
                "no rule is embedded, so every number stands as recorded: run the experiment again"
            )
            return
        comparisons = [self._comparison(pair) for pair in self.proof.pairs]
        if self.proof.break_even is not None and comparisons:
            comparisons.append(self._break_even(self.proof.break_even))
        standings = [self._standing(item) for item in self.proof.standings]
        if self.proof.verdict == "INCONCLUSIVE" and not comparisons and not self.proof.findings:
            self.seen.remarks.append("the holdout was not opened: there is nothing to recompute")
            return
        try:
            decision = self._decision(comparisons, standings)
        except HarnessError as error:
            self.seen.differences.append(f"the decision cannot be made from these scores: {error}")
            return
        self.seen.decided = True
        self._check_decision(decision)

    # -- comparisons ----------------------------------------------------------------------------------------

    def _comparison(self, pair: ProvenPair) -> Comparison:
        stored = pair.row
        metric = self._metric(stored.metric, stored.better)
        if metric is None or not pair.sides:
            why = "its own code computes it" if metric is None else "it stands on no item scores"
            self.seen.remarks.append(f"{stored.metric}: {why}; its comparison is taken as recorded")
            self.recorded.add(stored.metric)
            return recorded_comparison(stored, self._unit(stored.metric))
        sides = [[unpacked_scores(column) for column in side.scores] for side in pair.sides]
        missing = {place for side in sides for column in side for place, one in enumerate(column) if math.isnan(one)}
        baseline, tuned = (self._scores(side, pair.samples, without=missing) for side in pair.sides)
        try:
            found = compare(metric, split=stored.split, baseline=baseline, tuned=tuned, level=stored.level)
            if pair.horizon is not None:
                found = always_valid(found, baseline=baseline, tuned=tuned, horizon=pair.horizon)
        except Incomparable as error:
            self.seen.differences.append(f"{stored.metric}: its scores cannot be compared: {error}")
            return recorded_comparison(stored, self._unit(stored.metric))
        self.seen.comparisons += 1
        self._check_numbers(stored, found)
        return replace(found, metric=stored.metric)  # a guard's is named by its task too

    def _break_even(self, stored: Payback) -> Comparison:
        """Return the comparison of costs: the page holds its sums, not the tokens and seconds of each request."""
        if any(declared.kind == "BreakEven" for declared in self.rule.go_if):
            self.seen.remarks.append("break_even: what each request cost is taken as recorded, and divided again")
        if stored.training_cost is not None and stored.saving is not None and stored.requests is not None:
            again = until_paid(stored.training_cost, stored.saving, stored.quality)
            for name in ("value", "low", "high"):
                told, mine = getattr(stored.requests, name), getattr(again, name)
                if not _equal(told, mine):
                    shown = _shown(amount, told, mine, "requests")
                    self.seen.differences.append(f"break_even: {name} is {shown}")
        return as_comparison(stored)

    def _standing(self, item: ProvenStanding) -> Comparison:
        declared = self.rule.metric(item.metric)
        metric = self._metric(item.metric, declared.better) if declared else None
        if metric is None:
            raise InvalidData(f"stop_if looks at {item.metric}, which only its own code can compute")
        self.seen.comparisons += 1
        return standing(metric, split="dev", system=self._scores(item.side, item.samples))

    def _metric(self, name: str, better: Direction) -> Named | None:
        return rebuilt_metric(self.rule.metric(name), name=name, better=better, unit=self._unit(name))

    def _unit(self, name: str) -> str:
        return self.proof.units.get(name, "")

    def _scores(self, side: ProvenSide, samples: str, *, without: Set[int] = frozenset()) -> SystemScores:
        """without: places of samples to leave out, since one of the two systems has no score there."""
        places = self.proof.samples[samples]
        kept = [place for place in range(len(places.ids)) if place not in without]
        columns = zip(side.runs, map(unpacked_scores, side.scores), map(unpacked_values, side.details), strict=True)
        self.seen.scores += len(side.scores) * len(kept)
        return system_scores(
            side.system,
            runs=[
                ScoredRun(
                    seed=seed,
                    repeat=repeat,
                    scores=[scores[place] for place in kept],
                    details=[details[place] for place in kept],
                )
                for (seed, repeat), scores, details in columns
            ],
            ids=[places.ids[place] for place in kept],
            groups=[places.groups[place] for place in kept] if places.groups else [],
        )

    def _check_numbers(self, stored: ComparisonRow, found: Comparison) -> None:
        for name, said in _NUMBERS.items():
            told, mine = getattr(stored, name), getattr(found, name)
            if not _equal(told, mine):
                unit = "" if name in _COUNTS else found.unit
                spoken = change if name in ("difference", "low", "high") else amount
                shown = _shown(spoken, told, mine, unit)
                self.seen.differences.append(f"{found.metric}: {said} is {shown}")

    # -- decision -------------------------------------------------------------------------------------------

    def _decision(self, comparisons: list[Comparison], standings: list[Comparison]) -> Decision | None:
        checks = [Check(name=row.name, status=row.status, detail=row.detail) for row in self.proof.checks]
        if any(check.status == "invalid" for check in checks) or comparisons:
            return decide(
                self._criteria(self.rule.go_if, 0),
                self._criteria(self.rule.guards, len(self.rule.go_if)),
                [replace(found, noise=self.proof.noise.get(found.metric, 0.0)) for found in comparisons],
                checks,
                post_hoc=self.proof.post_hoc,
            )
        return enough(self._criteria(self.rule.stop_if, 0), standings)

    def _criteria(self, part: Sequence[DeclaredCriterion], first: int) -> list[Criterion]:
        """Return the rules of a part; a user's own stands for the finding that was recorded."""
        found: list[Criterion] = []
        for place, declared in enumerate(part, start=first):
            rule = criterion_of(declared, self._named(declared))
            if rule is None:
                kind = (declared.path or "").rpartition(":")[2]
                self.seen.remarks.append(f"{kind}: a criterion of one's own; its finding is taken as recorded")
                rule = RecordedCriterion(declared.metrics, self.proof.findings[place : place + 1])
            found.append(rule)
        return found

    def _named(self, declared: DeclaredCriterion) -> dict[str, Named]:
        """Return the metrics by name; one that only its own code computes is needed here for its direction alone."""
        compared = {pair.row.metric: pair.row.better for pair in self.proof.pairs}
        found: dict[str, Named] = {}
        for name in declared.metrics:
            metric = self.rule.metric(name)
            better = compared.get(name) or (metric.better if metric else "higher")
            found[name] = ScoredMetric(name, better, self._unit(name))
        return found

    def _check_decision(self, decision: Decision | None) -> None:
        verdict = decision.verdict.value if decision else "no verdict: the baseline does not meet stop_if"
        if verdict != self.proof.verdict:
            self.seen.differences.append(f"the verdict is {self.proof.verdict}, recomputed {verdict}")
        if decision is None:
            return
        stored = self.proof.findings
        if len(stored) != len(decision.findings):
            self.seen.differences.append(
                f"the findings: {len(stored)} on the page, {len(decision.findings)} recomputed"
            )
        for mine, theirs in zip(decision.findings, stored, strict=False):
            self.seen.differences += _finding_differences(mine, theirs, exact=mine.metric not in self.recorded)
        if not self.recorded and not self.seen.differences and decision.reason != self.proof.reason:
            self.seen.differences.append(f"the reason: recomputed it is {decision.reason!r}")


def _finding_differences(mine: Finding, theirs: Finding, *, exact: bool) -> Iterator[str]:
    about = f"criterion {mine.criterion!r}"
    if mine.status != theirs.status:
        yield f"{about}: {theirs.status} on the page, recomputed {mine.status}"
    for name in ("value", "low", "high", "threshold"):
        if not _equal(getattr(theirs, name), getattr(mine, name)):
            yield f"{about}: {name} is {_shown(amount, getattr(theirs, name), getattr(mine, name), mine.unit)}"
    if exact and mine.sentence != theirs.sentence:
        yield f"{about}: recomputed, its sentence is {mine.sentence!r}"


def _equal(stored: float | None, found: float | None) -> bool:
    """Other processors add in another order: the last digits may differ, and ends without bound are stored as None."""
    told, mine = finite(stored), finite(found)
    if told is None or mine is None:
        return told is mine
    return math.isclose(told, mine, rel_tol=1e-9, abs_tol=1e-12)


def _shown(spoken: Callable[..., str], stored: float | None, found: float | None, unit: str) -> str:
    page = "open" if finite(stored) is None else spoken(stored, unit=unit)
    mine = "open" if found is None else spoken(found, unit=unit)
    if page == mine:
        page, mine = repr(stored), repr(found)
    return f"{page} on the page, recomputed {mine}"


_PROOF = re.compile(r'<script type="application/json" id="proof">(.*?)</script>', re.DOTALL)
_BANNER = re.compile(r'<div class="banner (\w+)">')


def verify_page(path: Path) -> Verification:
    """Return what recomputing the page at `path` shows.

    Raises:
        InvalidData: If it is no page of an experiment, or its embedded scores cannot be read.
    """
    if not path.is_file():
        raise InvalidData(f"{path}: no such file; name a page, such as reports/home_commands.html")
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        page = stream.read()
    found = _PROOF.search(page)
    if found is None:
        raise InvalidData(f"{path}: holds no item scores; draw it again with: harness report")
    try:
        stored = json.loads(found[1])
        if stored["format"] != FORMAT:
            raise InvalidData(f"the page's scores are of format {stored['format']}, this version reads {FORMAT}")
        return _verified(from_json(Proof, stored), page)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InvalidData(f"{path}: its embedded scores cannot be read ({type(error).__name__}: {error})") from error


def _verified(proof: Proof, page: str) -> Verification:
    seen = Verification(experiment=proof.experiment, verdict=proof.verdict)
    if not seal_holds(page):
        seen.differences.append("the seal: the page's text was changed after it was drawn")
    if proof.statistics != STATISTICS:
        seen.older = proof.statistics
        return seen
    _check_shown(seen, proof, page)
    Recomputing(proof, seen).recompute()
    return seen


def _check_shown(seen: Verification, proof: Proof, page: str) -> None:
    """What a reader sees must be what the embedded numbers say."""
    banner = _BANNER.search(page)
    if banner is None or banner[1] != proof.verdict:
        seen.differences.append(f"the page shows {banner[1] if banner else 'no verdict'}, not {proof.verdict}")
    text = html.unescape(page)
    for row in (pair.row for pair in proof.pairs):
        shown = difference_interval(row.difference, row.low, row.high, proof.units.get(row.metric, ""))
        if shown not in text:
            seen.differences.append(f"{row.metric}: the page does not show its difference, {shown}")
