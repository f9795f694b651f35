"""From what a model wrote to a value that metrics compare, or None where it cannot be read."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Literal, NoReturn, get_args

Reader = Literal["text", "first_line", "json"]
READERS: tuple[Reader, ...] = get_args(Reader)

_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_ENDS = re.compile(r"^[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+\Z")
_OPENING = re.compile(r"[{\[]")


def read_answer(text: str, reader: Reader) -> object | None:
    """Return the value of `text`: the text stripped, its first line that is not blank, or the JSON value in it."""
    return _READERS[reader](text)


def _text(text: str) -> str | None:
    return _trimmed(text) or None


def _first_line(text: str) -> str | None:
    return next((line for line in map(_trimmed, text.splitlines()) if line), None)


def _json(text: str) -> object | None:
    """Return the JSON value that is all of `text`, in its last fenced block with one, or its first object or list.

    Earlier blocks are sketches: who writes several ends with the answer.
    """
    whole = _parsed(text)
    if whole is not None:
        return whole
    for fenced in reversed(_FENCED.findall(text)):
        if (inside := _parsed(fenced)) is not None:
            return inside
    for opening in _OPENING.finditer(text):
        try:
            value: object = _DECODER.raw_decode(text, opening.start())[0]
        except ValueError:
            continue
        except RecursionError:
            # A model stuck on "[" writes thousands: trying each of them took a minute.
            return None
        return value
    return None


def _parsed(text: str) -> object | None:
    try:
        value: object = _DECODER.decode(_trimmed(text))
    except (ValueError, RecursionError):
        return None
    return value


def _trimmed(text: str) -> str:
    """Return `text` without white space at its ends, and without the byte order marks and zero-width spaces there."""
    return _ENDS.sub("", text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_READERS: Mapping[Reader, Callable[[str], object | None]] = {"text": _text, "first_line": _first_line, "json": _json}
