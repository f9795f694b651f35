"""Numbers as people and models write them: where they stand in a text, and what they are worth."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

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

    value: None for what is no number. parts: what the value counts: 1, hundredths (a percentage) or thousandths.
    """

    kind: Kind
    text: str
    start: int
    end: int
    value: Fraction | None = None
    parts: int = 1


@lru_cache(maxsize=4096)  # A reference is read again for every system.
def plain(text: str) -> str:
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
    """Return the number of digits and signs between them, None where the signs are no way to group digits."""
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
