"""An answer's text becomes a value, or None."""

import pytest

from harness.data.dataset_task import Reader, read_answer


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        ("text", "  A12\n", "A12"),
        ("text", " \n", None),
        ("first_line", "\n\n A12 \nbecause", "A12"),
        ("first_line", "", None),
        ("json", '{"a": [1, 2]}', {"a": [1, 2]}),
        ("json", 'Sure!\n```json\n{"a": 1}\n```\nDone {"a": 2}.', {"a": 1}),
        ("json", "```\n[1]\n```", [1]),
        ("json", 'First\n```json\n{"a": 1}\n```\nno, rather\n```json\n{"a": 2}\n```', {"a": 2}),
        ("json", 'It is\n```json\n{"a": 1}\n```\nas in\n```python\nprint(1)\n```', {"a": 1}),
        ("json", 'I {think} it is {"a": {"b": "}"}} indeed', {"a": {"b": "}"}}),
        ("json", '```json\n{"a": 1', None),
        ("json", "7", 7),
        ("json", "no json here", None),
        ("json", '{"a": NaN}', None),
        ("json", "[" * 100_000, None),
    ],
)
def test_an_answer_is_read(reader: Reader, text: str, value: object) -> None:
    assert read_answer(text, reader) == value
