"""What the columns of a row mean: told from their names, if the user does not say."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.data.conversations import CONVERSATIONS, MEDIA_COLUMNS, Media, holds_turns
from harness.data.files.row import Row, listed
from harness.data.row_fields import is_empty
from harness.errors import InvalidData

Format = Literal[
    "messages", "conversations", "instruction", "prompt_completion", "columns", "preference", "labelled", "text"
]
FORMATS: tuple[Format, ...] = get_args(Format)

# Columns beside the question and its answer, each read wherever it has a meaning.
SYSTEM, HISTORY, TOOLS = ("system", "system_prompt", "system_message"), "history", ("tools", "functions")

INSTRUCTIONS = ("instruction", "指令")

_PAIRS = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("response_j", "response_k"),
    ("response", "rejected_response"),
)
_QUESTIONS = (
    *("instruction", "prompt", "question", "query", "problem", "input", "text", "sentence", "review", "utterance"),
    *("article", "document", "dialogue", "tweet", "email", "指令", "问题", "输入", "文本"),
)
# Questions only beside an answer without a better one: they are as often notes on where a row comes from.
_PERHAPS_QUESTIONS = ("source", "content", "message", "comment", "headline")
_ANSWERS = (
    *("completion", "response", "answer", "answers", "output", "reply", "target", "summary", "solution"),
    *("答案", "回答", "输出"),
)
_LABEL_NAMES = ("label_text", "label_name")
_LABELS = (
    *_LABEL_NAMES,
    *("label", "category", "class", "intent", "sentiment", "emotion", "topic", "标签", "类别", "分类"),
)
# What belongs to a question, by the question's column.
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "instruction": ("input", "context"),
    "question": ("context", "passage"),
    "query": ("context", "passage"),
    "指令": ("输入",),
}
_TWO_TEXTS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
# What may stand beside a text that is learned as it stands; another column may be what is asked about it.
_ORIGINS = ("id", "idx", "source", "url", "meta", "metadata", "title", "timestamp", "date", "lang", "language", "split")
_CHOICES = ("choices", "options", "endings")

_VOTES = (
    *("label", "kto_tag", "vote", "good", "is_good", "accepted", "desirable", "liked", "thumbs", "feedback"),
    *("correct", "is_correct", "quality", "score", "rating", "reward", "votes"),
)
_MARKS, _DEGREES = ("label", "kto_tag", "vote"), ("quality", "score", "rating", "reward", "votes")
_PLAIN = ("true", "false", "good", "bad", "desirable", "undesirable")
_GOOD = (
    *("true", "good", "yes", "desirable", "accepted", "accept", "chosen", "preferred", "liked", "like", "up"),
    *("thumbs_up", "correct", "right", "👍", "好", "是", "1", "+1", "1.0"),
)
_BAD = (
    *("false", "bad", "no", "undesirable", "rejected", "reject", "disliked", "dislike", "down", "thumbs_down"),
    *("incorrect", "wrong", "👎", "坏", "差", "否"),
)
# They may as well be the mood of a text, so they are no votes, and people are told.
_PERHAPS_VOTES = ("positive", "negative")
_WORDS = {**dict.fromkeys(_GOOD, True), **dict.fromkeys((*_BAD, "0", "-1", "0.0", "-1.0"), False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a user says about the columns and how rows become samples.

    Attributes:
        input: The column of the question; given together with `reference`, and then no name is guessed.
        reference: The column of the answer.
        id: Used if the rows have it; else file name and row number.
        group: Rows that share its value stay in one split.
        tags: Kept with the sample, for tables by tag.
        label_names: The names that stand for labels written as numbers: 2 is the third, or that of the key "2".
        turns: Whether the last answer of a conversation is a sample, or each of them.
        naming: How the user names columns here, for errors: an imperative.
        media: Whether rows with pictures, sounds or films are refused or read without them.
    """

    input: str | None = None
    reference: str | None = None
    id: str = "id"
    group: str | None = None
    tags: tuple[str, ...] = ()
    label_names: Sequence[str] | Mapping[str, str] = ()
    turns: Literal["last", "all"] = "last"
    media: Media = "refuse"
    naming: str = "name the columns: input_column=, reference_column="


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRoles:
    """What the columns of one row mean.

    Attributes:
        form: The format.
        question: The column of the prompt, or of the conversation.
        answer: The column of the answer, "" if it is the conversation's last turn; of a pair the better one.
        worse: The column of a pair's worse answer.
        beside: A column that belongs to the question.
        vote: The column that says whether the answer is good.
        guessed: The names are a convention that this file may not follow: people are told.
        uses: Every column that is read.
    """

    form: Format
    question: str
    answer: str = ""
    worse: str = ""
    beside: str = ""
    vote: str = ""
    guessed: bool = False
    uses: frozenset[str] = frozenset()

    @property
    def is_label(self) -> bool:
        """Whether the answer is one of a few labels, going by its column's name."""
        return self.answer in _LABELS

    @property
    def columns(self) -> str:
        """What is read as what, for people."""
        question = " with ".join(repr(name) for name in (self.question, self.beside) if name)
        if self.form in ("messages", "conversations"):
            return question
        if self.form == "text":
            return f"{question}, which answers no question and is learned as it stands"
        answers = " over ".join(repr(name) for name in (self.answer, self.worse) if name)
        return f"{question or 'what both answers begin with'} -> {answers or 'its last turn'}"


def roles_of(row: Row, columns: Columns, *, format: Format | Literal["auto"] = "auto", vote: str = "") -> ColumnRoles:
    """Return what the columns of `row` mean.

    Args:
        row: The row.
        columns: What the user says of them.
        format: The format that the user names; "auto" tells it from the row.
        vote: The column of votes, as `vote_column` finds it in all rows.

    Raises:
        InvalidData: If the row has no known shape.
    """
    if format == "columns" or columns.input is not None or columns.reference is not None:
        if columns.input is None or columns.reference is None:
            raise InvalidData(f"{row.where}: input_column and reference_column are given together or not at all")
        shape = ColumnRoles(form="columns", question=columns.input, answer=columns.reference)
    else:
        shape = _forced(row, format) or _told(row, columns.naming)
    is_vote = bool(vote) and vote not in (shape.answer, shape.question) and vote in row.values and not shape.worse
    read = {shape.question, shape.answer, shape.worse, shape.beside, *columns.tags, columns.id, columns.group or ""}
    read |= {vote} if is_vote else set()
    if shape.form != "columns" or shape.guessed:
        read |= {*SYSTEM, HISTORY, *TOOLS, *MEDIA_COLUMNS}
    if shape.answer in _LABEL_NAMES:
        read.add("label")  # the same in numbers
    return replace(shape, vote=vote if is_vote else "", uses=frozenset(read & row.values.keys()))


def vote_column(rows: Iterable[Row], columns: Columns) -> str:
    """Return the column that marks the answers of these rows as good or bad; "" if none does.

    A column "label" may as well hold classes, and "score" or "rating" degrees, so all rows are asked: true and false,
    or words for them, make it one of votes; numbers do if they are 0, 1 and -1 and nothing else, as degrees only if
    there are good ones and bad ones. Beside columns that the user names, any code may be a class: only true, false,
    good and bad are votes.
    """
    named = {columns.input, columns.reference} - {None}
    values: dict[str, list[object]] = {}
    for row in rows:
        for name in _marks_of(row):
            if name in named or is_empty(row.values[name]):
                continue
            if _small(name) in _MARKS if named else _has_answer_beside(row, name):
                values.setdefault(name, []).append(row.values[name])
    for name in sorted(values, key=lambda name: _VOTES.index(_small(name))):
        found = values[name]
        if _are_plain_votes(found) if named else _small(name) == "kto_tag" or _are_votes(_small(name), found):
            return name
    return ""


def vote_of(value: object) -> bool | None:
    """Return the vote that a value is, None if it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return {1.0: True, 0.0: False, -1.0: False}.get(value)
    if not isinstance(value, str):
        return None
    word = _small(value)
    return _WORDS.get(word, _WORDS.get(re.sub(r"[\s-]+", "_", word)))


def degrees_column(row: Row, shape: ColumnRoles) -> str:
    """Return a column that seems to say how good the row's answer is and is not read; "" if there is none."""
    unread = {name: row.values[name] for name in _marks_of(row) if name not in shape.uses}
    there = (
        name
        for name, value in unread.items()
        if _is_number(value) or vote_of(value) is not None or value in _PERHAPS_VOTES
    )
    return "" if shape.worse else next(there, "")


def _marks_of(row: Row) -> list[str]:
    """Return the columns that may say whether an answer is good, however their names are written."""
    return [name for name in row.values if _small(name) in _VOTES]


def _small(name: str) -> str:
    return name.strip().lower()


def _is_number(value: object) -> bool:
    """Tell whether a value is a number, also one written as text, as every value of a CSV file is."""
    if isinstance(value, str):
        return bool(re.fullmatch(r"\s*[-+]?\d+(\.\d+)?\s*", value))
    return isinstance(value, int | float)


def _are_votes(name: str, values: Sequence[object]) -> bool:
    """Tell whether a column holds votes: nothing else or, of "label", words for them beside words that are misspelt."""
    votes = [vote_of(value) for value in values]
    if all(vote is not None for vote in votes):
        return name not in _DEGREES or len(set(votes)) == 2 or _are_plain_votes(values)
    words = (value for value, vote in zip(values, votes, strict=True) if vote is not None)
    return name == "label" and any(_is_plain(value) for value in words)


def _are_plain_votes(values: Sequence[object]) -> bool:
    return all(_is_plain(value) for value in values)


def _is_plain(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in _PLAIN)


def _has_answer_beside(row: Row, name: str) -> bool:
    """Tell whether a row holds an answer elsewhere than in the column `name`."""
    if any(_small(field) in CONVERSATIONS and holds_turns(value) for field, value in row.values.items()):
        return True
    there = {_small(field) for field, value in row.values.items() if field != name and not is_empty(value)}
    return bool(there & set(_ANSWERS)) and bool(there & set(_QUESTIONS))


def _forced(row: Row, format: Format | Literal["auto"]) -> ColumnRoles | None:
    """Return the shape that a declared format gives every row."""
    if format in ("messages", "conversations"):
        there = next((name for name in CONVERSATIONS if name in row.values), str(format))
        return ColumnRoles(form=format, question=there)
    if format == "instruction":
        return _instruction(row)
    if format == "prompt_completion":
        return ColumnRoles(form=format, question="prompt", answer="completion")
    if format == "text":
        return ColumnRoles(form=format, question="text")
    return None


def _instruction(row: Row) -> ColumnRoles:
    beside = _beside(row, "instruction")
    return ColumnRoles(form="instruction", question="instruction", answer="output", beside=beside)


def _told(row: Row, naming: str) -> ColumnRoles:
    """Return the shape that the columns tell; in a table a row has the columns of other rows too, as nulls."""
    filled = replace(row, values={name: value for name, value in row.values.items() if value is not None})
    try:
        return _known(filled) or _guessed(filled, naming)
    except InvalidData:
        in_small = _in_small_letters(filled, naming)
        if in_small is not None:
            return in_small
        if len(filled.values) == len(row.values):
            raise
        return _known(row) or _guessed(row, naming)


def _in_small_letters(row: Row, naming: str) -> ColumnRoles | None:
    """Return the shape of a row whose columns are called "Question " instead of "question"; None if that is no help."""
    names = {_small(name): name for name in row.values}
    around = {*SYSTEM, HISTORY, *TOOLS, *MEDIA_COLUMNS}  # they are read under their own names alone
    if len(names) < len(row.values) or any(names.get(name, name) != name for name in around):
        return None
    small = replace(row, values={small: row.values[name] for small, name in names.items()})
    try:
        shape = _known(small) or _guessed(small, naming)
    except InvalidData:
        return None
    question, answer, worse, beside = (
        names.get(small_name, "") for small_name in (shape.question, shape.answer, shape.worse, shape.beside)
    )
    return replace(shape, question=question, answer=answer, worse=worse, beside=beside, guessed=True)


def _known(row: Row) -> ColumnRoles | None:
    """Return the shape of a row in a form that has one meaning; None for others."""
    fields = row.values
    pairs = [pair for pair in _PAIRS if pair[1] in fields or (pair[0] in fields and pair[0] not in _ANSWERS)]
    pair = next((pair for pair in pairs if set(pair) <= fields.keys()), pairs[0] if pairs else None)
    if pair is not None:
        names = [name for name in ("prompt", *CONVERSATIONS, *_QUESTIONS) if name in fields]
        question = next((name for name in names if not is_empty(fields[name])), "")
        if not question and names and not holds_turns(fields.get(pair[0])):
            question = names[0]  # it is missed there
        return ColumnRoles(
            form="preference", question=question, answer=pair[0], worse=pair[1], beside=_beside(row, question)
        )
    conversation = next((name for name in CONVERSATIONS if holds_turns(fields.get(name))), None)
    conversation = conversation or next((name for name in CONVERSATIONS[:2] if name in fields), None)
    if conversation is not None:
        return ColumnRoles(
            form="conversations" if conversation == "conversations" else "messages", question=conversation
        )
    if {"instruction", "output"} <= fields.keys():
        return _instruction(row)
    if {"prompt", "completion"} <= fields.keys():
        return ColumnRoles(form="prompt_completion", question="prompt", answer="completion")
    return None


def _guessed(row: Row, naming: str) -> ColumnRoles:
    """Return the shape that column names suggest.

    Raises:
        InvalidData: If they suggest none, or several.
    """
    fields = row.values.keys()
    _refuse_what_is_more(row, naming)
    questions = [name for name in _QUESTIONS if name in fields]
    questions = questions or [name for name in _PERHAPS_QUESTIONS if name in fields]
    for name in [name for name in questions if name in _BESIDE]:
        questions = [other for other in questions if other not in _BESIDE[name]]
    answers = [name for name in _ANSWERS if name in fields and name not in questions]
    labels = [name for name in _LABELS if name in fields]
    if any(name in labels for name in _LABEL_NAMES) and "label" in labels:
        labels.remove("label")
    found = answers or labels
    if questions == ["text"] and fields <= {"text", *_ORIGINS}:
        return ColumnRoles(form="text", question="text", guessed=True)
    if not questions or not found:
        raise _unknown(row, naming)
    for role, names in (("question", questions), ("answer", found)):
        if len(names) > 1:
            raise InvalidData(f"{row.where}: each of {listed(names)} may be the {role}; {naming}")
    form: Format = "instruction" if questions[0] in INSTRUCTIONS else "columns"
    return ColumnRoles(
        form=form, question=questions[0], answer=found[0], beside=_beside(row, questions[0]), guessed=True
    )


def _beside(row: Row, question: str) -> str:
    return next((name for name in _BESIDE.get(question, ()) if name in row.values), "")


def _refuse_what_is_more(row: Row, naming: str) -> None:
    """Raise InvalidData for a row whose question is in several columns that no reader puts together."""
    fields = row.values.keys()
    two = next((pair for pair in _TWO_TEXTS if set(pair) <= fields), None)
    choices = next((name for name in _CHOICES if not is_empty(row.values.get(name))), None)
    if two is None and (choices is None or not set(_QUESTIONS) & fields):
        return
    fact = f"{listed(two)} are asked about together" if two else f"{choices!r} belongs to the question"
    raise InvalidData(
        f"{row.where}: {fact}, and the harness does not know how to word that; write the whole question into one "
        f"column; {naming}"
    )


def _unknown(row: Row, naming: str) -> InvalidData:
    return InvalidData(
        f"{row.where}: the fields {listed(row.values)} are of no known format; give 'messages', 'conversations', "
        "'instruction' with 'output', 'prompt' with 'completion', 'prompt' with 'chosen' and 'rejected', or "
        f"{naming}"
    )
