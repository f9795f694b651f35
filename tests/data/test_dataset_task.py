"""A task straight from rows: splits, prompts, and declarations or data that cannot be used."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.data.dataset_task import DatasetTask
from harness.data.leakage.audit import audit
from harness.data.leakage.equal_inputs import as_asked
from harness.errors import InvalidData, InvalidExperiment
from harness.fingerprint import fingerprint
from harness.types.protocols import Task
from harness.types.samples import Message, Sample, Split

TRAIN, DEV, HOLDOUT = Split


def write(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def questions(count: int, *, first: int = 0) -> list[dict[str, str]]:
    return [
        {"prompt": f"Number {number}?", "completion": str(number), "user": f"user {number // 4}"}
        for number in range(first, first + count)
    ]


def test_explicit_files_are_the_splits(tmp_path: Path) -> None:
    files = {
        name: write(tmp_path / f"{name}.jsonl", questions(2, first=first))
        for first, name in ((0, "train"), (2, "dev"), (4, "holdout"))
    }

    task = DatasetTask("numbers", **files)  # type: ignore[arg-type]

    assert isinstance(task, Task)
    assert [[sample.input for sample in task.samples(split)] for split in Split] == [
        ["Number 0?", "Number 1?"],
        ["Number 2?", "Number 3?"],
        ["Number 4?", "Number 5?"],
    ]
    assert task.samples(DEV)[1] == Sample(id="dev.jsonl:2", input="Number 3?", reference="3")


def test_one_file_is_split_by_group(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", questions(200))

    task = DatasetTask("numbers", path, group="user", fractions=(0.6, 0.2, 0.2))

    groups = [{sample.group for sample in task.samples(split)} for split in Split]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 50
    assert sum(len(task.samples(split)) for split in Split) == 200


def test_without_dev_it_is_cut_from_train_and_the_holdout_stays_whole(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", questions(200))
    holdout = write(tmp_path / "holdout.jsonl", questions(10, first=200))

    task = DatasetTask("numbers", train=train, holdout=holdout, fractions=(0.5, 0.5, 0.0))

    sizes = [len(task.samples(split)) for split in Split]
    assert sizes[0] + sizes[1] == 200
    assert min(sizes[:2]) > 60
    assert sizes[2] == 10


def test_several_files_and_kinds_are_one_source(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("prompt,completion\nNumber 9?,9\n")
    files: list[str | Path] = [write(tmp_path / "rows.jsonl", questions(1)), tmp_path / "more.csv"]

    task = DatasetTask("numbers", dev=files, holdout=write(tmp_path / "holdout.jsonl", questions(1, first=5)))

    assert [sample.id for sample in task.samples(DEV)] == ["rows.jsonl:1", "more.csv:1"]
    assert task.samples(TRAIN) == ()


def test_rows_are_read_once_and_the_declaration_keeps_its_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", questions(60))
    task = DatasetTask("numbers", path)
    before = fingerprint(task)

    samples = task.samples(TRAIN)
    Path(path).unlink()

    assert task.samples(TRAIN) is samples
    assert fingerprint(task) == before
    assert task == DatasetTask("numbers", path)


def test_limits_are_one_number_or_three(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", questions(300))

    one = DatasetTask("numbers", path, limit=7)
    three = DatasetTask("numbers", path, limit=(None, 5, 3))

    assert [len(one.samples(split)) for split in Split] == [7, 7, 7]
    assert [len(three.samples(split)) for split in (DEV, HOLDOUT)] == [5, 3]
    assert len(three.samples(TRAIN)) > 200


def test_the_system_message_stands_before_rows_that_have_none(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [{"messages": turns}, {"messages": [{"role": "system", "content": "Sing."}, *turns]}]
    path = write(tmp_path / "rows.jsonl", rows)
    system, sing, hi = Message("system", "Be brief."), Message("system", "Sing."), Message("user", "Hi")

    task = DatasetTask("chat", dev=path, holdout=write(tmp_path / "plain.jsonl", questions(1)), system="Be brief.")

    assert [task.prompt(sample) for sample in task.samples(DEV)] == [(system, hi), (sing, hi)]
    assert task.prompt(task.samples(HOLDOUT)[0]) == (system, Message("user", "Number 0?"))
    bare = DatasetTask("chat", dev=path, holdout=path)
    assert bare.prompt(Sample(id="1", input="Hi", reference="")) == (hi,)


def test_each_row_is_read_by_its_own_columns(tmp_path: Path) -> None:
    rows = [*questions(36), {"instruction": "Add.", "output": "4"}]
    task = DatasetTask("numbers", write(tmp_path / "rows.jsonl", rows))

    samples = [sample for split in Split for sample in task.samples(split)]

    assert Sample(id="rows.jsonl:37", input="Add.", reference="4") in samples
    assert len(samples) == 37


def test_a_row_that_cannot_be_read_is_named_with_how_many_others_there_are(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [*questions(40)]
    for place in (3, 8):
        rows[place]["completion"] = ""
    path = write(tmp_path / "rows.jsonl", rows)

    with pytest.raises(InvalidData) as caught:
        DatasetTask("numbers", path).samples(TRAIN)

    assert str(caught.value) == (
        f"{path}, row 4: field 'completion' is empty; fill it in or take the row out; 1 more of 40 rows cannot be "
        'read; DatasetTask(on_error="skip") leaves such rows out and counts them'
    )


@pytest.mark.parametrize(("damaged", "status"), [(1, "warning"), (3, "invalid")])
def test_rows_left_out_are_counted_and_too_many_of_the_holdout_bar_a_verdict(
    tmp_path: Path, damaged: int, status: str
) -> None:
    rows = [*questions(40), *({"prompt": "?", "completion": ""} for _ in range(damaged))]
    path = write(tmp_path / "h.jsonl", rows)
    task = DatasetTask(
        "numbers", dev=write(tmp_path / "d.jsonl", questions(5, first=60)), holdout=path, on_error="skip"
    )

    assert len(task.samples(HOLDOUT)) == 40
    (check,) = [check for check in task.data_checks() if check.name == "rows left out"]
    assert (check.status, check.kind, len(check.items)) == (status, "data", damaged)
    assert check.detail.startswith(
        f"{damaged} of {40 + damaged} rows of holdout cannot be read and are left out; first: "
    )


def test_a_line_that_is_no_row_is_left_out_as_any_row_that_cannot_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "h.jsonl", questions(40))
    with Path(path).open("a") as stream:
        stream.write('{"prompt": "cut o\n[1, 2]\n')
    dev = write(tmp_path / "d.jsonl", questions(5, first=60))
    task = DatasetTask("numbers", dev=dev, holdout=path, on_error="skip")

    assert len(task.samples(HOLDOUT)) == 40
    (check,) = [check for check in task.data_checks() if check.name == "rows left out"]
    assert check.detail.startswith("2 of 42 rows of holdout cannot be read and are left out; first: ")
    assert "h.jsonl, row 41" in check.detail
    with pytest.raises(InvalidData, match=r"h\.jsonl, row 41.*; 1 more of 42 rows cannot be read"):
        DatasetTask("numbers", dev=dev, holdout=path).samples(HOLDOUT)


def test_what_reading_found_is_said_in_the_checks(tmp_path: Path) -> None:
    rows = [{"query": row["prompt"], "response": row["completion"], "source": "web"} for row in questions(60)]
    task = DatasetTask("numbers", write(tmp_path / "rows.jsonl", rows))

    assert [(check.name, check.status, check.detail) for check in task.data_checks()] == [
        (
            "columns read",
            "ok",
            "60 rows 'query' -> 'response'; guessed from the names of the columns: input_column= and "
            "reference_column= say it for certain",
        ),
        ("columns not read", "ok", "no reader uses 'source'"),
    ]


def test_a_column_of_votes_is_one_in_every_split(tmp_path: Path) -> None:
    rows = [{**row, "score": place % 2} for place, row in enumerate(questions(8))]
    train = write(tmp_path / "train.jsonl", rows)
    holdout = write(tmp_path / "holdout.jsonl", [{**row, "score": 0} for row in questions(2, first=20)])

    with pytest.raises(InvalidData, match=r"holdout\.jsonl: each of 2 answers was voted bad"):
        DatasetTask("numbers", train=train, holdout=holdout).samples(HOLDOUT)


@pytest.mark.parametrize(
    "around",
    [
        [{"system": "Be kind."}, {"system": "Be brief."}],
        [{"history": [["Hi", "Ho"]]}, {}],
        [{"tools": [{"name": "add"}]}, {"tools": [{"name": "multiply"}]}],
    ],
)
def test_rows_that_differ_in_what_stands_around_the_question_do_not_contradict_each_other(
    tmp_path: Path, around: list[dict[str, object]]
) -> None:
    rows = [
        {"instruction": f"What is number {n}?", "output": str(place), **more}
        for n in range(60)
        for place, more in enumerate(around)
    ]
    task = DatasetTask("numbers", write(tmp_path / "rows.jsonl", rows))

    checks = audit({split.value: samples for split, samples in as_asked(task).items()})

    wrong = [check.name for check in checks if check.status != "ok"]
    assert "conflicting references" not in wrong
    assert "duplicates inside a split" not in wrong


def test_choices_are_named_up_to_eight(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", questions(3))

    with pytest.raises(InvalidData) as caught:
        DatasetTask("numbers", path, choices=tuple(f"label {n}" for n in range(77))).samples(TRAIN)

    assert "is not among the choices 'label 0', " in str(caught.value)
    assert "'label 7' and 69 more; 2 more of 3 rows" in str(caught.value)


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    rows = [{"id": "a", **row} for row in questions(2)]
    task = DatasetTask("numbers", dev=write(tmp_path / "d.jsonl", rows), holdout=write(tmp_path / "h.jsonl", rows[:1]))

    with pytest.raises(InvalidData, match="the id 'a' stands twice"):
        task.samples(DEV)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reader": "json"}, "row 2: the reference 'two' cannot be read as json"),
        ({"choices": ("1", "2")}, "row 2: the reference 'two' is not among the choices '1', '2'"),
    ],
)
def test_a_reference_that_could_never_be_right_is_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    rows = [{"prompt": "1?", "completion": "1"}, {"prompt": "2?", "completion": "two"}]
    task = DatasetTask("numbers", write(tmp_path / "rows.jsonl", rows), **options)  # type: ignore[arg-type]

    with pytest.raises(InvalidData, match=message):
        task.samples(HOLDOUT)


@pytest.mark.parametrize(
    ("train", "holdout", "learned", "expected"),
    [
        ("1.0\nb,\nc,0.0", "1\nb,0", ["1", "0"], ["1", "0"]),
        ("2.5\nb,3.0", "3.0\nb,4.0", ["2.5", "3.0"], ["3.0", "4.0"]),
        ("2.0\nb,3.0", "3.0\nb,4.5", ["2.0", "3.0"], ["3.0", "4.5"]),
    ],
)
def test_whole_numbers_are_written_alike_in_every_split(
    tmp_path: Path, train: str, holdout: str, learned: list[str], expected: list[str]
) -> None:
    for name, cells in (("train", train), ("holdout", holdout)):
        (tmp_path / f"{name}.csv").write_text(f"text,label\na,{cells}\n", encoding="utf-8")
    task = DatasetTask(
        "stars",
        train=tmp_path / "train.csv",
        dev=tmp_path / "train.csv",
        holdout=tmp_path / "holdout.csv",
        input_column="text",
        reference_column="label",
        on_error="skip",
    )

    readings = task._readings

    assert [sample.reference for sample in readings["train"].samples] == learned
    assert [sample.reference for sample in readings["holdout"].samples] == expected


def test_a_split_that_came_out_empty_is_refused(tmp_path: Path) -> None:
    task = DatasetTask("numbers", write(tmp_path / "rows.jsonl", questions(4)), group="user")

    with pytest.raises(InvalidData, match=r"none of 4 rows fell into .*; give more rows or groups"):
        task.samples(TRAIN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no rows: give files="),
        ({"files": "a.jsonl", "hub": "owner/name"}, "two sources"),
        ({"files": "a.jsonl", "holdout": "b.jsonl"}, "split already"),
        ({"train": "a.jsonl"}, "no holdout="),
        ({"holdout": "a.jsonl"}, "neither train= nor dev="),
        ({"files": "a.csv", "input_column": "text"}, "given together"),
        ({"files": "a.csv", "format": "columns"}, "needs input_column="),
        ({"files": "a.csv", "format": "sharegpt"}, "format='sharegpt' is unknown"),
        ({"files": "a.csv", "reader": "xml"}, "reader='xml' is unknown"),
        ({"files": "a.csv", "fractions": (0.9, 0.2, 0.1)}, "sum to 1"),
        ({"files": "a.csv", "fractions": (1.2, -0.1, -0.1)}, "sum to 1"),
        ({"train": "a.csv", "holdout": "b.csv", "fractions": (0.0, 0.0, 1.0)}, "leave nothing for train and dev"),
        ({"files": "a.csv", "limit": 0}, "limit=0"),
        ({"files": "a.csv", "turns": "first"}, "turns='first' is unknown"),
        ({"files": "a.csv", "media": "see"}, "media='see' is unknown"),
        ({"files": "a.csv", "on_error": "ignore"}, "on_error='ignore' is unknown"),
        ({"files": "a.csv", "label_names": "yes"}, "label_names= is one text"),
        ({"files": "a.csv", "limit": (1, 2)}, "limit="),
        ({"files": "a.csv", "answer_tokens": 0}, "answer_tokens=0"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidExperiment, match=message) as caught:
        DatasetTask("numbers", **options)  # type: ignore[arg-type]

    assert str(caught.value).startswith("DatasetTask('numbers'): ")


def test_a_folder_that_datasets_reads_serves_as_a_hub_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    for first, name in ((0, "train"), (2, "validation"), (4, "test")):
        write(folder / f"{name}.jsonl", questions(2, first=first))

    task = DatasetTask("numbers", hub=str(folder), train="train", dev="validation", holdout="test")

    assert task.samples(HOLDOUT) == (
        Sample(id="set[test]:1", input="Number 4?", reference="4"),
        Sample(id="set[test]:2", input="Number 5?", reference="5"),
    )


def test_a_hub_set_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    task = DatasetTask("numbers", hub=str(tmp_path / "nowhere"), revision="v1")

    with pytest.raises(InvalidData, match=r"hub data set '.*nowhere', split 'train', revision 'v1'.*give files="):
        task.samples(TRAIN)


def test_declaring_a_task_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "datasets", "pyarrow", "pandas", "scipy", "duckdb")
    program = (
        "import sys; from harness.data.dataset_task import DatasetTask; DatasetTask('a', 'b.csv'); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_reference_that_stop_would_cut_is_refused_by_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "Poem?", "completion": "one\ntwo"}])
    task = DatasetTask("poems", dev=path, holdout=path, stop=("\n",))

    with pytest.raises(InvalidData, match=r"rows.jsonl, row 1: the reference 'one\\ntwo' holds '\\n', at which stop="):
        task.samples(DEV)
    with pytest.raises(InvalidExperiment, match=r"stop='x' is no tuple of texts"):
        DatasetTask("poems", dev=path, holdout=path, stop="x")  # type: ignore[arg-type]
