"""Lists and objects that a table holds as text: "['a', 'b']", '["a"]', "{'text': ['x']}"."""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence

_PIECE = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>[\[\]{}(),:=])
    )""",
    re.VERBOSE | re.DOTALL,
)
_UNKNOWN_ESCAPE = re.compile(r"""(?<!\\)(?:\\\\)*\\[^\\'"abfnrtvx0-7uUN]""")
_WORDS: Mapping[str, object] = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "null": None,
    "nan": None,
    "NaN": None,
}
_DEEPEST = 50


def as_list(value: object) -> list[object] | None:
    """Return the list that `value` is, or that it writes out as text; None if it is no list.

    Read are JSON, Python's way of writing a list, and numpy's, which has no commas: "['a' 'b']" has two elements.
    A text that is cut off, or that only begins like a list, is none.
    """
    if isinstance(value, str):
        value = _written(value, "[")
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else None


def as_mapping(value: object) -> Mapping[str, object] | None:
    """Return the object that `value` is, or that it writes out as text; None if it is no object with text keys."""
    if isinstance(value, str):
        value = _written(value, "{")
    return value if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) else None


def _written(text: str, opening: str) -> object:
    """Return the value that `text` writes out, None if it does not begin with `opening` or is malformed."""
    text = text.strip()
    if not text.startswith(("[", "array([") if opening == "[" else opening):
        return None
    try:
        value: object = json.loads(text, parse_constant=lambda name: None)
        return value
    except (ValueError, RecursionError):
        pass
    try:
        return _Literal(text).whole()
    except ValueError:  # malformed, or a number of thousands of digits
        return None


class _NotLiteral(ValueError):
    """The text is no list or object written out."""


class _Literal:
    """A parser of lists, objects, texts, numbers, true, false and none; between elements a comma may be missing."""

    def __init__(self, text: str) -> None:
        self._pieces = list(_pieces(text))
        self._next = 0

    def whole(self) -> object:
        value = self._value(depth=0)
        if self._next != len(self._pieces):
            raise _NotLiteral
        return value

    def _value(self, *, depth: int) -> object:
        kind, piece = self._take()
        if depth > _DEEPEST:
            raise _NotLiteral
        if kind == "text":
            return _text(piece)
        if kind == "number":
            return float(piece) if re.search(r"[.eE]", piece) else int(piece)
        if kind == "word" and piece in _WORDS:
            return _WORDS[piece]
        if piece == "array":
            return self._array(depth=depth)
        if piece in "[(":
            return self._elements("]" if piece == "[" else ")", depth=depth)
        if piece == "{":
            return self._pairs(depth=depth)
        raise _NotLiteral

    def _elements(self, closing: str, *, depth: int) -> list[object]:
        values: list[object] = []
        while not self._passed(closing):
            values.append(self._value(depth=depth + 1))
            self._passed(",")
        return values

    def _pairs(self, *, depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        while not self._passed("}"):
            key = self._value(depth=depth + 1)
            if not isinstance(key, str) or key in values or not self._passed(":"):
                raise _NotLiteral
            values[key] = self._value(depth=depth + 1)
            if not self._passed(",") and self._peek() != "}":
                raise _NotLiteral
        return values

    def _array(self, *, depth: int) -> object:
        """Return the list in `array([...], dtype=object)`, as pandas writes an array inside an object."""
        if not self._passed("("):
            raise _NotLiteral
        value = self._value(depth=depth + 1)
        if self._passed(","):
            if not (self._passed("dtype") and self._passed("=")):
                raise _NotLiteral
            self._take()
        if not self._passed(")"):
            raise _NotLiteral
        return value

    def _peek(self) -> str:
        return self._pieces[self._next][1] if self._next < len(self._pieces) else ""

    def _passed(self, piece: str) -> bool:
        """Step over `piece` if it is next, and say whether it was."""
        if self._next >= len(self._pieces):
            raise _NotLiteral
        found = self._pieces[self._next][1] == piece
        self._next += found
        return found

    def _take(self) -> tuple[str, str]:
        if self._next >= len(self._pieces):
            raise _NotLiteral
        piece = self._pieces[self._next]
        self._next += 1
        return piece


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, piece) of each piece of `text`."""
    place = 0
    while place < len(text):
        found = _PIECE.match(text, place)
        if found is None or found.lastgroup is None:
            raise _NotLiteral
        yield found.lastgroup, found[found.lastgroup]
        place = found.end()


def _text(piece: str) -> str:
    if _UNKNOWN_ESCAPE.search(piece):
        raise _NotLiteral
    try:
        # Python's own reader of one quoted text: its escapes are those of repr(). Line ends stand in it as they are.
        value: object = ast.literal_eval(piece.replace("\r", "\\r").replace("\n", "\\n"))
    except (ValueError, SyntaxError):
        raise _NotLiteral from None
    if not isinstance(value, str):
        raise _NotLiteral
    return value
