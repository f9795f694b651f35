"""Lists and objects that a table holds as text are read whole or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.literals import as_list, as_mapping

_SCALARS = st.none() | st.booleans() | st.integers() | st.text()
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(st.lists(_VALUES, max_size=5))
def test_a_list_comes_back_from_what_python_and_json_write(values: list[object]) -> None:
    assert as_list(repr(values)) == values
    assert as_list(json.dumps(values)) == values
    assert as_list(values) == values


@given(st.dictionaries(st.text(), _VALUES, max_size=5))
def test_an_object_comes_back_from_what_python_and_json_write(values: dict[str, object]) -> None:
    assert as_mapping(repr(values)) == values
    assert as_mapping(json.dumps(values)) == values
    assert as_mapping(values) == values


@given(st.text())
def test_any_other_text_is_no_list_and_no_fault(text: str) -> None:
    assert as_list(f"x{text}") is None
    assert as_mapping(f"x{text}") is None
    as_list(f"[{text}")
    as_mapping(f"{{{text}")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("['a' 'b']", ["a", "b"]),
        ("['a' \"it's\"\n 'c']", ["a", "it's", "c"]),
        (
            "[{'role': 'user', 'content': 'hi'}\n {'role': 'assistant', 'content': 'ho'}]",
            [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "ho"},
            ],
        ),
        ("[1 2 3]", [1, 2, 3]),
        ("[1. 2.5]", [1.0, 2.5]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("array([1, 2], dtype=int32)", [1, 2]),
        ("[True, None, false, null]", [True, None, False, None]),
        (" [] ", []),
        (("a", "b"), ["a", "b"]),
    ],
)
def test_a_list_is_read_as_python_numpy_and_json_write_it(text: object, values: list[object]) -> None:
    assert as_list(text) == values


@pytest.mark.parametrize(
    "text",
    ["", "a", "[", "['a'", "['a' ... 'b']", "[a, b]", "['a',, 'b']", "[,]", "(5)", "[x]", "['a'] and", "['a\\']", 5,
     None, {"a": 1}, b"[1]", "[" * 1000, "[__import__('os')]", "[" * 40 + "1"],
)  # fmt: skip
def test_what_is_no_list_is_none(text: object) -> None:
    assert as_list(text) is None


def test_an_array_inside_an_object_is_read() -> None:
    text = "{'text': array(['Denver', 'Denver\\n'], dtype=object), 'answer_start': array([177], dtype=int32)}"

    assert as_mapping(text) == {"text": ["Denver", "Denver\n"], "answer_start": [177]}


@pytest.mark.parametrize("text", ["{1: 2}", "{'a': 1 'b': 2}", "{'a': 1, 'a': 2}", "{'a'}", "[]", "{'a': 1"])
def test_what_is_no_object_is_none(text: str) -> None:
    assert as_mapping(text) is None
