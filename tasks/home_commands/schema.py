"""The intents that the task asks for, and where their grammars are."""

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]

# Those with templates enough for three splits, and few enough to be named in a short prompt.
INTENTS = (
    "HassTurnOn",
    "HassTurnOff",
    "HassLightSet",
    "HassFanSetSpeed",
    "HassClimateGetTemperature",
    "HassClimateSetTemperature",
    "HassSetVolume",
    "HassSetVolumeRelative",
    "HassMediaPrevious",
    "HassStartTimer",
    "HassCancelTimer",
    "HassTimerStatus",
)
GRAMMAR_FILES: Mapping[str, str] = {"en": "en.json", "zh": "zh-CN.json"}
