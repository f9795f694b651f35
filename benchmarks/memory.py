"""Peak memory of every adapter on the default model, measured, beside what was estimated.

    python -m benchmarks.memory

Each run is a process of its own, whose peak resident set is read all along. Writes docs/memory.md.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STEPS = 2
_MODEL = "smollm2-135m-instruct"
_PAGE = Path("docs/memory.md")
_WORDS = 5000
_EVERY = 0.05  # seconds between two looks at a run's memory


@dataclass(frozen=True)
class Case:
    """One run. batch: rows a step. length: tokens of a row, of which `answer` are learned."""

    adapter: str
    batch: int
    length: int
    answer: int = 16


_MAIN = ("Full()", "LoRA(rank=16)", "QLoRA(rank=16)")
_OTHERS = (
    "LoRA(rank=64, rslora=True)",
    "DoRA(rank=16)",
    'LoRA(rank=16, init="pissa")',
    'LoRA(rank=16, init="loftq")',
    'LoRA(rank=16, init="eva")',
    "AdaLoRA()",
    "IA3()",
    "BitFit()",
    "PrefixTuning()",
    "PromptTuning()",
    "PTuning()",
    "PTuningV2()",
    "Bottleneck()",
    'Bottleneck(kind="houlsby")',
    "MAM()",
    "UniPELT()",
)
CASES = (
    *(Case(adapter, batch, length) for adapter in _MAIN for batch, length in ((8, 128), (4, 512))),
    *(Case(adapter, 8, 128) for adapter in _OTHERS),
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
    """Train a few steps on rows of unlike words, and return the peak resident set at the last step, in bytes."""
    from harness.inference.models.loading import load_tokenizer
    from harness.recipes import SFT
    from harness.recipes.parse import read_recipe
    from harness.training.sft import fit
    from harness.types.jobs import TuneJob
    from harness.types.models import Model
    from harness.types.samples import Example, Message

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
    recipe = read_recipe(f"SFT(adapter={case.adapter}, epochs=1, batch_size={case.batch}, evaluate_every={_STEPS})")
    assert isinstance(recipe, SFT)
    with tempfile.TemporaryDirectory() as folder:
        job = TuneJob(recipe=recipe, model=declared, train=rows, dev=rows[:2], seed=1, folder=Path(folder))
        result = fit(job, progress=_Quiet())
    return {
        "step": int(max(point.value for point in result.log if point.name == "memory")),
        "tokens": result.tokens,
        "trainable": result.trainable_parameters,
        "seconds": sum(point.value for point in result.log if point.name == "seconds"),
    }


def measured(case: Case, model: str) -> dict[str, float]:
    """Return `train(case)` of a process of its own, and the most memory that it held from its start to its end."""
    given = json.dumps([case.adapter, case.batch, case.length, case.answer, model])
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(  # noqa: S603 - this file, with what is written above
            [sys.executable, "-m", "benchmarks.memory", given],
            stdout=said,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        peak = 0
        while child.poll() is None:  # training sets the peak back at its first step: what prepared it counts as well
            peak = max(peak, _peak(child.pid))
            time.sleep(_EVERY)
        if child.returncode:
            raise RuntimeError(f"{case.adapter} ended with {child.returncode}: what it said stands above")
        said.seek(0)
        return {"peak": peak, **json.loads(said.read().splitlines()[-1])}


def _peak(process: int) -> int:
    """Return the peak resident set of a process since it was last set back, in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def row(case: Case, found: dict[str, float], model: str) -> str:
    """Return a line of the table: what was estimated for rows of the length that they really had, beside the peak."""
    from harness.recipes import SFT
    from harness.recipes.parse import read_recipe
    from harness.resources.machine import GIB, this_machine
    from harness.resources.memory import recipe_memory
    from harness.resources.model_shape import read_shape
    from harness.types.models import Model

    recipe = read_recipe(f"SFT(adapter={case.adapter}, batch_size={case.batch})")
    assert isinstance(recipe, SFT)
    formats = this_machine(Path(), device="cpu").formats(recipe.adapter, length=case.length)
    estimate = recipe_memory(read_shape(Model(model)), recipe, formats, length=case.length, answer=case.answer)
    peak = found["peak"]
    return (
        f"| `{case.adapter}` | {case.batch} x {case.length} | {estimate.total / GIB:.2f} | {peak / GIB:.2f} | "
        f"{found['step'] / GIB:.2f} | {estimate.total / peak - 1:+.0%} |"
    )


_TEXT = """# Memory of training: estimated and measured

Peak resident set (`VmHWM`) of a process that prepares and trains {model} for {steps} steps and checks what it saved,
beside what `harness memory` estimates. Rows of unlike words, so that a batch shares no prefix; 16 tokens of each are
learned. "while training" is the peak of the steps alone: without what was prepared before (the start of PiSSA, LoftQ
and EVA), and before the saved system is loaded again for its checks.
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
    """Measure every case and write the page, with what is measured so far after each."""
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
