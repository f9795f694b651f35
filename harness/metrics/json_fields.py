"""The share of an object's fields that are right: a graded score, while ExactMatch gives all or nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.errors import InvalidData, InvalidExperiment
from harness.metrics.exact import canonical, expected_value
from harness.types.protocols import Direction
from harness.types.samples import Answer, Sample, Score
from harness.types.unicode import comparable


@dataclass(frozen=True)
class JsonFields:
    """The share of fields that the answer has right.

    A field is right as in `ExactMatch`: 1 is 1.0, the order of keys says nothing. An answer that is no object scores 0.

    Args:
        fields: Paths such as ("intent", "slots.area"); an object or list at a path is compared whole. None is every
            innermost field of the reference and of the answer together, so that a field too many costs as much as one
            missing.

    Raises:
        InvalidExperiment: If `fields` is empty, or no tuple of texts.

    Examples:
        >>> wanted = {"intent": "light_on", "area": "kitchen"}
        >>> sample = Sample(id="1", input="Light, please", reference="...", expected=wanted)
        >>> JsonFields().score(sample, Answer(sample_id="1", text="...", value={"intent": "light_on"}))
        Score(value=0.5, detail={'wrong': ['area']}, error=None)
    """

    fields: tuple[str, ...] | None = None

    name: ClassVar[str] = "json_fields"
    better: ClassVar[Direction] = "higher"

    def __post_init__(self) -> None:
        if self.fields is None:
            return
        if isinstance(self.fields, str) or not self.fields or not all(isinstance(one, str) for one in self.fields):
            raise InvalidExperiment(
                f'JsonFields(fields={self.fields!r}): give a tuple of paths such as ("intent", "slots.area"), or leave '
                "fields out for all of them"
            )
        object.__setattr__(self, "fields", tuple(self.fields))

    def score(self, sample: Sample, answer: Answer) -> Score:
        """Return the share with detail {"wrong": paths that are missing, too many or not right}.

        Raises:
            InvalidData: If the reference is no object.
        """
        expected, given = _object(expected_value(sample)), _object(answer.value)
        if not expected:
            raise InvalidData(
                f"sample {sample.id!r}: its reference {sample.reference[:80]!r} is no JSON object with fields, so no "
                "field could be right; mend the reference, or use another metric than JsonFields"
            )
        if given is None:
            return Score(0.0, detail={"wrong": "no object"})
        wanted, found = _leaves(expected), _leaves(given)
        asked = sorted({*wanted, *found}) if self.fields is None else list(self.fields)
        if self.fields is not None:
            wanted, found = ({path: _at(whole, path) for path in asked} for whole in (expected, given))
        wrong = [path for path in asked if _said(wanted, path) != _said(found, path)]
        return Score(1 - len(wrong) / len(asked), detail={"wrong": wrong})


_ABSENT = object()


def _said(values: Mapping[str, object], path: str) -> str | None:
    value = values.get(path, _ABSENT)
    return None if value is _ABSENT else canonical(value)


def _object(value: object) -> Mapping[str, object] | None:
    """Return `value` if it is an object, else the first object in a text."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str) or (start := value.find("{")) < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(value, start)
    except (json.JSONDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _leaves(value: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Return innermost field's path -> value; an empty object is a field of its own."""
    found: dict[str, object] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            found |= _leaves(item, f"{before}{comparable(key)}.")
        else:
            found[f"{before}{comparable(key)}"] = item
    return found


def _at(value: object, path: str) -> object:
    for key in comparable(path).split("."):
        if not isinstance(value, Mapping):
            return _ABSENT
        value = {comparable(name): item for name, item in value.items()}.get(key, _ABSENT)
    return value
