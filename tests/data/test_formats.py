"""Rows of every accepted shape become samples; a wrong row is named with its field."""

from collections.abc import Mapping

import pytest

from harness.data.column_roles import Columns, Format, roles_of
from harness.data.files.row import Row
from harness.data.formats import samples_of
from harness.errors import InvalidData
from harness.types.samples import Message, Sample

SYSTEM, USER, ASSISTANT = (
    Message("system", "Be brief."),
    Message("user", "2 + 2?"),
    Message("assistant", "4"),
)


def row(**values: object) -> Row:
    return Row("data/train.jsonl", 37, values)


def sample_of(row: Row, columns: Columns | None = None) -> Sample:
    columns = columns or Columns()
    (sample,) = samples_of(row, roles_of(row, columns), columns)
    return sample


def turns(*pairs: tuple[str, object], role: str = "role", text: str = "content") -> list[dict[str, object]]:
    return [{role: who, text: what} for who, what in pairs]


def test_messages_become_the_conversation_and_the_last_turn_the_reference() -> None:
    given = row(messages=turns(("system", "Be brief."), ("user", "2 + 2?"), ("assistant", "4")), id=12)

    assert sample_of(given) == Sample(id="12", input="2 + 2?", reference="4", messages=(SYSTEM, USER))


def test_from_value_conversations_equal_role_content_messages() -> None:
    pairs = (("system", "Be brief."), ("human", "2 + 2?"), ("gpt", "4"))

    given = sample_of(row(conversations=turns(*pairs, role="from", text="value")))

    assert given == Sample(id="train.jsonl:37", input="2 + 2?", reference="4", messages=(SYSTEM, USER))


def test_every_turn_before_the_answer_is_looked_at() -> None:
    given = sample_of(
        row(messages=turns(("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "See")))
    )

    assert given.input == "Hi\nHello\nBye"
    assert given.messages == (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"instruction": "Add.", "input": "2 and 2", "output": "4"}, "Add.\n\n2 and 2"),
        ({"instruction": "Add 2 and 2.", "input": "", "output": "4"}, "Add 2 and 2."),
        ({"instruction": "Add 2 and 2.", "input": None, "output": "4"}, "Add 2 and 2."),
        ({"instruction": "Add 2 and 2.", "output": "4"}, "Add 2 and 2."),
        ({"prompt": "2 + 2?", "completion": "4"}, "2 + 2?"),
    ],
)
def test_plain_rows_leave_the_conversation_to_the_task(values: Mapping[str, object], text: str) -> None:
    assert sample_of(Row("t.csv", 1, values)) == Sample(id="t.csv:1", input=text, reference="4")


def test_a_prompt_and_completion_of_turns_are_a_conversation() -> None:
    given = row(prompt=turns(("system", "Be brief."), ("user", "2 + 2?")), completion=turns(("assistant", "4")))

    assert sample_of(given) == Sample(id="train.jsonl:37", input="2 + 2?", reference="4", messages=(SYSTEM, USER))


def test_named_columns_take_numbers_groups_and_tags() -> None:
    columns = Columns(input="text", reference="label", id="key", group="user", tags=("language",))

    given = sample_of(row(text="Where is my card?", label=11, key="a1", user=7, language="en"), columns)

    assert given == Sample(id="a1", input="Where is my card?", reference="11", group="7", tags={"language": "en"})


@pytest.mark.parametrize(
    ("form", "values", "problem"),
    [
        ("prompt_completion", {"completion": "4"}, "'prompt' is missing; the row has 'completion'"),
        ("prompt_completion", {"prompt": "2 + 2?", "completion": "  "}, "'completion' is empty"),
        ("prompt_completion", {"prompt": "2 + 2?", "completion": 4}, "'completion' is a number; write it as text"),
        ("prompt_completion", {"prompt": turns(("user", "a")), "completion": []}, "'completion' has 0 turns"),
        ("instruction", {"instruction": "Add.", "input": [2], "output": "4"}, "'input' is a list; write it as text"),
        ("instruction", {"instruction": None, "output": "4"}, "'instruction' is null; write it as text"),
        ("messages", {"messages": "2 + 2?"}, "'messages' is text; write it as a list of turns"),
        ("messages", {"messages": turns(("user", "a"))}, "'messages' has 1 turns"),
        ("messages", {"messages": ["a", "b"]}, "'messages[0]' is text; write a turn as an object"),
        ("messages", {"messages": [{"role": "user"}]}, "'messages[0].content' is missing"),
        ("messages", {"messages": turns(("user", [3]))}, "'messages[0].content[0]' is a number; parts are texts"),
        ("messages", {"messages": turns(("user", "a"), ("assistant", ""))}, "'messages[1].content' is empty"),
        ("messages", {"messages": turns(("chef", "a"))}, "'messages[0].role' is 'chef', an unknown role"),
        ("messages", {"messages": turns(("user", "a"), ("user", "b"))}, "'messages' ends with a turn by the user"),
        ("messages", {"messages": turns(("system", "a"), ("assistant", "b"))}, "has the system before the answer"),
        (
            "messages",
            {"messages": turns(("user", "a"), ("system", "b"), ("user", "c"), ("assistant", "d"))},
            "has a system turn after the first turn",
        ),
        ("columns", {"text": "", "label": "a"}, "'text' is empty"),
        ("columns", {"text": "a", "label": True}, "'label' is true or false"),
    ],
)
def test_a_wrong_row_names_file_row_field_and_fact(form: Format, values: Mapping[str, object], problem: str) -> None:
    columns = Columns(input="text", reference="label") if form == "columns" else Columns()
    given = Row("data/train.jsonl", 37, values)

    with pytest.raises(InvalidData) as caught:
        samples_of(given, roles_of(given, columns, format=form), columns)

    assert str(caught.value).startswith("data/train.jsonl, row 37: field '")
    assert problem in str(caught.value)


def test_a_preference_row_keeps_its_worse_answer_beside_the_reference() -> None:
    given = row(prompt=turns(("user", "2 + 2?")), chosen=turns(("assistant", "4")), rejected=turns(("assistant", "5")))

    assert sample_of(given) == Sample(
        id="train.jsonl:37", input="2 + 2?", reference="4", rejected="5", messages=(USER,)
    )


def test_a_row_of_no_known_format_names_its_fields_and_the_formats() -> None:
    with pytest.raises(InvalidData, match=r"the fields 'left', 'right' are of no known format.*input_column="):
        roles_of(row(left="a", right="b"), Columns())


@pytest.mark.parametrize("value", [None, "", 1.5, True, ["a"]])
def test_an_id_is_text_or_a_whole_number(value: object) -> None:
    with pytest.raises(InvalidData, match=r"row 37: field 'id' is .*; give every row an id of its own"):
        sample_of(row(prompt="a", completion="b", id=value))
