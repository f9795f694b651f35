"""Peak memory of full fine-tuning, LoRA and QLoRA on the default model, measured, beside what was estimated.

    python -m benchmarks.memory

Each run is a process of its own, whose largest resident set is read at the end. Writes docs/memory.md.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STEPS = 3
_WORDS = 5000


@dataclass(frozen=True)
class Case:
    """One run. batch: rows a step. length: tokens of a row, of which `answer` are learned."""

    adapter: str
    batch: int
    length: int
    answer: int = 16


CASES = (
    Case("Full()", 8, 128),
    Case("Full()", 4, 512),
    Case("LoRA(rank=16)", 8, 128),
    Case("LoRA(rank=16)", 4, 512),
    Case("QLoRA(rank=16)", 8, 128),
    Case("QLoRA(rank=16)", 4, 512),
)


class _Quiet:
    """A progress that says nothing."""

    def say(self, line: str) -> None:
        """Nobody listens."""

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Nobody watches."""

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator["_Quiet"]:
        yield self


def train(case: Case, model: str) -> dict[str, int]:
    """Train a few steps on rows of unlike words, and return the peak resident sets in bytes."""
    import resource

    from harness.jobs import TuneJob
    from harness.models import Model
    from harness.recipes import SFT
    from harness.recipes.written import read_adapter
    from harness.samples import Example, Message
    from harness.tuning.sft import fit
    from harness.weights.loading import load_tokenizer

    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    declared = Model(model)
    tokenizer = load_tokenizer(declared)
    draw = random.Random(0)  # noqa: S311 - words, not secrets
    vocabulary = [tokenizer.decode([token]) for token in range(1000, 1000 + _WORDS)]

    def text(tokens: int) -> str:
        words = "".join(draw.choice(vocabulary) for _ in range(2 * tokens))
        return str(tokenizer.decode(tokenizer(words, add_special_tokens=False)["input_ids"][:tokens]))

    frame = 40  # tokens of the chat template around a prompt
    rows = tuple(
        Example(
            id=str(row), prompt=(Message("user", text(case.length - case.answer - frame)),), answer=text(case.answer)
        )
        for row in range(case.batch * _STEPS)
    )
    recipe = SFT(adapter=read_adapter(case.adapter), epochs=1, batch_size=case.batch, evaluate_every=_STEPS)
    with tempfile.TemporaryDirectory() as folder:
        job = TuneJob(recipe=recipe, model=declared, train=rows, dev=rows[:2], seed=1, folder=Path(folder))
        result = fit(job, progress=_Quiet())
    return {
        "imported": imported,
        "step": int(max(point.value for point in result.log if point.name == "memory")),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "tokens": result.tokens,
        "trainable": result.trainable_parameters,
        "seconds": sum(point.value for point in result.log if point.name == "seconds"),  # type: ignore[dict-item]
    }


def measured(case: Case, model: str) -> dict[str, int]:
    """Return `train(case)` of a process of its own."""
    given = json.dumps([case.adapter, case.batch, case.length, case.answer, model])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", given],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        *case, model = json.loads(sys.argv[1])
        sys.stdout.write(json.dumps(train(Case(*case), model)) + "\n")
