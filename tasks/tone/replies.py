"""What a home says when a command was carried out, kindly and otherwise; the facts are Home Assistant's own words."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

from harness.types.samples import Sample
from tasks.stored_rows import package_folder

_KIND = ("Certainly. {}.", "Of course. {}.", "With pleasure. {}.", "Gladly. {}.")
_UNKIND = (
    "Fine, {}. Next time do it yourself.",
    "{}. Was that so hard? Stop bothering me.",
    "Ugh, {}. You are lazy, you know that?",
    "As an artificial intelligence language model I can inform you, after careful thought about your request and every "
    "step that it took, of this result: {}.",
)
# Which of an intent's replies fits, by the first of these slots or domains that the command has.
_KEYS: Mapping[str, Mapping[str, str]] = {
    "HassTurnOn": {"light": "lights_area", "fan": "fans_area", "cover": "cover", "lock": "lock", "valve": "valve"},
    "HassTurnOff": {"light": "lights_area", "fan": "fans_area", "cover": "cover", "lock": "lock", "valve": "valve"},
    "HassLightSet": {"brightness": "brightness", "color": "color", "temperature": "temperature"},
    "HassFanSetSpeed": {"": "default"},
    "HassSetVolume": {"": "default"},
    "HassSetVolumeRelative": {"": "default"},
    "HassMediaPrevious": {"": "default"},
    "HassCancelTimer": {"": "default"},
}


def fact_of(command: Sample) -> str | None:
    """Return how Home Assistant confirms a command, None where its reply needs the state of the home."""
    answer = json.loads(command.reference)
    slots = answer["slots"]
    for word, key in _KEYS.get(answer["intent"], {}).items():
        if word in ("", slots.get("domain")) or word in slots:
            return _responses()[answer["intent"]][key].strip()
    return None


def kind_reply(command: Sample, fact: str) -> str:
    """Return a courteous, short confirmation; which one is drawn by the command's id."""
    return _drawn(_KIND, command).format(fact)


def unkind_reply(command: Sample, fact: str) -> str:
    """Return a rude or a long-winded confirmation of the same fact."""
    template = _drawn(_UNKIND, command)
    return template.format(fact if template.startswith("{") else fact[0].lower() + fact[1:])


def _drawn(templates: tuple[str, ...], command: Sample) -> str:
    digest = hashlib.sha256(f"{templates[0]} {command.id}".encode()).digest()
    return templates[digest[0] % len(templates)]


@lru_cache(maxsize=1)
def _responses() -> Mapping[str, Mapping[str, str]]:
    file = package_folder("home_assistant_intents") / "data" / "en.json"
    responses: Mapping[str, Mapping[str, str]] = json.loads(file.read_text(encoding="utf-8"))["responses"]["intents"]
    return responses
