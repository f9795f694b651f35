"""Whom a judge's reply names the better of answers A and B, or that it names neither plainly."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Literal

Choice = Literal["A", "B", "tie"]

REPLY_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {"winner": {"type": "string", "enum": ["A", "B", "tie"]}},
    "required": ["winner"],
    "additionalProperties": False,
}

_WINNER = (
    r"winner|winning[\s_]+(?:answer|response)|verdict|preferred(?:[\s_]+(?:answer|response|option))?|preference|"
    r"better(?:[\s_]+(?:answer|response|one|option))?|best(?:[\s_]+(?:answer|response|one|option))?|choice|decision|"
    r"judge?ment|\bans|(?:final[\s_]+)?(?:answer|response)|result|conclusion|vote|pick|selected|selection|"
    r"ganador|gagnant|vainqueur|gewinner|sieger|vincitore|vencedor|победитель|"
    r"最终?获胜者|获胜者|获胜的?(?:回答|答案)|胜出者|优胜者|胜者|赢家|(?:更|较)好的(?:回答|答案|一个)?|答案|结论|结果|选择|判断|勝者|승자"
)
_KEY = re.compile(rf"(?:the|final|overall|my)?[\s_]?(?:{_WINNER})(?:[\s_]is)?", re.IGNORECASE)
_LABEL = re.compile(
    rf"(?:{_WINNER})[\"']?\s*(?P<sign>[:=→>–—-]+|\bis\b:?|\bwould\s+be\b|\b(?:est|es|ist|è)\b|是:?|为:?|は)?\s*",
    re.IGNORECASE,
)
_NOUN = r"(?i:(?:the\s+)?(?:answer|response|reply|option|assistant|candidate|model|choice|system|output)[\s_]*)"
_NOUN_ZH = r"(?:回答|答案|回复|选项|助手|模型|候选|答复|方案)\s*"
# Alone, only a capital is a letter: "a" is an article. After "answer" either case names one.
_NAMED = (
    rf"(?:(?:{_NOUN}|{_NOUN_ZH})[\"'(\[]{{0,3}}(?P<called>[ABab])|(?<![A-Za-z0-9_])[\"'(\[]{{0,3}}(?P<bare>[AB]))(?![A-Za-z0-9_])"
    r"(?:'s\s+(?:answer|response|reply)\b)?(?!'[a-z])[\"')\]]{0,3}"
)
_BEGINS = re.compile(rf"\W{{0,12}}{_NAMED}")
_BEGINS_SMALL = re.compile(r"\W{0,12}(?P<bare>[ab])(?P<called>)\W{0,12}$")
_BOTH = re.compile(r"\W{0,12}[AB]\b\W{0,6}(?:(?:or|and|/|&|或|和)\W{0,6}(?:answer\s+)?[AB]\b|[,/&]\s*[AB]\W{0,12}$)")
# What may follow the letter of a verdict. "A good answer" names nobody.
_AFTER = re.compile(
    r"\s*(?:$|[.,:;!()\]\"'。，；、}–—-]|(?:because|since|as|for|due|by|with|over|is|wins?|was|clearly|hands|has|better|"
    r"though|although|but)\b(?!\s+not\b)|因为|更|胜|优于|比)",
    re.IGNORECASE,
)
_TIE = re.compile(
    r"\W{0,12}(?:(?:(?:it'?s|it\s+is|this\s+is)\s+)?(?:an?\s+|the\s+)?(?:tied?|draw|equal|even|both|neither|none|same|equivalent|"
    r"no\s+(?:clear\s+)?(?:winner|preference|difference)|equally\s+\w+|toss-?up|too\s+close\s+to\s+call|unentschieden|empate|égalité|pareggio|ничья)"
    r"(?![\w'])(?!\s+(?:but|except|\w+(?<!are)(?<!in)(?<!between)(?<!answers)(?<!is)\s*$))"
    r"|平局|平手|打平|持平|相同|一样好?|同样好|两者(?:相同|一样|相当)|不相上下|难分(?:伯仲|高下|胜负)|引き分け|同点|무승부)",
    re.IGNORECASE,
)
_MORE = r"(?:(?:clearly|much|slightly|significantly|far|the|a|marginally|overall|definitely|somewhat|also|still)\s+)*"
_WINS = re.compile(
    rf"{_NAMED}\s*(?:(?:is|was|seems|appears(?:\s+to\s+be)?|looks)\s+{_MORE}(?:better|best|superior|preferable|preferred|"
    rf"stronger|winner|winning)\b|better\s+than\b|(?:provides|gives|offers|does)\s+{_MORE}(?:better|best|stronger|superior)\b|"
    rf"{_MORE}(?:wins|won|beats|outperforms)\b|(?:明显|显然|略|稍|要|则|会|是)*(?:(?:更|较|最)[好优佳]|胜出|获胜|胜过?|赢|优于|好于|"
    rf"比\s*(?:{_NOUN_ZH})?[ABab]\s*(?:更|要)?[好强优佳]))"
)
_LOSES = re.compile(rf"{_NAMED}\s*(?:(?:is|was)\s+{_MORE}worse\s+than\b|不如|不及|劣于|比不上)")
_CHOSEN = re.compile(
    rf"(?:(?i:\b(?:I|we)(?:\s+|(?='))(?:would\s+|'d\s+|will\s+)?(?:prefer|choose|pick|select|favou?r|vote\s+for|say|go\s+with|go\s+for)\s+"
    rf"(?:the\s+)?)|(?:选择?|更喜欢|倾向于|偏好)\s*){_NAMED}(?!\s*(?:or|and|/|或|和)\b)"
)
_TIED = re.compile(
    r"\b(?:it'?s|it\s+is|this\s+is|call\s+it|declare|ends?\s+in|say)\s+(?:an?\s+)?(?:tie|draw)\b"
    r"|\b(?:both|they|(?:answers|responses|options)|A\s+and\s+(?:answer\s+)?B)\b[^.\n]{0,30}?\b(?:are|serve|perform|do)\s+"
    r"(?:(?:just|about|roughly|essentially|exactly|basically)\s+)*(?:equal(?:ly)?|the\s+same|identical|equivalent|comparable|tied)\b"
    r"|\bneither\b[^.\n]{0,30}\bis\s+better\b|\bno\s+(?:clear\s+|real\s+)?(?:winner|difference|preference)\b"
    r"|平局|平手|打平|不相上下|难分(?:伯仲|高下|胜负)|(?:两者|两个|二者|A\s*和\s*B)[^。\n]{0,10}(?:一样|相同|相当|同样好|持平)|引き分け",
    re.IGNORECASE,
)
# In the same clause before a sentence's verdict, or within it.
_DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|whether|neither|nor|if|unless|unclear|hardly|why|which|doubt)\b|n't\b|不是?|并非|没有|是否|如果|无法)"
    r"[^.,;!?。，；！？\n]{0,40}$",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:not|never)\b|n't\b|不(?![如及]|相上下)(?<!比不)", re.IGNORECASE)
_THOUGHTS = re.compile(r"<(think|thinking|reasoning|thought)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_DOUBLE = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)
_MARKED = re.compile(
    r"<(?:winner|verdict|answer|choice|preferred|result)>\s*(.*?)\s*</|\\boxed\s*\{(?:\\text\s*\{)?\s*([^{}]*?)\s*\}",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"[*_`#~]+")
_OPENING = re.compile(r"[{\[]")
_END = 2000


def winner(reply: str) -> Choice | None:
    """Return the one choice that `reply` states, None if it states none or several.

    Read, the surest first: JSON with a winner, [[A]] and tags, the letter alone, lines such as "Winner: A", and
    sentences such as "A is better than B", in English and Chinese. Thoughts in <think> do not count. A tie is what says
    so: tie, equal, both, neither, 平局. A reply that declines to judge, or names both, states none.
    """
    # Longer replies say what they say at one of their ends.
    whole = reply if len(reply) <= 2 * _END else f"{reply[:_END]}\n{reply[-_END:]}"
    text = unicodedata.normalize("NFKC", whole).replace("\u200b", "").replace("\ufeff", "").replace("’", "'")
    text = _THOUGHTS.sub(" ", text)
    plain = _MARKDOWN.sub("", text)
    for found in (_from_json(text), _from_marks(text), _alone(plain), _labelled(plain), _sentences(plain)):
        said = set(found)
        if said:
            return said.pop() if len(said) == 1 else None
    return None


def json_values(text: str) -> Iterator[object]:
    """Yield each JSON object or list that stands in `text`, outermost ones only."""
    place = 0
    while (opening := _OPENING.search(text, place)) is not None:
        try:
            value, place = json.JSONDecoder().raw_decode(text, opening.start())
        except RecursionError:
            return  # a model stuck on "["
        except ValueError:
            place = opening.end()
            continue
        yield value


def _from_json(text: str) -> Iterator[Choice | None]:
    for value in json_values(text):
        yield from _in_value(value)


def _in_value(value: object) -> Iterator[Choice | None]:
    """Yield what the members of a JSON value say that are called winner or the like; None if one says nothing."""
    members: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        members = list(value.items())
    elif isinstance(value, list):
        members = [("", one) for one in value]
    for name, item in members:
        if isinstance(item, str | None) and (
            _KEY.fullmatch(name.strip()) or (len(members) == 1 and _stated(item or ""))
        ):
            yield _stated(item or "")
        yield from _in_value(item)


def _from_marks(text: str) -> Iterator[Choice | None]:
    for letter in _DOUBLE.findall(text):
        yield _choice(letter)
    for one, other in _MARKED.findall(text):
        if said := _stated(one or other):
            yield said


def _alone(plain: str) -> Iterator[Choice]:
    lines = [line for line in plain.splitlines() if line.strip()]
    for text in (plain, *lines[:1], *lines[-1:]):
        if said := _stated(text, whole=True):
            yield said


def _labelled(plain: str) -> Iterator[Choice | None]:
    """Yield what the last line such as "Winner: A" says; None if it says two things."""
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    last: set[Choice | None] = set()
    before: set[Choice | None] = set()
    for line, following in zip_longest(lines, lines[1:], fillvalue=""):
        said: set[Choice | None] = set()
        for label in _LABEL.finditer(line):
            rest, signed = line[label.end() :], label["sign"] is not None
            if (not signed and label.start() > 0) or _DENIED.search(line[: label.start()]):
                continue
            if _BOTH.match(rest):
                said.add(None)
            elif found := _stated(rest or following, whole=not signed):
                said.add(found)
        # One line after another is a list of what could be said; what stands apart is a change of mind.
        last = said | before if said else last
        before = said
    yield from last


def _stated(text: str, *, whole: bool = False) -> Choice | None:
    """Return the choice that `text` begins with. whole: nothing else may stand in it."""
    tie, named = _TIE.match(text), _BEGINS.match(text) or _BEGINS_SMALL.match(text)
    found = tie or named
    if found is None or _BOTH.match(text):
        return None
    rest = text[found.end() :]
    if whole and rest.strip(" .!。！)]}\"':"):
        return None
    if tie:
        return "tie"
    assert named is not None
    return _letter(named) if _AFTER.match(rest) else None


def _sentences(plain: str) -> Iterator[Choice]:
    for pattern, turned in ((_WINS, False), (_CHOSEN, False), (_LOSES, True)):
        for match in pattern.finditer(plain):
            if not _DENIED.search(plain[: match.start()]) and not _NOT.search(match.group()):
                letter = _letter(match)
                yield letter if not turned else "B" if letter == "A" else "A"
    for match in _TIED.finditer(plain):
        if not _DENIED.search(plain[: match.start()]) and not _NOT.search(match.group()):
            yield "tie"


def _letter(match: re.Match[str]) -> Choice:
    return _choice(match["called"] or match["bare"])


def _choice(text: str) -> Choice:
    return {"A": "A", "B": "B"}.get(text.upper(), "tie")  # type: ignore[return-value]
