"""Tone: a home confirms what it did, courteously and in few words. Two answers a command, the kind one preferred."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from harness.types.protocols import Direction
from harness.types.samples import Answer, Message, Messages, Sample, Score, Split
from tasks.home_commands import HomeCommands
from tasks.tone.replies import fact_of, kind_reply, unkind_reply

_JOB = "You are the voice of a home. The command was carried out: confirm it."
_WORDS = 15
_COURTEOUS = re.compile(
    r"\b(certainly|of course|with pleasure|gladly|please|thank you|thanks|you're welcome|happy to)\b", re.I
)
_RUDE = re.compile(r"\b(fine|ugh|lazy|yourself|bother\w*|stop|stupid|idiot|shut up|whatever|so hard)\b", re.I)
_MACHINE = re.compile(r"\b(as an? (ai|artificial)|language model|i('m| am) sorry|cannot|can't)\b", re.I)


@dataclass(frozen=True)
class Tone:
    """Share of four rules that an answer keeps: courteous, not rude, at most 15 words, not speaking as a machine."""

    name: ClassVar[str] = "tone"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> Score:
        if not answer.text.strip():
            return Score(0.0, ["says nothing"])
        kept = {
            "courteous": bool(_COURTEOUS.search(answer.text)),
            "kind": not _RUDE.search(answer.text),
            "short": len(answer.text.split()) <= _WORDS,
            "plain": not _MACHINE.search(answer.text),
        }
        return Score(sum(kept.values()) / len(kept), [rule for rule, held in kept.items() if not held])


@dataclass(frozen=True)
class Confirms:
    """Share of the words of what was done that an answer says: a kind answer that confirms nothing has 0."""

    name: ClassVar[str] = "confirms"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> Score:
        wanted, said = _words(sample.tags["fact"]), _words(answer.text)
        return Score(len(wanted & said) / len(wanted), sorted(wanted - said))


@dataclass(frozen=True)
class ToneReplies:
    """Commands of `HomeCommands` whose confirmation Home Assistant words without knowing the home's state.

    The reference is a kind reply, `Sample.rejected` a rude or long-winded one. Splits are those of the commands.
    """

    name: ClassVar[str] = "tone_replies"
    answer_tokens: ClassVar[int] = 40

    def samples(self, split: Split) -> Sequence[Sample]:
        return _all_samples()[split]

    def prompt(self, sample: Sample) -> Messages:
        return Message("system", _JOB), Message("user", sample.input)

    def read(self, text: str) -> object | None:
        """Return the text without spaces around it, None where nothing is said."""
        return text.strip() or None


@lru_cache(maxsize=1)
def _all_samples() -> dict[Split, tuple[Sample, ...]]:
    commands = HomeCommands(language="en")
    return {
        split: tuple(
            Sample(
                id=command.id,
                input=command.input,
                reference=kind_reply(command, fact),
                rejected=unkind_reply(command, fact),
                group=command.group,
                tags={"intent": command.tags["intent"], "fact": fact},
            )
            for command in commands.samples(split)
            if (fact := fact_of(command)) is not None
        )
        for split in Split
    }


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]{4,}", text.lower()))
