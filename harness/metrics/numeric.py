"""The share of answers whose number is the reference's."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Literal

from harness.errors import InvalidData, InvalidExperiment
from harness.metrics.written_numbers import DecimalSign, Written, plain, written
from harness.protocols import Direction
from harness.samples import Answer, Check, Sample, Score

_NAMED_AT_MOST = 3
_TAGGED = re.compile(r"<(?:final_)?answer>(.*?)(?:</(?:final_)?answer>|\Z)", re.DOTALL | re.IGNORECASE)
# "#### 1. Add the eggs" is a heading of Markdown, and no answer.
_HASHES = re.compile(
    r"####\s*(?![^\d\n]{0,20}\d+[.)]\s+[^\W\d])(?=[^\w\n]{0,20}(?:[A-Za-z]{2,3}\.?\s?)?\d|[^\n]{0,40}answer)([^\n]*)"
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}?")
_SAID = re.compile(
    r"(?:\banswers?\b(?:\s+(?:to\s+(?:the|this)\s+\w+|here))?\s*(?:[:=]|\b(?:is|are|would\s+be|must\s+be|equals)\b:?)"
    r"|答案\s*(?:[:：=]|就?[是为為](?:[:：])?)|\b(?:Antwort|respuesta|réponse|risposta|resposta)\s*(?::|ist\b|es\b|est\b)"
    r"|答え\s*(?:[:：]|は)|ответ\s*:)",
    re.IGNORECASE,
)
_NEXT_QUESTION = re.compile(r"\n\s*(?:\*\*)?(?:Question|Problem|Q|问题|题目)\s*\d*\s*[:：]", re.IGNORECASE)
_SENTENCE = re.compile(r"\n|[!?。！？]|\.(?=\s|$)")
_DIRECT = re.compile(
    r"[\W_]*(?:(?:about|approximately|approx|around|roughly|exactly|just|only|equal\s+to|约|大约|就?是|为|等于|[A-Za-z]\s*=)"
    r"[\W_]*)*"
)
_EQUALS = re.compile(r"\s*[=≈]\s*[^\w\s]?\s*")
# A first paragraph of nothing but a number, before an explanation.
_ALONE = re.compile(r"\s*([^\w\n]*\d[^A-Za-z\n]*?)[ \t]*\n[ \t]*\n\s*\S")
_REMARK = re.compile(r"\([^()\n]*\)|（[^（）\n]*）|\[\d{1,2}\]")


@dataclass(frozen=True)
class Numeric:
    """1 where the number that the answer gives is the reference's, else 0.

    The answer's number stands in <answer> tags, after "####", in a box of TeX, or after "Answer:", "the answer is" and
    their like in some other languages, or it is the whole first paragraph; without any of these it is the last one.
    What stands in brackets after it is a remark. Read are 42, -3.5, 1,234.5, 12,34,567, 9 234, 1'234, .5, 2e-3,
    3 × 10^5, 3/4, 1 1/2, ½, 50 %, 5 ‰, $5, 5k, 3 million, 3万, in any script's digits. Times, dates, ratios, ranges and
    "3 or 4" are no number, and neither are digits whose signs group nothing, as in 12,5; numbers in words are not read.
    Units are not compared.

    A percentage equals its share: 50 % is 0.5. It also equals the plain number that it shows where that is above 1,
    since a question for a percentage may be answered with 50.

    A reference must be a single number, alone or behind one of the marks above; others are INVALID before anything is
    asked. tolerance: how far off the answer may be. relative: the same as a share of the reference; the wider one
    counts. decimal: "," reads 1.234,5 as most of Europe writes it.
    """

    tolerance: float = 0.0
    relative: float = 0.0
    decimal: DecimalSign = field(default=".", metadata={"key": "changed"})

    name: ClassVar[str] = "numeric"
    better: ClassVar[Direction] = "higher"

    def __post_init__(self) -> None:
        for name, value in (("tolerance", self.tolerance), ("relative", self.relative)):
            if not 0 <= value < float("inf"):
                raise InvalidExperiment(f"Numeric({name}={value}): give 0 or more; 0 asks for the number itself")
        if self.decimal not in (".", ","):
            raise InvalidExperiment(f'Numeric(decimal={self.decimal!r}): give "." or ","')

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return the score with detail [expected, found], as text; found is None where there is no number.

        Raises InvalidData for a reference that is no single number.
        """
        expected = _single(sample.reference, self.decimal)
        if isinstance(expected, str):
            raise InvalidData(f"sample {sample.id!r}: its reference {sample.reference[:80]!r} {expected}; {_REMEDY}")
        found = given_number(answer.text, self.decimal)
        right = found is not None and any(self._near(one, other) for one, other in _readings(expected, found))
        return Score(float(right), detail=[_shown(expected), None if found is None else _shown(found)])

    def check_references(self, samples: Sequence[Sample]) -> Check | None:
        """Return what is wrong with the references, before anything is asked; None where nothing is."""
        bad = [(sample, why) for sample in samples if isinstance(why := _single(sample.reference, self.decimal), str)]
        if not bad:
            return None
        named = "; ".join(f"{s.id!r}: {s.reference[:60]!r} {why}" for s, why in bad[:_NAMED_AT_MOST])
        return Check(
            name="references of numeric",
            status="invalid",
            detail=f"{len(bad):,} of {len(samples):,} references are no single number ({named}); {_REMEDY}",
            items=tuple(sample.id for sample, _ in bad),
            kind="data",
        )

    def _near(self, expected: Fraction, found: Fraction) -> bool:
        allowed = max(Fraction(Decimal(repr(self.tolerance))), Fraction(Decimal(repr(self.relative))) * abs(expected))
        return abs(found - expected) <= allowed


_REMEDY = (
    'write one number, alone or after "####" ("12,5" is read by Numeric(decimal=",")), or use another metric such as '
    "ExactMatch()"
)


def given_number(text: str, decimal: DecimalSign = ".") -> Written | None:
    """Return the number that an answer gives, None where it gives none."""
    for mark, segment in _segments(text):
        found = _outside_remarks(segment, written(segment, decimal))
        if mark == "none":
            found = [one for one in found if one.kind not in ("date", "time")]
        if found:
            given = found[-1] if mark == "none" else _told(segment, found)
            return given if given.value is not None else None
    return None


def _single(text: str, decimal: DecimalSign) -> Written | str:
    """Return the one number of a reference, or in words why it is not one."""
    for _, segment in _segments(text):
        found = _outside_remarks(segment, written(segment, decimal))
        if not found:
            continue
        if len(found) > 1 and len({(one.value, one.parts) for one in found}) > 1:
            return f"holds {len(found)} numbers ({', '.join(one.text for one in found[:4])})"
        if found[0].value is None:
            return (
                f"is no number but a {found[0].kind}: {found[0].text}"
                if found[0].kind != "grouping"
                else (f"groups digits as no number does: {found[0].text}")
            )
        return found[0]
    return "holds no number"


Mark = Literal["tag", "hashes", "box", "words", "line", "none"]


def _segments(text: str) -> Iterator[tuple[Mark, str]]:
    """Yield the pieces of `text` that may hold its number, the surest first, and the whole text last."""
    # A model that writes on after its answer asks itself the next question.
    following = next((m for m in _NEXT_QUESTION.finditer(text) if re.search(r"\d", text[: m.start()])), None)
    text = text[: following.start()] if following else text
    if tags := _TAGGED.findall(text):
        yield "tag", plain(tags[-1])
    if hashes := _HASHES.search(text):
        yield "hashes", plain(hashes[1])
    if boxes := _BOXED.findall(text):
        yield "box", plain(boxes[-1])
    whole = plain(text)
    for said in reversed(list(_SAID.finditer(whole))):
        for segment in _following(whole[said.end() :]):
            yield "words", segment
    if alone := _ALONE.match(whole):
        yield "line", alone[1]
    yield "none", whole


def _following(text: str) -> Iterator[str]:
    """Yield what follows "Answer:": its sentence, or the first of the next lines that is not empty."""
    text = text.lstrip(" \t*_:\n")
    end = _SENTENCE.search(text)
    yield text[: end.start()] if end else text
    yield text.split("\n", 1)[0]


def _outside_remarks(text: str, found: Sequence[Written]) -> list[Written]:
    """Return the numbers that no remark in brackets holds; all of them where nothing else is there."""
    spans = [
        m.span() for m in _REMARK.finditer(text) if m.group()[0] == "[" or re.search(r"[^\W\d]|[=+×*/]", m.group())
    ]
    outside = [one for one in found if not any(start <= one.start and one.end <= end for start, end in spans)]
    return outside or list(found)


def _told(text: str, found: Sequence[Written]) -> Written:
    """Return the number that a sentence about the answer names: what it begins with, else the last one."""
    if _DIRECT.fullmatch(text[: found[0].start]) is None:
        return found[-1]
    first, *later = found
    for one in later:  # "3 × 6 = 18": what it comes to
        if first.value is not None or not _EQUALS.fullmatch(text[first.end : one.start]):
            break
        first = one
    return first


def _readings(expected: Written, found: Written) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield the pairs of numbers of which one must be equal."""
    assert expected.value is not None
    assert found.value is not None
    if expected.parts == found.parts:
        yield expected.value, found.value
        return
    yield expected.value / expected.parts, found.value / found.parts
    if any(one.parts == 1 and abs(one.value or Fraction(0)) > 1 for one in (expected, found)):
        yield expected.value, found.value


def _shown(number: Written) -> str:
    """Return the number as a decimal where it has one, with its percent sign."""
    assert number.value is not None
    value, rest = number.value, number.value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    text = (
        f"{Decimal(value.numerator) / value.denominator:f}" if rest == 1 else f"{value.numerator}/{value.denominator}"
    )
    return text + {1: "", 100: " %", 1000: " ‰"}[number.parts]
