"""When two values that a task read are the same answer."""

import json
from collections.abc import Mapping

from harness.errors import InvalidData
from harness.samples import Answer, Sample
from harness.unicode import comparable


def canonical(value: object) -> str:
    """Return the text that two JSON-able values share exactly when they are the same answer.

    The order of an object's keys says nothing, the order of a list does. Texts are compared as `comparable` spells
    them: composed or not, with or without marks that show nothing. Numbers are compared as numbers, so 1 is
    1.0; a bool is not a number, and a number is not the text that spells it.

    Raises InvalidData for what JSON cannot hold.
    """
    try:
        return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"{value!r} is not a JSON value ({error}); let Task.read return one, or None") from error


def expected_value(sample: Sample) -> object:
    """Return `sample.expected`; a reference that nobody can read would make every answer wrong, so it raises."""
    if sample.expected is None:
        raise InvalidData(
            f"sample {sample.id!r}: its reference {sample.reference[:80]!r} cannot be read by the task, so no answer "
            "could be right; mend the reference or Task.read"
        )
    return sample.expected


def right(sample: Sample, answer: Answer) -> bool:
    """Say whether the answer's value is the expected one; an answer that could not be read is not."""
    expected, value = expected_value(sample), answer.value
    if isinstance(expected, str) and isinstance(value, str):  # labels, mostly: no JSON is needed to tell
        return expected == value or comparable(expected) == comparable(value)
    wanted = canonical(expected)
    return value is not None and canonical(value) == wanted


def _plain(value: object) -> object:
    """Return `value` with whole floats as ints and tuples as lists."""
    if isinstance(value, Mapping):
        return {_text_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return comparable(value) if isinstance(value, str) else value


def _text_key(key: object) -> str:
    if isinstance(key, str):
        return comparable(key)
    raise TypeError(f"key {key!r} is not text")
