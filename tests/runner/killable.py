"""A run that waits for its parent at each step of progress, so that the parent can kill it where it wants.

python killable.py STORE scripted|MODEL_FOLDER
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from harness import SFT, ExactMatch, Experiment, LoRA, Model, Perplexity, Sample, Split
from harness.runner import context
from harness.runner.run import run_plan
from harness.store.store import Store


def declared(model: str) -> Experiment:
    """Return the experiment on the scripted engine, or on the real model in folder `model`."""
    lamps = _conftest()
    if model == "scripted":
        return lamps.lamps_experiment(metrics=[ExactMatch(), Perplexity()])
    rows = tuple(
        Sample(id=f"d{n}", input=f"{'lamp ' * (n % 7)}{(n + 1000) * 7919}", reference="red") for n in range(150)
    )
    task = lamps.Lamps(answer_tokens=8).with_rows(Split.DEV, rows)
    return lamps.lamps_experiment(
        task=task, model=Model(model, dtype="float32"), recipes=[SFT(adapter=LoRA(rank=4), epochs=1)]
    )


class Waiting:
    """Progress that names its stage at each advance, and goes on when a line comes in."""

    def say(self, line: str) -> None:
        """Nobody listens."""

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator["_Step"]:
        yield _Step(label)


class _Step:
    def __init__(self, label: str) -> None:
        self._label = label

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        print(self._label, flush=True)
        sys.stdin.readline()


def _conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lamps_conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    # Each batch is written when the next one comes, so that what is stored at a kill hangs on no clock.
    context._SECONDS_BETWEEN_WRITES, context._WRITES_APART = 0.0, 0
    run_plan(declared(sys.argv[2]), name="lamps", store=Store(Path(sys.argv[1])), progress=Waiting())
