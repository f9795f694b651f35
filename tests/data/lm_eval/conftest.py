"""A folder of lm-eval tasks on one local data set: what the tests of LmEvalTask evaluate."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

LAMPS = ("kitchen", "bedroom", "hall", "garden", "attic", "studio", "porch", "cellar")
CHOICES = ["on", "off", "dim the light", "厨房 的 灯", "close the blinds, please"]
_SPLITS = {"train": (0, 12), "validation": (12, 18), "test": (18, 26)}


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """The maker of such folders: `write_tasks`."""
    return write_tasks


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five tasks, one of each kind and one of several inputs, with splits train, validation and test."""
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def rows(split: str) -> list[dict[str, object]]:
    """Return documents that no other split holds."""
    return [
        {
            "question": f"What of lamp {place * 7919} in the {LAMPS[place % 8]}" + ("?" if place % 2 else ", and why?"),
            "choices": CHOICES[place % 2 :],
            "answer": place % 4,
            "text": f"Turn on light {place * 7919} in the {LAMPS[place % 8]}. " * (1 + 30 * (place == 20)),
        }
        for place in range(*_SPLITS[split])
    ]


def write_tasks(folder: Path, *, splits: tuple[str, ...] = ("train", "validation", "test"), **changed: object) -> Path:
    """Write the data set and the tasks' files; `changed` fields are those of every task."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        lines = [json.dumps(row) for row in rows(split)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {split: str(folder / f"{split}.jsonl") for split in splits},
            "cache_dir": str(folder / "cache"),
        },
        **{f"{'training' if split == 'train' else split}_split": split for split in splits},
        "fewshot_split": "train" if "train" in splits else splits[0],
        "doc_to_text": "Question: {{question}}\nAnswer:",
    }
    for name, own in _TASKS.items():
        text = yaml.safe_dump({"task": name} | common | own | changed, sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    (folder / "group.yaml").write_text(yaml.safe_dump({"group": "lamps", "task": list(_TASKS)}), encoding="utf-8")
    return folder


_TASKS: dict[str, dict[str, object]] = {
    "lamps_choice": {
        "output_type": "multiple_choice",
        "description": "Lamps of a house.\n\n",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_mutual_info"}],
    },
    "lamps_answer": {
        "output_type": "generate_until",
        "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False},
        "filter_list": [
            {
                "name": "first-letter",
                "filter": [{"function": "regex", "regex_pattern": "([a-z])"}, {"function": "take_first"}],
            },
            {"name": "whole", "filter": [{"function": "take_first"}]},
        ],
        "metric_list": [{"metric": "exact_match", "ignore_case": True}],
    },
    "lamps_text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "lamps_word": {
        "output_type": "loglikelihood",
        "doc_to_target": " {{choices[answer]}}",
        "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
    },
    "lamps_inputs": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{answer}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "is what {{question}} asks",
        "metric_list": [{"metric": "acc"}],
    },
}
