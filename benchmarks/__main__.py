"""`make bench`: the default model beside the reference packages in one run; writes docs/benchmarks.md."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from harness import FewShot, Model, Split
from harness.engine.local import open_engine
from harness.runner.progress import SilentProgress
from harness.samples import Decoding, Messages
from harness.weights.loading import load_model, load_tokenizer
from harness.weights.rendering import answer_ids, prompt_ids
from tasks.home_commands import HomeCommands
from tasks.icd10_codes import Icd10Codes

SAMPLES = int(os.environ.get("BENCH_SAMPLES", "8"))
REPEATS = int(os.environ.get("BENCH_REPEATS", "2"))
MANY = 5 * SAMPLES
SHOTS = 8
NEW_TOKENS = 48
MODEL = Model("smollm2-135m-instruct", dtype="float32")
PAGE = Path("docs/benchmarks.md")


@dataclass(frozen=True)
class Row:
    """One comparison: seconds of each repeat, ours and theirs, and what was checked to be equal."""

    work: str
    against: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    equal: str

    def __str__(self) -> str:
        ratios = sorted(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True))
        spread = f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
        cells = (self.work, self.against, f"{min(self.ours):.2g} s", f"{min(self.theirs):.2g} s", spread, self.equal)
        return f"| {' | '.join(cells)} |"


def main() -> int:
    """Measure, print, write the page."""
    rows = []
    for row in measure():
        rows.append(row)
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()
    PAGE.write_text(page(rows), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
    return 0


def measure() -> Iterator[Row]:
    task = HomeCommands(language="en")
    samples = task.samples(Split.DEV)[:SAMPLES]
    prompter = FewShot(shots=SHOTS).bind(task)
    prompts = [prompter(sample) for sample in samples]
    tokenizer, network = load_tokenizer(MODEL), load_model(MODEL)
    engine = open_engine(MODEL, progress=SilentProgress())
    reference = HFLM(pretrained=network, tokenizer=tokenizer, batch_size=8, device="cpu")
    pairs = [(prompt, sample.reference) for prompt, sample in zip(prompts, samples, strict=True)]
    yield likelihood_row("likelihood of the answer", engine, reference, tokenizer, pairs)
    for labels in (20, 77):
        yield choice_row(engine, reference, tokenizer, labels=labels)
    yield generation_row(engine, network, tokenizer, prompts)


def likelihood_row(work: str, engine: Any, reference: HFLM, tokenizer: Any, pairs: list[tuple[Messages, str]]) -> Row:
    ours, got = timed(lambda: weighed(engine, pairs))
    theirs, expected = timed(lambda: weighed_by_lm_eval(reference, tokenizer, pairs))
    worst = max(abs(a - b) for a, b in zip(got, expected, strict=True))
    return Row(
        f"{work}, {SHOTS} shots, {len(pairs)} samples",
        f"lm-eval {metadata.version('lm-eval')} HF backend",
        ours,
        theirs,
        f"log-likelihoods within {worst:.1e}",
    )


def choice_row(engine: Any, reference: HFLM, tokenizer: Any, *, labels: int) -> Row:
    """Return seconds a sample: theirs grow with every label and are measured on few samples, ours share the prefix
    and are measured on many."""
    task = Icd10Codes()
    choices = sorted({sample.reference for sample in task.samples(Split.TRAIN)})[:labels]
    prompter = FewShot(shots=SHOTS).bind(task)
    prompts = [prompter(sample) for sample in task.samples(Split.HOLDOUT)[:MANY]]
    pairs = [(prompt, choice) for prompt in prompts for choice in choices]
    few = max(1, SAMPLES // 4)
    ours, got = timed(lambda: weighed(engine, pairs))
    theirs, expected = timed(lambda: weighed_by_lm_eval(reference, tokenizer, pairs[: few * labels]))
    same = sum(
        best(got[start : start + labels]) == best(expected[start : start + labels])
        for start in range(0, len(expected), labels)
    )
    return Row(
        f"choice among {labels}, {SHOTS} shots, seconds a sample (ours of {len(prompts)}, theirs of {few})",
        f"lm-eval {metadata.version('lm-eval')} HF backend",
        tuple(seconds / len(prompts) for seconds in ours),
        tuple(seconds / few for seconds in theirs),
        f"same choice {same} of {few}",
    )


def generation_row(engine: Any, network: Any, tokenizer: Any, prompts: list[Messages]) -> Row:
    ours, got = timed(lambda: generated(engine, prompts))
    theirs, expected = timed(lambda: generated_by_transformers(network, tokenizer, prompts))
    same = sum(a == b for a, b in zip(got, expected, strict=True))
    return Row(
        f"generation, {SHOTS} shots, {len(prompts)} prompts, up to {NEW_TOKENS} new tokens",
        f"transformers {metadata.version('transformers')} generate, left-padded batch",
        ours,
        theirs,
        f"same text {same} of {len(prompts)}",
    )


def timed(work: Callable[[], list[Any]]) -> tuple[tuple[float, ...], list[Any]]:
    """Return the seconds of each repeat and the last result."""
    seconds = []
    result: list[Any] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return tuple(seconds), result


def weighed(engine: Any, pairs: list[tuple[Messages, str]]) -> list[float]:
    found: dict[int, float] = {}
    for places, likelihoods in engine.likelihoods(pairs):
        found |= {place: item.logprob for place, item in zip(places, likelihoods, strict=True)}
    return [found[place] for place in range(len(pairs))]


def weighed_by_lm_eval(reference: HFLM, tokenizer: Any, pairs: list[tuple[Messages, str]]) -> list[float]:
    rows = [
        (("", str(place)), prompt_ids(tokenizer, prompt), answer_ids(tokenizer, text, end=False))
        for place, (prompt, text) in enumerate(pairs)
    ]
    return [logprob for logprob, _ in reference._loglikelihood_tokens(rows, disable_tqdm=True)]


def generated(engine: Any, prompts: list[Messages]) -> list[str]:
    found: dict[int, str] = {}
    for places, completions in engine.generate(prompts, Decoding(max_tokens=NEW_TOKENS)):
        found |= {place: item.text for place, item in zip(places, completions, strict=True)}
    return [found[place] for place in range(len(prompts))]


def generated_by_transformers(network: Any, tokenizer: Any, prompts: list[Messages]) -> list[str]:
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt", padding_side="left")
    with torch.inference_mode():
        said = network.generate(**batch, max_new_tokens=NEW_TOKENS, do_sample=False)
    return [str(tokenizer.decode(row[batch["input_ids"].shape[1] :], skip_special_tokens=True)) for row in said]


def best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def page(rows: list[Row]) -> str:
    """Return docs/benchmarks.md."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "lm-eval"))
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} CPU cores, "
            f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {versions}, "
            "SmolLM2-135M in float32.",
            "Ours and theirs are measured in one process, one after the other; the ratio's spread is over "
            f"{REPEATS} repeats. Read the ratios; seconds are this machine's.",
            "",
            "| work | against | ours | theirs | times faster | equal |",
            "|---|---|---|---|---|---|",
            *[str(row) for row in rows],
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
