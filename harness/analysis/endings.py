"""How a system's answers ended, which of them are no answers, and what to change so that they become some."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.stats.wording import FRACTION, count, rounded
from harness.types.samples import Answer, Sample

# A larger share of missing answers makes a baseline's scores say more of the measurement than of the baseline.
MOST_MISSING = 0.05
_SHOWN = 20
_EXCERPT_CHARACTERS = 60
# Room to think in: fewer tokens cut most thoughts.
_THINKING_TOKENS = 2048

Fault = Literal["cut", "empty", "filtered", "refused", "tool", "unread"]
_OF_ENDED: Mapping[str, Fault] = {"length": "cut", "empty": "empty", "filter": "filtered", "refusal": "refused"}
_WORDS: Mapping[Fault, str] = {
    "cut": "cut at the token limit",
    "empty": "empty",
    "filtered": "stopped by a content filter",
    "refused": "refused",
    "tool": "a tool call without text",
    "unread": "not readable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One answer that is none. excerpt: the beginning of its text, or of the thoughts where it says nothing."""

    sample_id: str
    fault: Fault
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """One system's answers to one split; those of each seed and repeat count.

    Args:
        ended: How many by `Answer.ended`.
        faults: How many are no answer, by what is wrong; each has one fault.
        share: Of those in all.
        examples: The first of each fault, then more.
        sentence: The counts.
        remedy: What to change; empty if nothing is missing.
    """

    system: str
    split: str
    answers: int
    ended: Mapping[str, int]
    faults: Mapping[str, int]
    share: float
    examples: tuple[Missing, ...]
    sentence: str
    remedy: str

    @property
    def cut(self) -> int:
        """How many end at the token limit where more was to come."""
        return Counter(self.faults)["cut"]

    @property
    def too_many(self) -> bool:
        """Whether more are missing than a baseline may lack."""
        return self.share > MOST_MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRule:
    """What decides whether an answer is one.

    Args:
        settled: Tells of a cut answer whether more text behind it would leave value and scores as they are.
        refusals: Declining is judged, so that it is an answer.
        limit: Most tokens of an answer.
        hosted: By a server.
    """

    settled: Callable[[Sample, Answer], bool]
    refusals: bool
    limit: int
    hosted: bool


def endings(system: str, split: str, answered: Sequence[tuple[Sample, Answer]], reading: AnswerRule) -> Endings:
    """Return how the answers of one system ended."""
    nothing_is_right = {repr(sample.expected) for sample, _ in answered if _says_nothing(sample.expected)}
    settled = _settled(answered, reading)
    missing: list[tuple[Missing, Answer]] = []
    for place, (sample, answer) in enumerate(answered):
        fault = None if place in settled else _fault(sample, answer, reading, nothing_is_right)
        if fault is not None:
            excerpt = " ".join((answer.text.strip() or answer.reasoning).split())[:_EXCERPT_CHARACTERS]
            missing.append((Missing(sample_id=sample.id, fault=fault, excerpt=excerpt), answer))
    faults = Counter(one.fault for one, _ in missing)
    share = len(missing) / len(answered) if answered else 0.0
    return Endings(
        system=system,
        split=split,
        answers=len(answered),
        ended=dict(Counter(answer.ended for _, answer in answered).most_common()),
        faults=dict(faults.most_common()),
        share=share,
        examples=tuple(_examples([one for one, _ in missing])),
        sentence=f"{system} on {split}: {_counted(len(answered), faults)}",
        remedy="; ".join(
            _remedy(fault, [pair for pair in missing if pair[0].fault == fault], reading)
            for fault, _ in faults.most_common()
        ),
    )


def _settled(answered: Sequence[tuple[Sample, Answer]], reading: AnswerRule) -> frozenset[int]:
    """Return the places of cut answers that are answers all the same.

    A text of more words than any that is expected is none: the reader took the beginning of a thought for an answer.
    """
    most = max((_words(sample.expected) for sample, _ in answered), default=0)
    return frozenset(
        place
        for place, (sample, answer) in enumerate(answered)
        if answer.ended == "length"
        and answer.text.strip()
        and _words(answer.value) <= most
        and reading.settled(sample, answer)
    )


def _words(value: object) -> int:
    return len(value.split()) if isinstance(value, str) else 0


def _fault(sample: Sample, answer: Answer, reading: AnswerRule, nothing_is_right: set[str]) -> Fault | None:
    if answer.likelihoods:
        return None  # chosen among given texts
    if answer.ended == "refusal" and (reading.refusals or sample.tags.get("should_refuse") == "yes"):
        return None
    if answer.ended == "empty" and answer.value is not None and repr(answer.value) in nothing_is_right:
        return None
    if answer.ended in _OF_ENDED:
        return _OF_ENDED[answer.ended]
    if answer.ended == "tool" and not answer.text.strip():
        return "tool"
    # A reader that gives nothing for the reference itself reads no values at all: its metrics look at texts.
    return "unread" if answer.value is None and sample.expected is not None else None


def _says_nothing(value: object) -> bool:
    return isinstance(value, str | list | tuple | Mapping) and not value


def _examples(missing: Sequence[Missing]) -> Sequence[Missing]:
    first: dict[Fault, Missing] = {}
    for one in missing:
        first.setdefault(one.fault, one)
    rest = [one for one in missing if one is not first[one.fault]]
    return [*first.values(), *rest][:_SHOWN]


def _counted(answers: int, faults: Counter[Fault]) -> str:
    if not faults:
        return f"each of {count(answers, 'answer')} is whole and can be read"
    share = rounded(faults.total() / answers, unit=FRACTION)
    counts = ", ".join(f"{number:,} {_WORDS[fault]}" for fault, number in faults.most_common())
    return f"{faults.total():,} of {count(answers, 'answer')} ({share}) cannot be judged: {counts}"


def _remedy(fault: Fault, found: Sequence[tuple[Missing, Answer]], reading: AnswerRule) -> str:
    example = found[0][0]
    if fault == "cut":
        return _longer(found, reading)
    if fault == "empty":
        thought = any(answer.reasoning for _, answer in found)
        return (
            f"the replies hold thoughts and no answer: {_no_thinking(reading)}"
            if thought
            else f"look at what the model was sent, and at its stop strings and chat template, for {example.sample_id}"
        )
    if fault == "filtered":
        return f"change the server's content filter, or leave out samples such as {example.sample_id}"
    if fault == "refused":
        return (
            f"change the prompt so that the model does not decline, as it does {example.sample_id} "
            f"({example.excerpt!r}); where declining is what is judged, add SafetyRules() to metrics"
        )
    if fault == "tool":
        return "ask the server for text: switch its tools off, such as Endpoint(parameters={'tool_choice': 'none'})"
    return (
        f"change reader= (or the task's read()), which gives nothing for {example.excerpt!r}, or show the form "
        "that it reads, as FewShot() does; where another form is a wrong answer, let read() return the text"
    )


def _longer(found: Sequence[tuple[Missing, Answer]], reading: AnswerRule) -> str:
    thinking = sum(bool(answer.reasoning) and not answer.text.strip() for _, answer in found)
    if thinking * 2 < len(found):
        return (
            f"raise answer_tokens from {reading.limit:,} to {4 * reading.limit:,}, or ask for shorter answers; where "
            'the answer stands in front, read only that, such as reader="first_line"'
        )
    room = max(_THINKING_TOKENS, 4 * reading.limit)
    return (
        f"they were cut while thinking: raise answer_tokens from {reading.limit:,} to {room:,}, "
        f"or {_no_thinking(reading)}"
    )


def _no_thinking(reading: AnswerRule) -> str:
    if reading.hosted:
        return (
            'switch thinking off, such as Endpoint(parameters={"chat_template_kwargs": {"enable_thinking": False}}) '
            'or parameters={"reasoning_effort": "low"}'
        )
    return 'switch thinking off: Model(..., template_options={"enable_thinking": False})'
