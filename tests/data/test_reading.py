"""What rows mean: shapes, votes, tools, pictures, weights, and what is said of what was guessed, left out, not read."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.column_roles import Columns
from harness.data.files.row import Row
from harness.data.reading import Reading, read
from harness.errors import InvalidData
from harness.types.samples import Message, Sample, ToolCall

USER, ANSWER = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}
ASKED = (Message("user", "2 + 2?"),)


def reading_of(*rows: Mapping[str, object], **said: Any) -> Reading:
    return read([Row("f.jsonl", number, row) for number, row in enumerate(rows, start=1)], Columns(**said))


def only(row: Mapping[str, object], **said: Any) -> Sample:
    reading = reading_of(row, **said)
    assert not reading.left_out, reading.left_out
    (sample,) = reading.samples
    return sample


def reason(row: Mapping[str, object], **said: Any) -> str:
    (left_out,) = reading_of(row, **said).left_out
    return left_out.reason


@pytest.mark.parametrize("column", ["messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat"])
@pytest.mark.parametrize(("role", "text"), [("role", "content"), ("from", "value"), ("role", "value")])
def test_any_name_of_a_conversation_goes_with_any_form_of_its_turns(column: str, role: str, text: str) -> None:
    turns = [{role: "human", text: "2 + 2?"}, {role: "chatgpt", text: "4"}]

    for written in (turns, json.dumps(turns), str(turns)):
        assert only({column: written}) == Sample(id="f.jsonl:1", input="2 + 2?", reference="4", messages=ASKED)


@pytest.mark.parametrize(
    ("question", "answer"), [("human", "assistant"), ("input", "output"), ("question", "answer"), ("query", "response")]
)
def test_a_question_and_its_answer_in_one_object_are_two_turns(question: str, answer: str) -> None:
    turns = [{"system": "Add.", question: "2 + 2?", answer: "4"}, {question: "3 + 3?", answer: "6"}]

    assert only({"conversation": turns}).messages == (
        Message("system", "Add."),
        *ASKED,
        Message("assistant", "4"),
        Message("user", "3 + 3?"),
    )


def test_a_table_of_turns_is_a_conversation() -> None:
    table = {"role": ["user", "assistant"], "content": ["2 + 2?", "4"], "name": [None, None]}

    assert only({"messages": table}).messages == ASKED


@pytest.mark.parametrize(
    ("row", "text", "reference"),
    [
        ({"query": "q", "response": "a"}, "q", "a"),
        ({"question": "q", "answer": "a", "category": "sums"}, "q", "a"),
        ({"question": "q", "answers": ["a", "b"]}, "q", "a"),
        ({"question": "q", "answers": "['a', 'b']"}, "q", "a"),
        ({"context": "c", "question": "q", "answers": {"text": ["a"], "answer_start": [3]}}, "c\n\nq", "a"),
        ({"instruction": "i", "context": "c", "response": "a", "category": "x"}, "i\n\nc", "a"),
        ({"problem": "q", "solution": "a", "level": 3}, "q", "a"),
        ({"text": "q", "label": 3.0}, "q", "3"),
        ({"text": "q", "label": 0, "label_text": "negative"}, "q", "negative"),
        ({"utterance": "q", "intent": "a", "source": "web"}, "q", "a"),
        ({"messages": None, "chosen": None, "rejected": None, "prompt": "q", "completion": "a"}, "q", "a"),
        ({"source": "q", "target": "a"}, "q", "a"),
        ({"Question ": "q", "ANSWER": "a"}, "q", "a"),
        ({"指令": "q", "输入": "x", "输出": "a"}, "q\n\nx", "a"),
        ({"文本": "q", "标签": "a"}, "q", "a"),
        ({"question": "q", "answers": [{"text": "a"}, {"text": "b"}]}, "q", "a"),
        ({"prompt": '{"from": "Rome"}', "completion": '[{"role": 1}]'}, '{"from": "Rome"}', '[{"role": 1}]'),
    ],
)
def test_columns_are_told_from_their_names(row: Mapping[str, object], text: str, reference: str) -> None:
    assert only(row) == Sample(id="f.jsonl:1", input=text, reference=reference)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"premise": "a", "hypothesis": "b", "label": 1}, "'premise', 'hypothesis' are asked about together"),
        ({"sentence1": "a", "sentence2": "b", "label": 1}, "'sentence1', 'sentence2' are asked about together"),
        ({"question": "q", "options": ["a", "b"], "answer": "a"}, "'options' belongs to the question"),
        ({"question": "q", "sentence": "s", "label": 1}, "each of 'question', 'sentence' may be the question"),
        ({"text": "q", "labels": ["a", "b"]}, "'text', 'labels' are of no known format"),
        ({"text": "q", "category": "a", "topic": "b"}, "each of 'category', 'topic' may be the answer"),
        ({"question": "q", "answers": {"text": [], "answer_start": []}}, "field 'answers' holds no answer"),
        ({f"column {n}": n for n in range(1000)}, "'column 7' and 992 more are of no known format"),
    ],
)
def test_what_the_names_leave_open_is_refused_with_a_way_out(row: Mapping[str, object], said: str) -> None:
    assert said in reason(row)
    assert len(reason(row)) < 500


def test_labels_written_as_numbers_get_their_names() -> None:
    names = ("negative", "neutral", "positive")

    assert only({"text": "q", "label": 2}, label_names=names).reference == "positive"
    assert only({"text": "q", "label": "2"}, label_names={"2": "good"}).reference == "good"
    assert only({"t": "q", "l": 1}, input="t", reference="l", label_names=names).reference == "neutral"
    assert "field 'label' is -1, which no label is called" in reason({"text": "q", "label": -1}, label_names=names)
    of_file = Row("f.parquet", 1, {"text": "q", "label": 0}, {"label": names})
    assert read([of_file], Columns()).samples[0].reference == "negative"


def test_system_and_history_are_turns_before_the_question() -> None:
    row = {"instruction": "And 3 + 3?", "output": "6", "system": "Be brief.", "history": [["2 + 2?", "4"]]}

    assert only(row).messages == (
        Message("system", "Be brief."),
        *ASKED,
        Message("assistant", "4"),
        Message("user", "And 3 + 3?"),
    )
    for name in ("system", "system_prompt"):
        assert only({"messages": [USER, ANSWER], name: "Be brief."}).messages[0] == Message("system", "Be brief.")
    twice = {"messages": [{"role": "system", "content": "Sing."}, USER, ANSWER], "system": "Be brief."}
    assert "field 'system' is another text than the system turn" in reason(twice)


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "row",
    [
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "4", "tool_call_id": "c1", "tool_calls": None},
                ANSWER,
            ],
            "tools": [TOOL],
        },
        {
            "conversations": [
                {"from": "human", "value": "2 + 2?"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2}}'},
                {"from": "observation", "value": "4"},
                {"from": "gpt", "value": "4"},
            ],
            "tools": '[{"name": "add", "parameters": {"type": "object"}}]',
        },
        {
            "messages": [
                USER,
                {"role": "assistant", "function_call": {"name": "add", "arguments": '{"a": 2}'}},
                {"role": "function", "content": "4"},
                ANSWER,
            ],
            "functions": [{"name": "add", "parameters": {"type": "object"}}],
        },
    ],
)
def test_turns_of_tools_are_read_in_every_dialect(row: Mapping[str, object]) -> None:
    sample = only(row)

    name = sample.messages[1].calls[0].id
    assert name
    assert sample.messages == (
        Message("user", "2 + 2?", tools=json.dumps([TOOL])),
        Message("assistant", "", calls=(ToolCall(name="add", arguments='{"a": 2}', id=name),)),
        Message("tool", "4", call_id=name),
    )
    assert sample.input == '2 + 2?\n{"name": "add", "arguments": {"a": 2}}\n4'


def test_an_answer_that_calls_is_its_call_as_json() -> None:
    sample = only({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}]})

    assert json.loads(sample.reference) == {"name": "add", "arguments": {"a": 2}}


def test_tools_may_stand_in_a_turn() -> None:
    turns = [{"role": "system", "content": "Add.", "tools": json.dumps([TOOL])}, USER, ANSWER]

    assert only({"messages": turns}).messages == (
        Message("system", "Add."),
        replace(ASKED[0], tools=json.dumps([TOOL])),
    )


def test_an_answer_in_turns_goes_with_a_question_in_words() -> None:
    assert only({"input": "2 + 2?", "output": [ANSWER]}).messages == ASKED
    assert only({"input": [USER], "output": "4"}).messages == ASKED


@pytest.mark.parametrize("value", ["add(2)", '{"arguments": {}}', 3])
def test_a_call_that_is_none_is_refused(value: object) -> None:
    said = reason({"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": value}]})

    assert said.startswith("f.jsonl, row 1: field 'conversations[1].value'")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ANSWER], "images": ["a.png"]},
        {"question": "q", "answer": "a", "image": {"bytes": b"x", "path": None}},
        {"prompt": "q", "completion": "a", "audio": "a.wav"},
        {
            "conversations": [{"from": "human", "value": "<image>\n2 + 2?"}, {"from": "gpt", "value": "4"}],
            "videos": ["v"],
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "2 + 2?"}]},
                ANSWER,
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio"}, {"type": "text", "text": "2 + 2?"}]},
                ANSWER,
            ]
        },
    ],
)
def test_pictures_sounds_and_films_are_refused_or_read_past_and_counted(row: Mapping[str, object]) -> None:
    assert 'read its text alone: media="text"' in reason(row)
    reading = reading_of(row, media="text")
    assert (reading.past_media, len(reading.samples)) == (1, 1)
    assert "<image>" not in reading.samples[0].input


def test_an_empty_column_of_pictures_is_no_picture() -> None:
    reading = reading_of({"messages": [USER, ANSWER], "images": [], "audios": None})

    assert (len(reading.samples), reading.past_media, dict(reading.not_read)) == (1, 0, {})


VOTES = (
    [True, 1, "true", "Good", "yes", 1.0, "chosen", "thumbs up", "好", "1", "1.0"],
    [False, 0, "FALSE", "bad", "no", -1, "rejected", "thumbs-down", "差", "-1", "0.0"],
)


@pytest.mark.parametrize("column", ["label", "kto_tag", "rating", "score", "is_good", "Label"])
@pytest.mark.parametrize(("good", "bad"), list(zip(*VOTES, strict=True)))
@pytest.mark.parametrize(
    "held",
    [
        lambda text: {"prompt": "2 + 2?", "completion": text},
        lambda text: {"prompt": [USER], "completion": [{"role": "assistant", "content": text}]},
        lambda text: {"messages": [USER, {"role": "assistant", "content": text}]},
        lambda text: {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": text}]},
        lambda text: {"instruction": "2 + 2?", "input": "", "output": text},
        lambda text: {"question": "2 + 2?", "response": text},
        lambda text: {"Question": "2 + 2?", "Response": text},
    ],
)
def test_an_answer_voted_bad_is_never_a_reference(held: Any, column: str, good: object, bad: object) -> None:
    reading = reading_of({**held("4"), column: good}, {**held("5"), column: bad}, {**held("6"), column: bad})

    assert [(sample.reference, sample.rejected) for sample in reading.samples] == [("4", "5")]
    assert (reading.bad, reading.kept_as_rejected, dict(reading.not_read)) == (2, 1, {})


def test_votes_count_beside_columns_that_are_named_too() -> None:
    rows = [{"q": "2 + 2?", "a": "4", "label": True}, {"q": "2 + 2?", "a": "5", "label": False}]

    assert [sample.reference for sample in reading_of(*rows, input="q", reference="a").samples] == ["4"]


@pytest.mark.parametrize("labels", [("0", "1"), (0, 1), ("yes", "no")])
def test_a_code_beside_columns_that_are_named_is_no_vote(labels: tuple[object, object]) -> None:
    rows = [{"text": "q", "category": "a", "label": label} for label in labels]
    reading = reading_of(*rows, input="text", reference="category")

    assert (len(reading.samples), dict(reading.not_read)) == (2, {"label": 2})


def test_equal_stars_are_no_votes() -> None:
    reading = reading_of(*({"messages": [USER, ANSWER], "rating": 1} for _ in range(3)))

    assert (len(reading.samples), reading.degrees) == (3, "rating")


def test_a_vote_column_with_another_word_in_it_is_no_column_of_classes() -> None:
    rows = [{"messages": [USER, ANSWER], "label": label} for label in ("good", "bad", "godo", None)]
    reading = reading_of(*rows)

    assert (len(reading.samples), reading.bad) == (1, 1)
    assert [one.reason for one in reading.left_out] == [
        "f.jsonl, row 3: field 'label' is 'godo'; write true for a good answer, false for a bad one",
        "f.jsonl, row 4: field 'label' is None; write true for a good answer, false for a bad one",
    ]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("label", ["spam", "ham"]),
        ("score", [4.5, 0.0]),
        ("rating", ["1", "5"]),
        ("quality", ["good", "so so"]),
        ("score", ["positive", "negative"]),
    ],
)
def test_classes_and_degrees_are_no_votes_and_named_as_not_read(column: str, values: list[object]) -> None:
    reading = reading_of(*({"prompt": "q", "completion": "a", column: value} for value in values))

    assert len(reading.samples) == 2
    assert dict(reading.not_read) == {column: 2}
    assert reading.degrees == ("" if column == "label" else column)


def test_a_class_as_number_is_the_reference_and_no_vote() -> None:
    reading = reading_of({"text": "a", "label": 1}, {"text": "b", "label": 0})

    assert reading.numbered == "label"
    assert [one.reference for one in reading_of({"text": "a", "label": 1}, {"text": "b", "label": 0}).samples] == [
        "1",
        "0",
    ]


def test_turns_of_weight_0_are_not_learned_and_no_reference() -> None:
    turns = [USER, ANSWER, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "No.", "weight": 0}]

    assert only({"messages": turns}) == Sample(id="f.jsonl:1", input="2 + 2?", reference="4", messages=ASKED)
    later = [*turns, USER, {**ANSWER, "weight": 1}]
    assert [turn.learned for turn in only({"messages": later}).messages] == [True, True, True, False, True]
    assert "has no answer to be learned" in reason({"messages": [USER, {**ANSWER, "weight": 0}]})
    assert "'messages[1].weight' is 2" in reason({"messages": [USER, {**ANSWER, "weight": 2}]})


def test_every_answer_of_a_conversation_can_be_a_sample_and_stays_with_the_others() -> None:
    more = [USER, ANSWER, {"role": "user", "content": "3 + 3?"}, {"role": "assistant", "content": "6"}]
    greeted = [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Hi"}, ANSWER]
    reading = reading_of(
        {"id": "a", "messages": more}, {"id": "b", "messages": greeted}, {"id": "c", "messages": more[:2]}, turns="all"
    )

    assert [(one.id, one.input, one.reference, one.group) for one in reading.samples] == [
        ("a turn 1", "2 + 2?", "4", "a turn 1"),
        ("a turn 2", "2 + 2?\n4\n3 + 3?", "6", "a turn 1"),
        ("b", "Hello\nHi", "4", "b"),
        ("c", "2 + 2?", "4", "a turn 1"),
    ]


@pytest.mark.parametrize(
    ("row", "prompt", "chosen", "rejected"),
    [
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "The sky is", "blue.", "green."),
        ({"question": "q", "chosen": "a", "rejected": "b", "source": "x"}, "q", "a", "b"),
        ({"query": "q", "response": "a", "rejected_response": "b"}, "q", "a", "b"),
        (
            {
                "prompt": "2 + 2?",
                "messages": [USER, ANSWER],
                "chosen": [USER, ANSWER],
                "rejected": [USER, {**ANSWER, "content": "5"}],
                "score_chosen": 8.0,
            },
            "2 + 2?",
            "4",
            "5",
        ),
        (
            {"messages": [USER, ANSWER], "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "5"}]},
            "2 + 2?",
            "4",
            "5",
        ),
        ({"prompt": "", "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "5"}]}, "2 + 2?", "4", "5"),
        (
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "a"},
                "rejected": {"from": "gpt", "value": "b"},
            },
            "q",
            "a",
            "b",
        ),
    ],
)
def test_pairs_come_in_many_shapes(row: Mapping[str, object], prompt: str, chosen: str, rejected: str) -> None:
    sample = only(row)

    assert (sample.input, sample.reference, sample.rejected) == (prompt, chosen, rejected)


@pytest.mark.parametrize(
    ("format", "missing"),
    [("labelled", "label"), ("preference", "chosen"), ("messages", "messages"), ("conversations", "conversations")],
)
def test_a_declared_format_is_kept_to(format: Any, missing: str) -> None:
    reading = read([Row("f.jsonl", 1, {"prompt": "q", "completion": "a"})], Columns(), format=format)

    assert [one.reason for one in reading.left_out] == [
        f"f.jsonl, row 1: field {missing!r} is missing; the row has 'prompt', 'completion'"
    ]


def test_a_bad_answer_need_not_be_one_that_the_task_takes() -> None:
    def refuse(row: Row, sample: Sample) -> None:
        raise InvalidData(f"{row.where}: {sample.reference!r} is no answer")

    rows = [Row("f.jsonl", 1, {"prompt": "q", "completion": "a", "label": False})]

    assert read(rows, Columns(), accept=refuse).bad == 1


def test_columns_and_fields_of_turns_that_nothing_reads_are_named() -> None:
    reading = reading_of(
        {
            "messages": [USER, {**ANSWER, "mood": "calm"}],
            "source": "web",
            "note": "See page three below",
            "empty": None,
        },
        {"messages": [USER, ANSWER], "source": "", "note": "Only for adults, says he"},
    )

    assert dict(reading.not_read) == {"source": 1, "note": 2, "messages[].mood": 1}
    assert reading.wordy == ("note",)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(question=TEXTS, answer=TEXTS)
def test_every_form_of_one_question_and_answer_reads_alike(question: str, answer: str) -> None:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    rows: list[dict[str, object]] = [
        {"messages": turns},
        {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]},
        {"prompt": [turns[0]], "completion": [turns[1]]},
        {"chosen": turns, "rejected": [turns[0], {"role": "assistant", "content": "worse"}]},
    ]

    found = {(sample.input, sample.reference, sample.messages) for sample in map(only, rows)}

    assert found == {(question, answer, (Message("user", question),))}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *("messages", "prompt", "completion", "chosen", "rejected", "label", "text", "answers", "tools", "history"),
        *("system", "images", "input"),
    ]
)
PARTS = st.sampled_from(["role", "content", "from", "value", "tool_calls", "weight"])


@given(st.dictionaries(NAMES, JSON | st.lists(st.dictionaries(PARTS, JSON)), min_size=1))
def test_any_row_is_read_or_left_out_with_a_reason(row: dict[str, object]) -> None:
    reading = reading_of(row)

    assert reading.total == 1
    assert all(one.reason.startswith("f.jsonl, row 1") for one in reading.left_out)
