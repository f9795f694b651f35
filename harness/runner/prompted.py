"""A sample's prompt, and what making it took: a retriever's time is a part of every answer that it serves."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.protocols import LooksUp, Prompter
from harness.samples import Messages, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """One prompt. lookup_seconds: what making it took. retrieved: texts found for it, None where none are looked up."""

    sample_id: str
    prompt: Messages
    lookup_seconds: float = 0.0
    retrieved: int | None = None


def prompted(prompter: Prompter, samples: Sequence[Sample]) -> list[Prompted]:
    """Return the prompt of each sample, in their order."""
    return [_prompted(prompter, sample) for sample in samples]


def _prompted(prompter: Prompter, sample: Sample) -> Prompted:
    began = time.perf_counter()
    if not isinstance(prompter, LooksUp):
        prompt = prompter(sample)
        return Prompted(sample_id=sample.id, prompt=prompt, lookup_seconds=time.perf_counter() - began)
    prompt, retrieved = prompter.look_up(sample)
    seconds = time.perf_counter() - began
    return Prompted(sample_id=sample.id, prompt=prompt, lookup_seconds=seconds, retrieved=retrieved)
