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

_STEPS = 2
_MODEL = "smollm2-135m-instruct"
_PAGE = Path("docs/memory.md")
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


def train(case: Case, model: str) -> dict[str, float]:
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
            id=str(place), prompt=(Message("user", text(case.length - case.answer - frame)),), answer=text(case.answer)
        )
        for place in range(case.batch * _STEPS)
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
        "seconds": sum(point.value for point in result.log if point.name == "seconds"),
    }


def measured(case: Case, model: str) -> dict[str, float]:
    """Return `train(case)` of a process of its own."""
    given = json.dumps([case.adapter, case.batch, case.length, case.answer, model])
    done = subprocess.run(  # noqa: S603 - this file, with what is written above
        [sys.executable, "-m", "benchmarks.memory", given],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(case: Case, found: dict[str, float], model: str) -> str:
    """Return a line of the table: what was estimated for rows of the length that they really had, beside the peak."""
    from harness.estimates.machine import GIB, this_machine
    from harness.estimates.memory import recipe_memory
    from harness.estimates.reading import read_shape
    from harness.models import Model
    from harness.recipes import SFT
    from harness.recipes.written import read_adapter

    recipe = SFT(adapter=read_adapter(case.adapter), batch_size=case.batch)
    formats = this_machine(Path(), device="cpu").formats(recipe.adapter, length=case.length)
    estimate = recipe_memory(read_shape(Model(model)), recipe, formats, length=case.length, answer=case.answer)
    peak = found["peak"]
    return (
        f"| `{case.adapter}` | {case.batch} x {case.length} | {estimate.total / GIB:.2f} | {peak / GIB:.2f} | "
        f"{found['step'] / GIB:.2f} | {estimate.total / peak - 1:+.0%} |"
    )


_TEXT = """# Memory of training: estimated and measured

Peak resident set (`ru_maxrss`) of a process that trains {model} for {steps} steps and checks what it saved, beside what
`harness memory` estimates. Rows of unlike words, so that a batch shares no prefix; 16 tokens of each are learned.
"while training" is the peak at the last step, before the saved system is loaded again for its checks.
Written by `python -m benchmarks.memory`; GiB; a CPU with bfloat16 products.

| adapter | rows x tokens | estimated | measured | while training | estimate off by |
|---|---|---|---|---|---|
{rows}

What is counted: weights, and for each trained one its gradient and Adam's two moments, all in float32; a frozen base in
bfloat16, or in 4 bits where its layers are linear; what each block keeps for the backward pass (norms with their
float32 copies, queries, keys and values before and after rotation, the four products of a gated feed-forward network,
and the attention's scores where plain products compute them, up to 512 tokens on a CPU); the head's logits of the
answers; and Python with its libraries, or the GPU's context. Batches that share a prompt take less: what is shared is
computed once.
"""


def main() -> int:
    """Measure every case and write the page."""
    lines = []
    for case in CASES:
        lines.append(row(case, measured(case, _MODEL), _MODEL))
        sys.stdout.write(f"{lines[-1]}\n")
        sys.stdout.flush()
    _PAGE.write_text(_TEXT.format(model=_MODEL, steps=_STEPS, rows="\n".join(lines)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        *declared, name = json.loads(sys.argv[1])
        sys.stdout.write(json.dumps(train(Case(*declared), name)) + "\n")
    else:
        sys.exit(main())
