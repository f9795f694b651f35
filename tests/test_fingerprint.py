"""Keys differ where content differs, and nowhere else."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import NotFingerprintable, Split
from harness.fingerprint import file_sha256, fingerprint

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@dataclass(frozen=True)
class Point:
    x: int
    y: object = 0
    label: str = field(default="", metadata={"key": False})


@dataclass(frozen=True)
class Place:
    x: int
    y: object = 0


@dataclass
class Loose:
    x: int = 0


class Colour(Enum):
    RED = "red"
    ALSO_RED = "rouge"


@given(values, values)
def test_keys_are_equal_exactly_where_values_and_their_types_are(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (_typed(one) == _typed(other))


def _typed(value):
    """Spell a value out with its types: 1, 1.0 and True are three values, and so are 0.0 and -0.0."""
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        return {name: _typed(item) for name, item in value.items()}
    return (type(value).__name__, repr(value))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.1 + 0.2, 0.3),
        ("1", 1),
        (None, "None"),
        ((), {}),
        (["ab"], ["a", "b"]),
        ({"a": 1}, [["a", 1]]),
        (Point(1), Point(2)),
        (Point(1), Place(1)),
        (Point(1, Point(2)), Point(1, Place(2))),
        (Colour.RED, Colour.ALSO_RED),
        (Colour.RED, "red"),
        (Split.DEV, "dev"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_what_differs_has_another_key(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_lists_and_tuples_and_the_order_of_a_mapping_do_not_count():
    assert fingerprint([1, (2,)]) == fingerprint((1, [2]))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint(MappingProxyType({"b": 2, "a": 1}))


def test_a_field_that_is_no_key_is_left_out():
    assert fingerprint(Point(1, label="left")) == fingerprint(Point(1, label="right"))


def test_a_field_that_came_later_counts_where_it_is_not_its_default():
    @dataclass(frozen=True)
    class Grown:
        size: int
        later: int | None = field(default=None, metadata={"key": "changed"})

    @dataclass(frozen=True)
    class Early:
        size: int

    Early.__qualname__ = Grown.__qualname__
    assert fingerprint(Grown(3)) == fingerprint(Early(3))
    assert fingerprint(Grown(3, later=1)) not in (fingerprint(Early(3)), fingerprint(Grown(3, later=2)))


def test_a_key_is_the_same_in_another_process():
    code = "from harness.fingerprint import fingerprint as f; print(f({'b': [1, 2.5, None], 'a': 'é'}))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert there == fingerprint({"a": "é", "b": [1, 2.5, None]})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {2}]}, "value['a'][1] is a set"),
        (Point(1, Loose()), "value.y is a Loose, a dataclass that is not frozen; add frozen=True"),
        ([len], "value[0] is a builtin_function_or_method"),
        ({"rate": float("nan")}, "value['rate'] is nan; only finite numbers"),
        (float("inf"), "value is inf; only finite numbers"),
        ({1: "one"}, "value has the key 1; only str keys"),
        (b"bytes", "value is a bytes"),
        (Point, "value is a type"),
        (Path("a"), "value is a PosixPath"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_path(value, path):
    with pytest.raises(NotFingerprintable) as caught:
        fingerprint(value)

    assert str(caught.value).startswith(path)


def test_a_files_key_is_the_sha256_of_its_bytes(tmp_path):
    content = b"weights" * 300_000  # longer than one chunk
    (tmp_path / "model.bin").write_bytes(content)

    assert file_sha256(tmp_path / "model.bin") == hashlib.sha256(content).hexdigest()
