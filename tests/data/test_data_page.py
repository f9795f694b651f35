"""Every example of docs/data.md is read, or refused, as the page says."""

import json
import re
from pathlib import Path

import pytest

from harness.data.column_roles import Columns
from harness.data.files.row import Row
from harness.data.reading import read

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```jsonl( refused)?\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = [(refused, line) for refused, block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize(("refused", "line"), EXAMPLES, ids=[line[:60] for _, line in EXAMPLES])
def test_an_example_is_read_or_refused_as_the_page_says(refused: str, line: str) -> None:
    reading = read([Row("data.md", 1, json.loads(line))], Columns())

    assert (len(reading.rows), len(reading.left_out)) == ((0, 1) if refused else (1, 0)), reading.left_out
    assert not reading.not_read


def test_rows_of_a_block_may_stand_in_one_file() -> None:
    for refused, block in BLOCKS:
        rows = [Row("data.md", number, json.loads(line)) for number, line in enumerate(block.splitlines(), start=1)]
        if not refused:
            assert not read(rows, Columns()).left_out
