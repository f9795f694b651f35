"""A model's shape from its files: config.json and the headers of its weights, or the header of a GGUF file."""

import json
import math
import struct
from pathlib import Path

from harness.errors import InvalidExperiment
from harness.estimates.shape import Shape, shape_of
from harness.gguf_header import config_of, parameters_of, read_header
from harness.model_files import locate
from harness.models import Model

_LONGEST_HEADER = 100 * 1024 * 1024


def read_shape(model: Model) -> Shape:
    """Return the shape of `model`; no weight is read, nothing is converted.

    Raises InvalidExperiment where its files are not found or say too little.
    """
    source = Path(model.source).expanduser()
    if source.is_file() and source.name == "config.json":
        return shape_of(_config(source))  # sizes alone, of a model that is not here
    files = locate(model)
    if files.gguf is not None:
        header = read_header(files.folder / files.gguf)
        return shape_of(config_of(header), exact=parameters_of(header))
    return shape_of(_config(files.folder / "config.json"), exact=_stored_parameters(files.folder))


def _config(path: Path) -> dict[str, object]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidExperiment(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(read, dict):
        raise InvalidExperiment(f"{path} holds no JSON object; it is no config of a model")
    return read


def _stored_parameters(folder: Path) -> int | None:
    """Return the number of weights in the safetensors headers, None where they cannot be read or are packed."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
        except (OSError, ValueError, struct.error):
            return None
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        if any(entry["dtype"] in ("U8", "I8", "I32") for entry in tensors):
            return None  # quantised weights, several in one number
        total += sum(math.prod(entry["shape"]) for entry in tensors)
    return total or None
