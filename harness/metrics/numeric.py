"""The share of answers whose number is the reference's.

Numbers as people and models write them: where they stand in a text, and what they are worth.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar, Literal

from harness.errors import InvalidData, InvalidExperiment
from harness.types.protocols import Direction
from harness.types.samples import Answer, Check, Sample, Score

DecimalSign = Literal[".", ","]
Kind = Literal["number", "date", "time", "ratio", "range", "choice of numbers", "formula", "grouping", "code"]

# Of one number; a model that repeats itself writes thousands of digits.
_MOST_CHARACTERS = 300
_SPACES = "\u00a0\u2007\u2009\u202f"
_SIGN = "[-+\u2212\u2013]"
_MONTHS = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)"
)
# A digit after a letter is part of a name (H2O, x2), and one after a digit and its point is inside a number.
_BEGIN = r"(?<![A-Za-z_\d])(?<!\d[.,])"
_TOKEN = re.compile(
    rf"""
    (?P<code>(?<!\w)0[xXbB][0-9a-fA-F]+\b)
    |(?P<date>{_BEGIN}(?:
        \d{{4}}([-/.])\d{{1,2}}\3\d{{1,2}}(?!\d) | \d{{1,2}}([-/.])\d{{1,2}}\4(?:\d{{4}}|\d{{2}})(?!\d)
        | \d{{4}}年(?:\d{{1,2}}月(?:\d{{1,2}}[日号])?)? | \d{{1,2}}月\d{{1,2}}[日号]
        | \d{{1,2}}(?:st|nd|rd|th)?\s(?:of\s)?{_MONTHS}\b(?:,?\s\d{{4}})?)
        | \b{_MONTHS}\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?!\d)(?:,?\s\d{{4}}\b)?)
    |(?P<time>{_BEGIN}(?:
        \d{{1,2}}:\d{{2}}(?::\d{{2}})?(?![\d:])(?:\s?[ap]\.?m\b\.?)?
        | \d{{1,2}}(?:[.:]\d{{2}})?\s?(?:[aApP]\.?[mM]\b\.?|Uhr\b|o['’]clock\b)
        | \d{{1,2}}h\d{{2}}\b | \d{{1,2}}[点點时時]\d{{1,2}}分?))
    |(?P<ratio>{_BEGIN}\d+(?:\.\d+)?(?::\d+(?:\.\d+)?)+)
    |(?P<number>
        (?P<sign>(?<![A-Za-z0-9_.)\]%}}]){_SIGN}(?=[.,\d]|\s?[$€£¥₹])\s?|\b(?:minus|negative)\s|负|負)?
        (?P<hundredths>百分之)?
        (?:(?P<currency>(?<![A-Za-z])(?:USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|Rs\.?))|[$€£¥₹]\s?(?P<inner>[-\u2212](?=\d))?)?
        (?P<digits>(?(currency)\s?|{_BEGIN})(?:
            \d{{1,3}}(?:\x20\d{{3}})+(?:[.,]\d+)?(?![\d.,]*\d|\x20\d)
            | \d+(?:[.,'’_{_SPACES}]\d+)*)
            | (?<![\w.,)\]])[.,]\d+)
        (?P<below>\s?/\s?\d+(?![\d.,]*\d|/))?
        (?(below)|(?P<mixed>\s(?:and\s)?\d+\s?/\s?\d+(?![\d.,]*\d|/))?)
        (?P<power>[eE][-+\u2212]?\d{{1,3}}(?!\w)
            |\s?[×·*x]\s?10\s?(?:\^|\*\*)\s?[({{]?[-+\u2212]?\d{{1,3}}[)}}]?(?!\d))?
        (?P<scale>\s?(?:hundred|thousand|million|billion|trillion)s?\b|\s?(?:万亿|萬億|万|萬|亿|億)
            |千(?![克米瓦卡赫字焦帕])|百(?!分)|k(?![A-Za-z]))?
        (?P<percent>\s?(?:%|‰|percent\b|per\scent\b|pct\b|Prozent\b))?)
    """,
    re.VERBOSE,
)
_NO_NUMBERS: tuple[Kind, ...] = ("code", "date", "time", "ratio")
_SCALES: Mapping[str, int] = {
    "hundred": 100, "百": 100, "千": 10**3,
    "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "k": 10**3,
    "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8, "万亿": 10**12, "萬億": 10**12,
}  # fmt: skip
_JOINED: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("choice of numbers", re.compile(r"\s*(?:,?\s?or|或者?|还是|oder|ou)\s*")),
    ("range", re.compile(r"[-–—]|\s?[~〜～±]\s?|\s?(?:\+/-|至|到|\.\.\.?|…)\s?")),
    ("formula", re.compile(r"[ ]?(?:[+×·*÷^/]|\*\*)[ ]?|[ ]x[ ]")),
)
_BEFORE_UNDONE = re.compile(r"(?:[√∛≤≥±]|\\sqrt\{?|sqrt\(|(?<=[^-=<>\n])[<>]=?)\s?$")
_AFTER_UNDONE = re.compile(r"\s?(?:π|\\pi|√|\\sqrt|\^|\*\*)")
_BOUND = re.compile(r"\s*(?:<=?\s?|>=\s?|>)$")
_FRACTIONS = {
    character: unicodedata.normalize("NFKC", character).replace("\u2044", "/") for character in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_LATEX = (
    (re.compile(r"\\[dt]?frac\s?\{\s?(-?[\d.,]+)\s?\}\s?\{\s?([\d.,]+)\s?\}"), r" \1/\2"),
    (re.compile(r"-\s(-?\d+/\d+)"), r"-\1"),
    (re.compile(r"\\[dt]?frac(\d)(\d)"), r" \1/\2"),
    (re.compile(r"\{,\}|\\!,"), ","),
    (re.compile(r"(?<=\d)\\[,;! ](?=\d)"), "\u202f"),
    (re.compile(r"\\([$%#&])"), r"\1"),
    (re.compile(r"\\times\b"), "×"),
    (re.compile(r"\\cdot\b"), "·"),
)
# 10^6 by itself; with a factor before it, it is the exponent of that.
_POWER = re.compile(r"(?<![\w.,^×·*])(?<![×·*x]\s)10\s?(?:\^|\*\*)\s?[({]?([-+]?\d{1,3})[)}]?(?![\d.])")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
_BOLD = re.compile(r"(?<!\d)(?:\*\*|__)|(?:\*\*|__)(?!\d)|`")


@dataclass(frozen=True, slots=True)
class Written:
    """A number, or something with digits that is not one number; it stands at start:end of the plain text.

    Attributes:
        kind: What it is.
        text: As it is written.
        start: Its first character.
        end: The one after its last.
        value: None for what is no number.
        parts: What the value counts: 1, hundredths (a percentage) or thousandths.
    """

    kind: Kind
    text: str
    start: int
    end: int
    value: Fraction | None = None
    parts: int = 1


@lru_cache(maxsize=4096)  # A reference is read again for every system.
def plain_number(text: str) -> str:
    """Return `text` with ASCII digits and signs, fractions written out, and without marks of Markdown, TeX and HTML."""
    for pattern, instead in _LATEX:
        text = pattern.sub(instead, text)
    text = "".join(_plain(character, text[place - 1 : place]) for place, character in enumerate(text))
    text = re.sub(
        "([\\d)]?)([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda m: f"{m[1]}^{m[2].translate(_SUPERSCRIPTS)}" if m[1] else "", text
    )
    return _BOLD.sub("", _TAG.sub(" ", _POWER.sub(r"1e\1", text)))


def written(text: str, decimal: DecimalSign) -> tuple[Written, ...]:
    """Return what has digits in a `plain` text, in order; what belongs together, as both ends of a range, is one."""
    return tuple(_joined(text, [_marked(text, one) for one in _tokens(text, decimal)]))


def _plain(character: str, before: str) -> str:
    """Return one character as ASCII writes it, if it does."""
    if character in _FRACTIONS:
        # 1½ is no 11/2.
        return f" {_FRACTIONS[character]}" if before.isdigit() else _FRACTIONS[character]
    code = ord(character)
    if code < 0x80:
        return character
    if 0xFF01 <= code <= 0xFF5E:
        return chr(code - 0xFEE0)
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.decimal(character))
    return {"\u3000": " ", "\u2044": "/", "\u066b": ".", "\u066c": "'", "\ufe63": "-"}.get(character, character)


def _tokens(text: str, decimal: DecimalSign) -> Iterator[Written]:
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        if match["number"] is None:
            kind = next(name for name in _NO_NUMBERS if match[name])
            yield Written(kind, match.group(), start, end)
            continue
        value = _value(match, decimal)
        parts = 1000 if "‰" in (match["percent"] or "") else 100 if match["percent"] or match["hundredths"] else 1
        yield Written("grouping" if value is None else "number", match.group().strip(), start, end, value, parts)


def _value(match: re.Match[str], decimal: DecimalSign) -> Fraction | None:
    """Return what the parts of a number make, None if they make none."""
    if match.end() - match.start() > _MOST_CHARACTERS:
        return None
    value = _digits(match["digits"].strip(), decimal)
    fraction = match["below"] or match["mixed"]
    if value is not None and fraction:
        above, below = (int(part) for part in re.findall(r"\d+", f"1 {fraction}")[-2:])
        if below == 0 or value.denominator != 1:
            return None
        value = value / below if match["below"] else value + Fraction(above, below)
    if value is None:
        return None
    if match["power"]:
        found = re.findall(r"[-+]?\d+", match["power"].replace("\u2212", "-"))
        value *= Fraction(10) ** int(found[-1])
    if match["scale"]:
        scale = match["scale"].strip()
        value *= _SCALES.get(scale) or _SCALES[scale.removesuffix("s")]
    sign = (match["sign"] or "").strip() + (match["inner"] or "")
    return value if sign in ("", "+") else -value


def _digits(text: str, decimal: DecimalSign) -> Fraction | None:
    """Return the number of digits and signs between them, None if the signs are no way to group digits."""
    other = "," if decimal == "." else "."
    whole, sign, part = text.partition(decimal)
    if decimal == "," and not sign and re.fullmatch(r"\d*\.(?:\d{1,2}|\d{4,})", text):
        # No groups have so many digits: the point can only be meant as the decimal sign.
        whole, sign, part = text.partition(".")
    if (sign and not part.isdigit()) or (not sign and text.startswith(other)):
        return None
    marks = {mark for mark in whole if not mark.isdigit()}
    if marks:
        (mark, *more) = marks
        first, *groups = re.split(r"\D", whole)
        even = all(len(group) == 3 for group in groups) and len(first) <= 3
        indian = mark == "," and len(groups[-1]) == 3 and all(len(g) == 2 for g in groups[:-1]) and len(first) <= 2
        if more or (mark in ".," and mark != other) or first.startswith("0") or not (even or indian):
            return None
    return Fraction(f"{re.sub(r'[^0-9]', '', whole) or '0'}.{part or '0'}")


def _marked(text: str, found: Written) -> Written:
    """Return the token; a root of it or a bound by it is no number."""
    before = text[max(0, found.start - 8) : found.start]
    bound = found.start < 8 and _BOUND.match(before)
    if found.kind != "number" or not (bound or _BEFORE_UNDONE.search(before) or _AFTER_UNDONE.match(text, found.end)):
        return found
    return replace(found, kind="formula", value=None)


def _joined(text: str, found: list[Written]) -> Iterator[Written]:
    """Yield the tokens, with those that one sign joins as one."""
    held: Written | None = None
    for one in found:
        kind = None if held is None else _joins(text[held.end : one.start], held, one)
        if held is not None and kind is None:
            yield held
        held = one if held is None or kind is None else Written(kind, text[held.start : one.end], held.start, one.end)
    if held is not None:
        yield held


def _joins(between: str, left: Written, right: Written) -> Kind | None:
    if {left.kind, right.kind} & {"date", "time", "code"}:
        return None
    for kind, pattern in _JOINED:
        if pattern.fullmatch(between):
            # "16 or 16.0" leaves no choice.
            same = kind == "choice of numbers" and left.value is not None and left.value == right.value
            return None if same else kind
    return None


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
    """1 if the number that the answer gives is the reference's, else 0.

    The answer's number stands in <answer> tags, after "####", in a box of TeX, or after "Answer:", "the answer is" and
    their like in some other languages, or it is the whole first paragraph; without any of these it is the last one.
    What stands in brackets after it is a remark. Read are 42, -3.5, 1,234.5, 12,34,567, 9 234, 1'234, .5, 2e-3,
    3 × 10^5, 3/4, 1 1/2, ½, 50 %, 5 ‰, $5, 5k, 3 million, 3万, in any script's digits. Times, dates, ratios, ranges and
    "3 or 4" are no number, and neither are digits whose signs group nothing, as in 12,5; numbers in words are not read.
    Units are not compared.

    A percentage equals its share: 50 % is 0.5. It also equals the plain number that it shows if that is above 1,
    since a question for a percentage may be answered with 50.

    A reference must be a single number, alone or behind one of the marks above; others are INVALID before anything is
    asked.

    Args:
        tolerance: How far off the answer may be, 0 or more.
        relative: The same as a share of the reference; the wider one counts.
        decimal: "," reads 1.234,5 as most of Europe writes it.

    Raises:
        InvalidExperiment: If a tolerance is below 0, or `decimal` is another sign.

    Examples:
        >>> sample = Sample(id="1", input="How many?", reference="#### 1,200")
        >>> Numeric().score(sample, Answer(sample_id="1", text="15 times 80, so the answer is 1200.")).value
        1.0
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
        """Return the score with detail [expected, found], as text; found is None if there is no number.

        Raises:
            InvalidData: If the reference is no single number.
        """
        expected = _single(sample.reference, self.decimal)
        if isinstance(expected, str):
            raise InvalidData(f"sample {sample.id!r}: its reference {sample.reference[:80]!r} {expected}; {_REMEDY}")
        found = given_number(answer.text, self.decimal)
        right = found is not None and any(self._near(one, other) for one, other in _readings(expected, found))
        return Score(float(right), detail=[_shown(expected), None if found is None else _shown(found)])

    def check_references(self, samples: Sequence[Sample]) -> Check | None:
        """Return what is wrong with the references, before anything is asked; None if nothing is."""
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
    """Return the number that an answer gives, None if it gives none."""
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
        yield "tag", plain_number(tags[-1])
    if hashes := _HASHES.search(text):
        yield "hashes", plain_number(hashes[1])
    if boxes := _BOXED.findall(text):
        yield "box", plain_number(boxes[-1])
    whole = plain_number(text)
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
    """Return the numbers that no remark in brackets holds; all of them if nothing else is there."""
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
    """Return the number as a decimal if it has one, with its percent sign."""
    assert number.value is not None
    value, rest = number.value, number.value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    text = (
        f"{Decimal(value.numerator) / value.denominator:f}" if rest == 1 else f"{value.numerator}/{value.denominator}"
    )
    return text + {1: "", 100: " %", 1000: " ‰"}[number.parts]
