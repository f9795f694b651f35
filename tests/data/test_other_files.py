"""Rows of Excel files, promptfoo configurations and Inspect logs."""

import json
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from harness.data.files.read import read_file, read_rows
from harness.errors import InvalidData, MissingPackage

_CONFIGURATION = """
prompts: ["Translate {{text}} to {{ lang }}"]
providers: [openai:some-model]
defaultTest:
  vars: {lang: French}
  assert: [{type: latency, threshold: 5}]
tests:
  - vars: {text: hello}
    assert: [{type: equals, value: bonjour}]
  - vars: {text: cat}
    assert: [{type: contains, value: chat}, {type: llm-rubric, value: polite}]
"""


def book(path: Path, **sheets: list[list[object]]) -> Path:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, records in sheets.items():
        sheet = made.create_sheet(title)
        for record in records:
            sheet.append(record)
    made.save(path)
    return path


def test_the_one_sheet_with_rows_is_read(tmp_path: Path) -> None:
    cells = [["text", "label", "when", None], ["a", 1, datetime(2024, 1, 2), None], [None] * 4, ["b", None, None, None]]

    read = read_file(book(tmp_path / "rows.xlsx", Empty=[], Data=cells))

    assert [(row.number, row.values) for row in read.rows] == [
        (1, {"text": "a", "label": 1, "when": "2024-01-02T00:00:00"}),
        (3, {"text": "b", "label": None, "when": None}),
    ]
    assert [note.kind for note in read.notes] == ["place", "left_out"]


def test_several_sheets_and_damaged_books_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "rows.xlsx", A=[["text"], ["a"]], B=[["text"], ["b"]])
    (tmp_path / "damaged.xlsx").write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InvalidData, match="has rows in the sheets 'A', 'B'; save the one that is meant"):
        read_rows(path)
    with pytest.raises(InvalidData, match=r"damaged\.xlsx: not a readable Excel file"):
        read_rows(tmp_path / "damaged.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingPackage, match="Excel files need openpyxl; pip install openpyxl"):
        read_rows(path)


def test_formulas_that_were_never_calculated_are_refused(tmp_path: Path) -> None:
    path = book(tmp_path / "rows.xlsx", A=[["text", "label"], ["a", "=1+1"], [None, "=2"]])

    with pytest.raises(InvalidData, match="2 cells have formulas without a stored value; open it in Excel and save it"):
        read_rows(path)


def test_a_promptfoo_test_is_a_row_with_its_prompt_and_the_expected_answer(tmp_path: Path) -> None:
    (tmp_path / "promptfooconfig.yaml").write_text(_CONFIGURATION, encoding="utf-8")

    read = read_file(tmp_path / "promptfooconfig.yaml")

    assert [row.values for row in read.rows] == [
        {"lang": "French", "text": "hello", "prompt": "Translate hello to French", "completion": "bonjour"},
        {"lang": "French", "text": "cat", "prompt": "Translate cat to French", "completion": "chat"},
    ]
    assert [(note.kind, note.count, note.text) for note in read.notes[1:]] == [
        ("left_out", 2, "the assertion 'latency' was left out"),
        ("left_out", 1, "the assertion 'llm-rubric' was left out"),
    ]


def test_promptfoo_tests_in_a_csv_are_read(tmp_path: Path) -> None:
    (tmp_path / "tests.csv").write_text("x,__expected\none,1\ntwo,contains: 2\n", encoding="utf-8")
    (tmp_path / "p.yaml").write_text('prompts: ["{{x}}?", "{{x}}!"]\ntests: file://tests.csv\n', encoding="utf-8")

    read = read_file(tmp_path / "p.yaml")

    assert [row.values for row in read.rows] == [{"x": "one", "completion": "1"}, {"x": "two", "completion": "2"}]
    assert [note.kind for note in read.notes] == ["read_as", "left_out"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompts: [a]\ntests: [{vars: {x: 1}}]", "test 1: has no assertion, and no answer that is expected"),
        ("prompts: [a]\ntests: [{assert: [{type: llm-rubric, value: y}]}]", "test 1: has only 'llm-rubric'"),
        ("prompts: ['{% if x %}']\ntests: []", "has more than plain {{variables}}"),
        ("prompts: ['{{ x | upper }}']\ntests: []", "has more than plain {{variables}}"),
        ("prompts: ['{{y}}']\ntests: [{assert: [{type: equals, value: a}]}]", "test 1: has no variable 'y'"),
        ("prompts: file://prompt.py\ntests: []", "the prompt file 'prompt.py' is not read"),
        ("prompts: [a]\ntests: file://make.py", "the tests in 'make.py' are not read"),
        ("prompts: [a]\nscenarios: [1]\ntests: []", "'scenarios' are not read"),
        ("prompts: [a]\ntests: [{vars: {x: [1, 2]}}]", "the variable 'x' has several values"),
        ("a: b", "neither a list of rows nor a promptfoo configuration with tests with the keys 'a'"),
        ("a: [b", "line 1, column 6: not YAML"),
        ("a: !!python/name:os.system", "not YAML: could not determine a constructor"),
        ("", "the file has no rows"),
    ],
)
def test_what_of_a_configuration_is_not_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(InvalidData) as caught:
        read_rows(tmp_path / "p.yaml")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_inspect_log_gives_what_was_asked_and_answered(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "yes"}]
    output = {"choices": [{"message": {"role": "assistant", "content": parts}}]}
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q10"}]
    samples = [
        {
            "id": number,
            "epoch": epoch,
            "input": turns if number == 10 else f"q{number}",
            "target": ["a"],
            "output": output,
        }
        for number in (1, 10)
        for epoch in (1, 2)
    ]
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as log:
        log.writestr("header.json", "{}")
        for sample in samples:
            log.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
    whole = {"version": 2, "status": "success", "eval": {}, "samples": samples}
    (tmp_path / "log.json").write_text(json.dumps(whole), encoding="utf-8")

    for name in ("log.eval", "log.json"):
        read = read_file(tmp_path / name)

        assert [row.values for row in read.rows] == [
            {"id": 1, "input": "q1", "target": "a", "model_output": "yes"},
            {
                "id": 10,
                "prompt": turns,
                "completion": [{"role": "assistant", "content": "a"}],
                "target": "a",
                "model_output": "yes",
            },
        ]
        assert [(note.kind, note.count) for note in read.notes] == [("read_as", 0), ("left_out", 2)]


def test_half_an_emoji_in_a_log_is_replaced(tmp_path: Path) -> None:
    whole = {"version": 2, "status": "x", "eval": {}, "samples": [{"id": 1, "input": "\ud83d", "target": "a"}]}
    (tmp_path / "log.json").write_text(json.dumps(whole), encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as log:
        log.writestr("samples/1_epoch_1.json", json.dumps(whole["samples"][0]))  # type: ignore[index]

    for name in ("log.json", "log.eval"):
        assert [row.values["input"] for row in read_rows(tmp_path / name)] == ["\ufffd"]


def test_a_log_without_samples_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('{"version": 2, "status": "success", "eval": {}}', encoding="utf-8")
    (tmp_path / "log.eval").write_text("nothing", encoding="utf-8")

    with pytest.raises(InvalidData, match="the Inspect log has no samples; run the evaluation with --log-samples"):
        read_rows(tmp_path / "log.json")
    with pytest.raises(InvalidData, match="not a readable Inspect log"):
        read_rows(tmp_path / "log.eval")
