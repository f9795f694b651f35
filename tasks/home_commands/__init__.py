"""Home commands: a spoken request -> JSON with the intent and its slots."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from harness.errors import InvalidExperiment
from harness.types.samples import Message, Messages, Passage, Sample, Split
from tasks.home_commands.schema import GRAMMAR_FILES, INTENTS, Language
from tasks.stored_rows import Row, package_folder, package_version, source_of, stored_rows

_JOB = f'Answer with JSON only: {{"intent": ..., "slots": {{...}}}}. Intents: {", ".join(INTENTS)}.'


@dataclass(frozen=True)
class HomeCommands:
    """Requests drawn from Home Assistant's own sentence grammars; no template is in two splits.

    language: "en" or "zh". The value of an answer is its JSON object with an intent and slots, keys sorted.
    """

    language: Language = "en"

    answer_tokens: ClassVar[int] = 40

    def __post_init__(self) -> None:
        if self.language not in GRAMMAR_FILES:
            raise InvalidExperiment(
                f"HomeCommands(language={self.language!r}): there are grammars for {', '.join(GRAMMAR_FILES)}"
            )

    @property
    def name(self) -> str:
        return f"home_commands_{self.language}"

    def samples(self, split: Split) -> Sequence[Sample]:
        return tuple(sample for sample in _all_samples(self.language) if sample.tags["split"] == split.value)

    def prompt(self, sample: Sample) -> Messages:
        return Message("system", _JOB), Message("user", sample.input)

    def read(self, text: str) -> object | None:
        """Return {"intent": ..., "slots": {...}} from the first JSON object of `text`, None where there is none.

        Strings are stripped and read without case; a number written as a string stays a string.
        """
        start = text.find("{")
        if start < 0:
            return None
        try:
            value, _ = json.JSONDecoder().raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            return None
        if not isinstance(value, dict) or not isinstance(value.get("intent"), str):
            return None
        slots = value.get("slots", {})
        if not isinstance(slots, dict):
            return None
        return {"intent": value["intent"].strip(), "slots": {name: _plain(slots[name]) for name in sorted(slots)}}

    def corpus(self) -> Sequence[Passage]:
        """Return one passage a TRAIN sample: what was asked, and the right answer."""
        return tuple(
            Passage(
                id=sample.id,
                text=f"Request: {sample.input}\nAnswer: {sample.reference}",
                sample_id=sample.id,
                group=sample.group,
            )
            for sample in self.samples(Split.TRAIN)
        )


def _plain(value: object) -> object:
    """Return a slot's value in one form: 5.0 is 5, " Kitchen" is "kitchen"."""
    if isinstance(value, str):
        return value.strip().casefold()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@lru_cache(maxsize=len(GRAMMAR_FILES))
def _all_samples(language: Language) -> tuple[Sample, ...]:
    package = package_folder("home_assistant_intents")

    def build() -> list[Row]:
        # hassil takes longer to import than stored rows take to read.
        from tasks.home_commands.build import build_rows

        return list(build_rows(language, package))

    parts = [f"tasks.home_commands.{module}" for module in ("build", "grammar", "homes", "schema")]
    made_from = [language, package_version("home-assistant-intents"), package_version("hassil"), source_of(*parts)]
    rows = stored_rows(f"home_commands_{language}", made_from=made_from, build=build)
    return tuple(_sample(place, row) for place, row in enumerate(rows))


def _sample(place: int, row: Row) -> Sample:
    answer = {"intent": row["intent"], "slots": row["slots"]}
    return Sample(
        id=f"{row['split']}-{place:04d}",
        input=str(row["text"]),
        reference=json.dumps(answer, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        group=str(row["group"]),
        tags={"split": str(row["split"]), "intent": str(row["intent"])},
    )
