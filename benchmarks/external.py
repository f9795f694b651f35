"""One recipe through three trainers: python -m benchmarks.external writes docs/measurements/external-tuners.md.

Ours, LLaMA-Factory and Axolotl train the default model on home commands; each result is judged by our evaluation on
DEV. The tuners must be installed: harness tuner install llamafactory, and axolotl.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import SFT, ExactMatch, LoRA, Model, Split, ZeroShot
from harness.environments import TUNERS
from harness.errors import MissingPackage
from harness.inference.local.engine import LocalEngine, open_engine
from harness.recipes.sft import Backend
from harness.runner.context import SilentProgress
from harness.stats.paired_tests import wilson_interval
from harness.training.rows import draw_rows
from harness.training.sft import fit
from harness.types.jobs import TuneJob, TuneResult
from harness.types.samples import Answer, Decoding, Example, Sample
from tasks.home_commands import HomeCommands

PAGE = Path("docs/measurements/external-tuners.md")
_TEXT = Path(__file__).with_name("external.md")
_MODEL = Model("smollm2-135m-instruct")
_TASK = HomeCommands(language="en")
_PROMPT = ZeroShot(instruction="Home command to JSON.")
_DEV_EXAMPLES = 32


@dataclass(frozen=True)
class Outcome:
    """What one trainer made of the recipe. seconds: of training, loading included; loss: the best on DEV examples."""

    trainer: str
    seconds: float
    first: float
    last: float
    dev_loss: float
    right: int
    asked: int

    def row(self) -> str:
        interval = wilson_interval(self.right / self.asked, self.asked)
        score = f"{self.right / self.asked:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
        cells = (self.trainer, f"{self.seconds:.0f}", f"{self.first:.3f}", f"{self.last:.3f}", f"{self.dev_loss:.3f}")
        return f"| {' | '.join(cells)} | {score} |"


def main() -> int:
    options = _options()
    asked = _TASK.samples(Split.DEV)[: options.asked]
    recipe = SFT(adapter=LoRA(rank=16), epochs=1, batch_size=8, learning_rate=2e-3)
    steps = -(-options.examples // recipe.batch_size)
    # Evaluations cost as much as training where there are ten: two choose a checkpoint as well.
    recipe = replace(recipe, evaluate_every=-(-steps // 2))
    found: list[Outcome] = []
    backends: tuple[Backend | None, ...] = () if options.unmeasured else (None, "llamafactory", "axolotl")
    for backend in backends:
        try:
            found.append(_measure(replace(recipe, backend=backend), options, asked))
        except MissingPackage as missing:
            sys.stdout.write(f"skipped: {missing}\n")
            continue
        sys.stdout.write(f"{found[-1].row()}\n")
        sys.stdout.flush()
    if not options.dry:
        PAGE.write_text(_page(found, recipe, options), encoding="utf-8")
        sys.stdout.write(f"wrote {PAGE}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.external", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="train examples (200)")
    parser.add_argument(
        "--asked", type=int, default=48, help="DEV samples that are asked afterwards (48, which is all)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of training; the examples stay the same (1)")
    parser.add_argument("--unmeasured", action="store_true", help="write the page without its table")
    parser.add_argument("--dry", action="store_true", help="print the rows and write nothing")
    return parser.parse_args()


def _measure(recipe: SFT, options: argparse.Namespace, asked: Sequence[Sample]) -> Outcome:
    prompter = _PROMPT.bind(_TASK)
    samples = _TASK.samples(Split.TRAIN)
    examples = [Example(id=one.id, prompt=prompter(one), answer=one.reference) for one in samples]
    drawn = draw_rows(examples, options.examples + _DEV_EXAMPLES, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        job = TuneJob(
            recipe=recipe,
            model=_MODEL,
            train=tuple(drawn[: options.examples]),
            # The samples that are asked afterwards choose no checkpoint.
            dev=tuple(drawn[options.examples :]),
            seed=options.seed,
            folder=Path(folder),
        )
        began = time.perf_counter()
        result = fit(job, progress=SilentProgress())
        seconds = time.perf_counter() - began
        for check in result.checks:
            if check.status != "ok":
                sys.stdout.write(f"  {check.status}: {check.name}: {check.detail}\n")
        engine = open_engine(_MODEL, progress=SilentProgress())
        right = _right(engine, result, asked)
        engine.close()
    losses = [point.value for point in result.log if point.name == "loss"]
    dev = [point.value for point in result.log if point.name == "dev_loss"]
    name = "ours" if recipe.backend is None else f"{TUNERS[recipe.backend].shown} {TUNERS[recipe.backend].version}"
    return Outcome(name, seconds, losses[0], losses[-1], min(dev), right, len(asked))


def _right(engine: LocalEngine, result: TuneResult, asked: Sequence[Sample]) -> int:
    """Return how many samples the tuned system answers exactly."""
    prompter = _PROMPT.bind(_TASK)
    engine.use(result.folder)
    right = 0.0
    for places, completions in engine.generate([prompter(sample) for sample in asked], Decoding(max_tokens=64)):
        for place, completion in zip(places, completions, strict=True):
            sample = replace(asked[place], expected=_TASK.read(asked[place].reference))
            answer = Answer(sample_id=sample.id, text=completion.text, value=_TASK.read(completion.text))
            right += ExactMatch().score(sample, answer)
    return round(right)


def _page(found: Sequence[Outcome], recipe: SFT, options: argparse.Namespace) -> str:
    text = _TEXT.read_text(encoding="utf-8")
    if not found:
        return text.replace("{{said}}", "Not measured yet.").replace("{{table}}", "| trainer |\n|---|")
    head = "| trainer | seconds | first loss | last loss | best dev loss | exact match on DEV, 95 % interval |"
    table = "\n".join([head, "|---|---|---|---|---|---|", *(outcome.row() for outcome in found)])
    said = (
        f"`{recipe.name}` on home commands with smollm2-135m-instruct: the same {options.examples} examples, batch "
        f"size, steps, rate and schedule, seed {options.seed}; {found[0].asked} DEV samples asked, which chose no "
        "checkpoint."
    )
    return text.replace("{{said}}", said).replace("{{table}}", table)


if __name__ == "__main__":
    sys.exit(main())
