"""Rows of Inspect logs: what its samples asked, the target, and what the model answered."""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.data.files.bytes import check_readable
from harness.data.files.folders import natural
from harness.data.files.row import DataFile, Note, Row, with_whole_characters
from harness.errors import InvalidData

_SAMPLE = re.compile(r"samples/.+\.json")
_JSON = "convert it with: inspect log convert --to json"


def is_inspect_log(value: object) -> bool:
    """Tell a log that was written as JSON from other objects."""
    return isinstance(value, dict) and isinstance(value.get("eval"), dict) and "status" in value and "version" in value


def read_eval_log(path: Path) -> DataFile:
    """Return the rows of the .eval log at `path`, a zip file; raise InvalidData if it is damaged or empty."""
    check_readable(path)
    try:
        with zipfile.ZipFile(path) as log:
            names = sorted((name for name in log.namelist() if _SAMPLE.fullmatch(name)), key=natural)
            samples = [json.loads(log.read(name)) for name in names]
    except NotImplementedError:
        raise InvalidData(f"{path}: is packed in a way that Python cannot unpack; {_JSON}") from None
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError, EOFError) as error:
        raise InvalidData(f"{path}: not a readable Inspect log: {error}; copy it again, or {_JSON}") from None
    return with_whole_characters(_rows(samples, path), path)


def rows_of_log(value: object, path: Path) -> DataFile:
    """Return the rows of `value`, a log for which `is_inspect_log` holds; raise InvalidData if it has no samples."""
    samples = value.get("samples") if isinstance(value, dict) else None
    return _rows(samples if isinstance(samples, list) else [], path)


def _rows(samples: Sequence[object], path: Path) -> DataFile:
    if not samples:
        raise InvalidData(f"{path}: the Inspect log has no samples; run the evaluation with --log-samples")
    rows, later = [], 0
    for number, sample in enumerate(samples, start=1):
        if not isinstance(sample, dict) or not {"id", "input", "target"} <= sample.keys():
            raise InvalidData(f"{path}, row {number}: no id, input and target, as an Inspect sample has; {_JSON}")
        if sample.get("epoch", 1) == 1:
            rows.append(Row(str(path), number, _values(sample)))
        else:
            later += 1
    notes = [
        Note(str(path), "read_as", "is an Inspect log; each sample is a row, what the model wrote is model_output")
    ]
    if later:
        text = f"{later:,} samples ask again what the first epoch asked, and were left out"
        notes.append(Note(str(path), "left_out", text, later))
    return DataFile(tuple(rows), tuple(notes))


def _values(sample: Mapping[str, object]) -> dict[str, object]:
    target = sample["target"]
    if isinstance(target, list) and len(target) == 1:
        target = target[0]
    values: dict[str, object] = {"id": sample["id"], **_asked(sample["input"], target), "target": target}
    if sample.get("choices"):
        values["choices"] = sample["choices"]
    answer = _answer(sample.get("output"))
    return values if answer is None else {**values, "model_output": answer}


def _asked(given: object, target: object) -> dict[str, object]:
    """Return the question as `input`; a conversation of several turns as `prompt`, with the target as `completion`."""
    if not isinstance(given, list):
        return {"input": given}
    turns = [
        {"role": turn.get("role"), "content": _text(turn.get("content"))} for turn in given if isinstance(turn, dict)
    ]
    if len(turns) == 1 and turns[0]["role"] == "user":
        return {"input": turns[0]["content"]}
    return {"prompt": turns, "completion": [{"role": "assistant", "content": target}]}


def _answer(output: object) -> object:
    """Return what the model wrote, None if it was not kept."""
    if not isinstance(output, Mapping):
        return None
    if isinstance(output.get("completion"), str):
        return str(output["completion"])
    choices = output.get("choices")
    message = (
        choices[0].get("message") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    )
    return _text(message.get("content")) if isinstance(message, dict) else None


def _text(content: object) -> object:
    """Return the text of a message whose content is a list of parts; the content as it is if a part is a picture."""
    if not isinstance(content, list):
        return content
    kinds = {part.get("type") if isinstance(part, dict) else None for part in content}
    if not kinds <= {"text", "reasoning"}:
        return content
    return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
