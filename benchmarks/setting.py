"""What the sections share: the default model, its prompts, the reference packages' names."""

import os
from functools import cache
from importlib import metadata
from typing import Any

from lm_eval.models.huggingface import HFLM

from harness import FewShot, Model, Split
from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.models.loading import load_model, load_tokenizer
from harness.runner.context import SilentProgress
from harness.types.samples import Messages
from tasks.home_commands import HomeCommands

# How many samples ours computes; theirs computes as many as it can in like time, and seconds a sample are compared.
SAMPLES = int(os.environ.get("BENCH_SAMPLES", "200"))
SHOTS = 8
MODEL = Model("smollm2-135m-instruct", dtype="float32")


def version(package: str) -> str:
    return f"{package} {metadata.version(package)}"


@cache
def engine() -> LocalEngine:
    return open_engine(MODEL, progress=SilentProgress())


@cache
def tokenizer() -> Any:
    return load_tokenizer(MODEL)


@cache
def network() -> Any:
    """Return the plain transformers model that the reference packages compute with."""
    return load_model(MODEL)


def lm_eval(batch_size: int) -> HFLM:
    return HFLM(pretrained=network(), tokenizer=tokenizer(), batch_size=batch_size, device="cpu")


def home_prompts(count: int, *, shots: int = SHOTS) -> list[Messages]:
    task = HomeCommands(language="en")
    prompter = FewShot(shots=shots).bind(task)
    return [prompter(sample) for sample in task.samples(Split.HOLDOUT)[:count]]
