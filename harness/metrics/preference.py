"""A/B: which of two answers to the same sample is the better one.

People's votes on pairs of answers, read from a file.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness.errors import InvalidData, InvalidExperiment, StageFailed
from harness.metrics.exact import ExactMatch
from harness.metrics.judge_reply import REPLY_SCHEMA, Choice, winner
from harness.types.models import AnyModel, as_model
from harness.types.numbers import real_number, shown
from harness.types.protocols import (
    ChecksReferences,
    Direction,
    Executed,
    Metric,
    Priced,
    judges_refusals,
    needs_likelihood,
)
from harness.types.samples import Answer, Check, Message, Messages, Sample, Score

_WORTH = {"tuned": 1.0, "tie": 0.5, "baseline": 0.0}
_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Ballots:
    """Votes by sample: how many said tuned, baseline and tie."""

    source: str
    votes: Mapping[str, Mapping[str, int]]

    def score(self, sample_id: str) -> Score:
        """Return the mean vote with the counts in detail.

        Raises:
            InvalidData: If nobody voted on the sample.
        """
        self.check([sample_id])
        counts = self.votes[sample_id]
        value = sum(_WORTH[winner] * count for winner, count in counts.items()) / sum(counts.values())
        return Score(value, detail={winner: counts.get(winner, 0) for winner in ("tuned", "baseline", "tie")})

    def check(self, sample_ids: Sequence[str]) -> None:
        """Raise InvalidData that counts and names the samples nobody voted on."""
        missing = [sample_id for sample_id in sample_ids if sample_id not in self.votes]
        if not missing:
            return
        named = ", ".join(missing[:_NAMED_AT_MOST]) + (", ..." if len(missing) > _NAMED_AT_MOST else "")
        raise InvalidData(
            f"{self.source} has no vote on {len(missing)} of {len(sample_ids)} samples ({named}); "
            "collect the missing votes"
        )


def read_ballots(path: Path) -> Ballots:
    """Read a CSV file with header, or a JSONL file: `sample_id` and `winner` in each row; other columns are ignored.

    Raises:
        InvalidData: If a row cannot be used; the message names file, row (the first row of data is 1) and field.
    """
    votes: dict[str, Counter[str]] = {}
    for number, row in enumerate(_rows(path), start=1):
        sample_id, winner = (_field(path, number, row, name) for name in ("sample_id", "winner"))
        if winner not in _WORTH:
            raise InvalidData(f"{path}, row {number}: winner is {winner!r}; write tuned, baseline or tie")
        votes.setdefault(sample_id, Counter())[winner] += 1
    return Ballots(str(path), votes)


def _rows(path: Path) -> Iterator[Mapping[str, object]]:
    # utf-8-sig: spreadsheets write a byte order mark, which would otherwise be part of the first column's name.
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(f"{path} cannot be read as UTF-8 text: {error}") from error
    if path.suffix == ".csv":
        yield from csv.DictReader(io.StringIO(text, newline=""))
        return
    lines = (line for line in text.split("\n") if line.strip())
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidData(f"{path}, row {number}: not JSON ({error}); write one object a line") from error
        if not isinstance(row, dict):
            raise InvalidData(f"{path}, row {number}: {line[:40]!r} is not an object with sample_id and winner")
        yield row


def _field(path: Path, number: int, row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if value is None or not str(value).strip():
        raise InvalidData(f"{path}, row {number}: {name} is missing; every row has sample_id and winner")
    return str(value).strip()


DEFAULT_INSTRUCTION = (
    "You compare two answers to one request. Prefer the answer that is right, complete and to the point; "
    "length, tone and order of appearance are no merit. Where the two serve equally well, say tie."
)
_REPLY_FORM = "End with one line: Winner: A, or Winner: B, or Winner: tie."


@dataclass(frozen=True, init=False)
class Preference:
    """1 if the tuned answer is preferred to the baseline's, 0.5 for a tie, 0 if the baseline's is.

    Exactly one source decides: `by`, `judge` or `votes`.

    Args:
        by: A metric that scores one answer; the better of its two scores wins. This is the default, with
            `ExactMatch()`.
        judge: A model, asked twice with the answers in both orders; it ties unless it says the same twice. A reply that
            names no winner is no tie: its pair is left out and counted, and above 5 % of such pairs the verdict is
            INVALID.
        votes: A CSV or JSONL file of people's votes, each row a `sample_id` and a `winner`: tuned, baseline or tie;
            several votes on a sample are averaged.
        instruction: What the judge is told to look for; used with `judge` only.

    Raises:
        InvalidExperiment: If there are two sources, `by` cannot score one answer, or the file of votes is absent.

    Examples:
        >>> judged = Preference(judge=Endpoint("https://api.example.com/v1", "large"))
        >>> Gain(judged, at_least=0.05).metrics
        ('preference',)
    """

    by: Metric | None
    judge: AnyModel | None
    votes: str | None
    instruction: str

    name: ClassVar[str] = "preference"
    better: ClassVar[Direction] = "higher"

    def __init__(
        self,
        by: Metric | None = None,
        *,
        judge: AnyModel | str | None = None,
        votes: str | Path | None = None,
        instruction: str = DEFAULT_INSTRUCTION,
    ) -> None:
        """Keep the source that was given; without one `by` is `ExactMatch()`."""
        sources = [name for name, source in (("by", by), ("judge", judge), ("votes", votes)) if source is not None]
        if len(sources) > 1:
            raise InvalidExperiment(f"Preference has {len(sources)} sources, {' and '.join(sources)}; keep one of them")
        if isinstance(by, Priced):
            raise InvalidExperiment(
                f"Preference(by={by!r}): money cannot be scored alone, without the prices of what answers; use "
                f"{by!r} as a metric of its own"
            )
        if by is not None and (isinstance(by, Executed) or not isinstance(by, Metric)):
            raise InvalidExperiment(
                f"Preference(by={by!r}): it must score one answer at a time, with score(sample, answer); "
                "use such a metric, such as ExactMatch()"
            )
        if votes is not None:
            _check_votes_file(Path(votes))
        object.__setattr__(self, "by", by if sources else ExactMatch())
        object.__setattr__(self, "judge", None if judge is None else as_model(judge))
        object.__setattr__(self, "votes", None if votes is None else str(votes))
        object.__setattr__(self, "instruction", instruction)

    @property
    def needs_likelihood(self) -> bool:
        return needs_likelihood(self.by)

    @property
    def judges_refusals(self) -> bool:
        return judges_refusals(self.by)

    def check_references(self, samples: Sequence[Sample]) -> Check | None:
        """Return what the metric that decides finds wrong with the references."""
        return self.by.check_references(samples) if isinstance(self.by, ChecksReferences) else None

    def prefer(self, sample: Sample, tuned: Answer, baseline: Answer) -> Score:
        """Return the preference by metric or by votes; detail holds the two scores, or the votes counted.

        Raises:
            InvalidData: If nobody voted on the sample.
            InvalidExperiment: If a judge must be asked.
        """
        if self.by is not None:
            return self._prefer_by_metric(self.by, sample, tuned, baseline)
        if self.votes is not None:
            return self._ballots.score(sample.id)
        raise InvalidExperiment(
            "Preference(judge=...) is decided by question() and vote(): the judge must be asked in both orders"
        )

    def check_votes(self, sample_ids: Sequence[str]) -> None:
        """Raise InvalidData that counts the samples without a vote; do nothing if votes are not the source."""
        if self.votes is not None:
            self._ballots.check(sample_ids)

    def question(self, sample: Sample, first: Answer, second: Answer) -> Messages:
        """Return what the judge reads: the request, the reference if there is one, answer A and answer B."""
        parts = [("request", _request(sample)), ("reference", sample.reference)]
        parts += [("answer_a", first.text), ("answer_b", second.text)]
        body = "\n\n".join(_fenced(tag, text) for tag, text in parts if text or tag.startswith("answer"))
        return (
            Message("system", f"{self.instruction}\n{_REPLY_FORM}"),
            Message("user", f"{body}\n\nWhich answer is better, A or B? {_REPLY_FORM}"),
        )

    @property
    def reply_schema(self) -> str:
        """What a server that can is asked to hold the judge's reply to, as JSON Schema."""
        return json.dumps(REPLY_SCHEMA)

    def vote(self, tuned_first: str, baseline_first: str) -> Score:
        """Return the score from the judge's two texts.

        Its detail says what each order said, "tuned", "baseline", "tie" or "unread", and the outcome, "agreed",
        "disagreed" or "unread". A pair with a reply that is not understood is no tie: it has no score.

        Args:
            tuned_first: The reply with the tuned answer as A.
            baseline_first: The reply with it as B.
        """
        names: Mapping[Choice | None, str] = {"A": "tuned", "B": "baseline", "tie": "tie", None: "unread"}
        turned = {**names, "A": "baseline", "B": "tuned"}
        said = {"tuned_first": names[winner(tuned_first)], "baseline_first": turned[winner(baseline_first)]}
        if "unread" in said.values():
            reply = tuned_first if said["tuned_first"] == "unread" else baseline_first
            shown = " ".join(reply.split())[:80] or "(nothing)"
            return Score(float("nan"), {**said, "outcome": "unread"}, f"the judge's reply names no winner: {shown}")
        outcome = "agreed" if said["tuned_first"] == said["baseline_first"] else "disagreed"
        value = _WORTH[said["tuned_first"]] if outcome == "agreed" else 0.5
        return Score(value, {**said, "outcome": outcome})

    @cached_property
    def _ballots(self) -> Ballots:
        assert self.votes is not None
        return read_ballots(Path(self.votes))

    @staticmethod
    def _prefer_by_metric(by: Metric, sample: Sample, tuned: Answer, baseline: Answer) -> Score:
        tuned_score, baseline_score = (_number(by, sample, by.score(sample, answer)) for answer in (tuned, baseline))
        gain = tuned_score - baseline_score if by.better == "higher" else baseline_score - tuned_score
        value = 0.5 if gain == 0 else float(gain > 0)
        return Score(value, detail={"by": by.name, "tuned": tuned_score, "baseline": baseline_score})


def _check_votes_file(path: Path) -> None:
    if path.suffix not in (".csv", ".jsonl"):
        raise InvalidExperiment(f"Preference(votes={str(path)!r}): a .csv or .jsonl file is needed")
    if not path.is_file():
        raise InvalidExperiment(f"Preference(votes={str(path)!r}): there is no such file; collect the votes first")


def _number(by: Metric, sample: Sample, score: object) -> float:
    value = score.value if isinstance(score, Score) else score
    number = real_number(value)
    if number is None:
        raise StageFailed(
            f"Preference(by={by.name}): it gave {shown(value)} for sample {sample.id!r}; a score is a finite number: "
            "return a float, a bool or a Score of one"
        )
    return number


def _request(sample: Sample) -> str:
    if sample.messages:
        return "\n".join(f"{message.role}: {message.text}" for message in sample.messages)
    return sample.input


def _fenced(tag: str, text: str) -> str:
    # An answer may try to close its own fence and speak as the other one.
    return f"<{tag}>\n{text.replace('</', '< /')}\n</{tag}>"
