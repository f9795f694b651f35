"""Rows that prefer, in every accepted shape; a wrong row is named with its field."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness import DatasetTask, Split
from harness.data.checking import check_file
from harness.data.files.row import Row
from harness.data.leakage.preferences import preference_leakage
from harness.data.preferences import Preferred, Voted, pairs_of_rows, read_pairs, read_votes, votes_of_rows
from harness.errors import InvalidData
from harness.types.samples import Message, Sample

USER, A, B = (
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "a"},
    {"role": "assistant", "content": "b"},
)
ASKED = (Message("user", "hi"),)


def written(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("values", "text", "messages"),
    [
        ({"prompt": "hi", "chosen": "a", "rejected": "b"}, "hi", ()),
        ({"prompt": [USER], "chosen": [A], "rejected": [B]}, "hi", ASKED),
        ({"chosen": [USER, A], "rejected": [USER, B]}, "hi", ASKED),
        ({"prompt": "hi", "chosen": [USER, A], "rejected": [USER, B]}, "hi", ()),
        ({"instruction": "hi", "input": "", "chosen": "a", "rejected": "b"}, "hi", ()),
        ({"instruction": "Say", "input": "it", "chosen": "a", "rejected": "b"}, "Say\n\nit", ()),
        (
            {
                "conversations": [{"from": "human", "value": "hi"}],
                "chosen": {"from": "gpt", "value": "a"},
                "rejected": {"from": "gpt", "value": "b"},
            },
            "hi",
            ASKED,
        ),
    ],
)
def test_every_shape_is_one_prompt_and_two_answers(
    values: Mapping[str, object], text: str, messages: tuple[Message, ...]
) -> None:
    assert pairs_of_rows([Row("p.jsonl", 3, values)]) == (
        Preferred(id="p.jsonl:3", text=text, messages=messages, chosen="a", rejected="b", where="p.jsonl, row 3"),
    )


@pytest.mark.parametrize(("label", "good"), [(True, True), (False, False), ("true", True), ("0", False), (1, True)])
def test_a_label_is_a_vote(label: object, good: bool) -> None:
    (vote,) = votes_of_rows([Row("v.jsonl", 1, {"prompt": "hi", "completion": "a", "label": label})])

    assert vote == Voted(id="v.jsonl:1", text="hi", messages=(), answer="a", good=good, where="v.jsonl, row 1")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "hi", "chosen": "a", "rejected": ""}, "field 'rejected' is empty"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "field 'prompt' is empty"),
        ({"chosen": "a", "rejected": "b"}, "field 'prompt' is missing"),
        ({"prompt": "hi", "chosen": 3, "rejected": "b"}, "field 'chosen' is a number; write it as a list of turns"),
        ({"prompt": [USER], "chosen": [USER], "rejected": [B]}, "field 'chosen' ends with a turn by the user"),
        ({"prompt": [USER, A], "chosen": [A], "rejected": [B]}, "field 'prompt' has the assistant before the answer"),
        (
            {"chosen": [USER, A], "rejected": [{"role": "user", "content": "other"}, B]},
            "field 'rejected' begins otherwise than 'chosen'",
        ),
        ({"prompt": "ho", "chosen": [USER, A], "rejected": [USER, B]}, "field 'prompt' is not the last question"),
        ({"prompt": [{"role": "chef", "content": "x"}], "chosen": [A], "rejected": [B]}, "'chef', an unknown role"),
    ],
)
def test_a_wrong_pair_names_file_row_and_field(values: Mapping[str, object], said: str) -> None:
    with pytest.raises(InvalidData) as caught:
        pairs_of_rows([Row("p.jsonl", 3, values)])

    assert str(caught.value).startswith("p.jsonl, row 3: field ")
    assert said in str(caught.value)


@pytest.mark.parametrize("label", [None, 2, "fine", 0.5, ["a"]])
def test_a_label_that_is_no_vote_is_refused(label: object) -> None:
    with pytest.raises(InvalidData, match=r"row 1: field 'label' is .*; write true for a good answer"):
        votes_of_rows([Row("v.jsonl", 1, {"prompt": "hi", "completion": "a", "label": label})])


def test_pairs_are_two_votes_each_and_votes_are_no_pairs(tmp_path: Path) -> None:
    pairs = written(tmp_path / "p.jsonl", {"prompt": "hi", "chosen": "a", "rejected": "b"})
    votes = written(tmp_path / "v.jsonl", {"prompt": "hi", "completion": "a", "label": True})

    assert [(vote.id, vote.answer, vote.good) for vote in read_votes(pairs)] == [
        ("p.jsonl:1 chosen", "a", True),
        ("p.jsonl:1 rejected", "b", False),
    ]
    assert [(vote.answer, vote.good) for vote in read_votes(votes)] == [("a", True)]
    with pytest.raises(InvalidData, match=r"row 1: is a vote on one answer, and pairs are asked for; KTO"):
        read_pairs(votes)


def test_a_task_takes_preference_rows_and_keeps_the_worse_answer(tmp_path: Path) -> None:
    file = written(
        tmp_path / "p.jsonl",
        {"id": "x", "prompt": "hi", "chosen": "a", "rejected": "b"},
        {"id": "y", "chosen": [USER, A], "rejected": [USER, B]},
    )
    other = written(tmp_path / "o.jsonl", {"prompt": "ho", "chosen": "a", "rejected": "b"})
    task = DatasetTask("chat", train=(), dev=file, holdout=other)

    assert task.samples(Split.DEV) == (
        Sample(id="x", input="hi", reference="a", rejected="b"),
        Sample(id="y", input="hi", reference="a", rejected="b", messages=ASKED),
    )


def test_a_task_of_bad_answers_alone_has_no_reference(tmp_path: Path) -> None:
    file = written(tmp_path / "v.jsonl", {"prompt": "hi", "completion": "a", "label": False})

    with pytest.raises(InvalidData, match=r"v\.jsonl: each of 1 answers was voted bad, so none is a reference"):
        DatasetTask("chat", train=file, dev=file, holdout=file).samples(Split.TRAIN)


def test_checking_a_file_of_pairs_counts_what_prefers_nothing(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {place}", "chosen": "a", "rejected": "b"} for place in range(11)]
    file = written(tmp_path / "p.jsonl", *rows, {"prompt": "question 0", "chosen": "c", "rejected": "c"})

    lines = check_file(file).lines

    assert lines[0] == f"{file}: 12 rows, format preference"
    assert "pairs: 1 of 12 have two equal answers (take them out: they prefer nothing)" in lines


def test_checking_a_file_of_votes_counts_good_and_bad(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {place}", "completion": "a", "label": place < 9} for place in range(12)]

    lines = check_file(written(tmp_path / "v.jsonl", *rows)).lines

    assert lines[0].endswith(": 12 rows, format labelled")
    assert (
        "votes: 9 good and 3 bad answers to 12 prompts; weigh them with undesirable_weight=3; KTO(votes=FILE) learns "
        "from both, a task takes the good ones as references"
    ) in lines


def sample(name: str, text: str, reference: str = "a") -> Sample:
    return Sample(id=name, input=text, reference=reference)


def row(text: str) -> Preferred:
    return Preferred(id="r1", text=text, messages=(), chosen="a", rejected="b", where="p.jsonl, row 1")


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("Where is my card?", "invalid", "1 of 1 holdout samples are asked in p.jsonl; first h1 and r1"),
        ("where is my card", "invalid", "1 of 1 holdout samples"),
        ("Can I have a refund?", "warning", "1 of 1 dev samples are asked in p.jsonl; first d1 and r1"),
        ("What is the time?", "ok", "no prompt of p.jsonl is one of dev or holdout"),
    ],
)
def test_a_file_that_asks_what_the_holdout_asks_is_found(text: str, status: str, said: str) -> None:
    check = preference_leakage(
        [row(text)],
        dev=[sample("d1", "Can I have a refund?")],
        holdout=[sample("h1", "Where is my card?")],
        file="p.jsonl",
    )

    assert (check.status, check.kind) == (status, "data")
    assert said in check.detail
