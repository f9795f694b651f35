"""Rows of a hub data set keep the names of classes, and lose no time on pictures."""

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from harness.data.files.hub import read_hub


def test_class_names_and_whole_numbers_are_those_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["bad", "good"], "_type": "ClassLabel"},
        "stars": {"dtype": "float64", "_type": "Value"},
    }
    table = pyarrow.table({"text": ["a", "b"], "label": [1, 0], "stars": [4.0, None]})
    kept = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(kept, folder / "train.parquet")

    rows = read_hub(str(folder), split="train")

    assert [(row.values, row.label_names) for row in rows] == [
        ({"text": "a", "label": 1, "stars": 4}, {"label": ("bad", "good")}),
        ({"text": "b", "label": 0, "stars": None}, {"label": ("bad", "good")}),
    ]
    assert [row.where for row in rows] == [f"{folder}[train], row 1", f"{folder}[train], row 2"]
