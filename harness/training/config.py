"""Training that goes on where the memory does not hold a micro-batch: half of it at once, twice as often.

In which number formats a run computes, and its seeds.

The settings that every trainer of transformers and TRL shares, as a recipe declares them.

What a training run is made of before it starts: what was begun, and the course that a method makes of it.
"""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from harness.errors import StageFailed
from harness.inference.models.adapters import collect
from harness.inference.models.loading import choose_device, choose_dtype, is_out_of_memory
from harness.recipes import Trained
from harness.recipes.adapters import Adapter
from harness.training.callbacks import CheckpointGoal
from harness.training.rows import TokenizedRow
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.protocols import Progress
from harness.types.samples import Check

_REMEMBERED = "micro_batch.json"


def within_memory(job: TuneJob, train: Callable[[TuneJob], TuneResult], *, progress: Progress) -> TuneResult:
    """Return `train(job)`; each time the memory is exhausted it is called again with half the examples in memory.

    The effective batch stays as declared. Training goes on from the last checkpoint in `job.folder`, which also
    remembers the size that fitted, so that a resumed run does not meet the same wall.

    Raises:
        StageFailed: If one example alone does not fit.
    """
    recipe = job.recipe
    assert isinstance(recipe, Trained)
    declared = recipe.micro_batch_size or recipe.batch_size
    micro = _remembered(job.folder, declared)
    while True:
        try:
            now = recipe if micro == declared else replace(recipe, micro_batch_size=micro)
            result = train(replace(job, recipe=now))
            break
        except RuntimeError as error:
            smaller = _half(recipe, micro, error)
        # Outside the handler, so that what the failed step held is freed before the next begins.
        collect()
        progress.say(f"{micro} examples at once do not fit the memory: going on with {smaller}, as many a step")
        micro = smaller
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / _REMEMBERED).write_text(json.dumps({"micro_batch_size": micro}), encoding="utf-8")
    (job.folder / _REMEMBERED).unlink(missing_ok=True)
    return result if micro == declared else _told(result, recipe, declared=declared, micro=micro)


def _half(recipe: Trained, micro: int, error: RuntimeError) -> int:
    """Return the next smaller micro-batch; the error goes on if it is another one, or nothing is smaller."""
    if not is_out_of_memory(error):
        raise error
    if micro == 1:
        raise StageFailed(
            f"one example alone does not fit the memory ({str(error).splitlines()[0]}); lower max_length (now "
            f"{recipe.max_length or 'the context'}), or train fewer weights: adapter=LoRA(), or QLoRA() for a base "
            "in 4 bits"
        ) from error
    return next(size for size in range(micro // 2, 0, -1) if recipe.batch_size % size == 0)


def _told(result: TuneResult, recipe: Trained, *, declared: int, micro: int) -> TuneResult:
    detail = (
        f"{declared} examples at once did not fit the memory; trained {micro} at a time, "
        f"{recipe.batch_size // micro} times a step: the batch is {recipe.batch_size} as declared"
    )
    return replace(
        result,
        checks=(*result.checks, Check(name="memory", status="warning", detail=detail)),
        environment={**result.environment, "micro_batch_size": micro, "micro_batch_declared": declared},
    )


def _remembered(folder: Path, declared: int) -> int:
    try:
        return min(declared, int(json.loads((folder / _REMEMBERED).read_text(encoding="utf-8"))["micro_batch_size"]))
    except (OSError, ValueError, KeyError):
        return declared


@dataclass(frozen=True, slots=True)
class Precision:
    """device: where it computes. weights: dtype of the base; trained weights are float32 whatever it is.

    Args:
        autocast: Dtype of the matrix products, None if all is float32.
    """

    device: torch.device
    weights: torch.dtype
    autocast: torch.dtype | None

    def computing(self) -> AbstractContextManager[object]:
        """Return the context in which a network computes in these formats."""
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)


def choose_precision(model: Model, adapter: Adapter) -> Precision:
    """Return the formats of a run: bfloat16 products where the machine has them.

    A frozen base is held in the dtype that is served, which is also the fastest (docs/log.md). Weights that are
    trained stay float32: an update below 1/256 of a bfloat16 weight is rounded away. float16 has too narrow a range
    to train in without loss scaling, so a float16 model trains in float32.
    """
    device = choose_device(model.device)
    wanted = choose_dtype(model.dtype, device)
    if wanted is not torch.bfloat16:
        return Precision(device, torch.float32, None)
    return Precision(device, torch.float32 if adapter.whole else torch.bfloat16, torch.bfloat16)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch, and give back the caller's random states at the end."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        set_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class Unpublished:
    """Beside a trainer: a checkpoint is no publication."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write no card."""

    def _send_telemetry(self) -> None:
        """Send nothing anywhere."""


_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
_BY_LOSS = CheckpointGoal()


def shared_settings(
    begun: "TrainingContext", *, steps: int, every: int | None = None, goal: CheckpointGoal = _BY_LOSS
) -> dict[str, Any]:
    """Return keyword arguments of transformers' TrainingArguments and of each of TRL's configs.

    Args:
        begun: What the trainer is made from.
        steps: Updates of the whole run.
        every: Steps between evaluations and checkpoints; None is the recipe's, or a tenth of the run.
        goal: What chooses a checkpoint.
    """
    recipe: Trained = begun.recipe
    micro = recipe.micro_batch_size or recipe.batch_size
    return {
        "output_dir": str(begun.checkpoints),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": recipe.batch_size // micro,
        "learning_rate": recipe.rate,
        "lr_scheduler_type": _SCHEDULES[recipe.schedule],
        "warmup_steps": round(recipe.warmup * steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": "adamw_torch_fused",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would replace a NaN by the mean of earlier losses
        "eval_strategy": "no",  # the pacer callback asks for evaluations, also at the last step
        "save_strategy": "steps",
        "save_steps": every or recipe.evaluate_every or math.ceil(steps / 10),
        "save_total_limit": 3,  # the best one and the last two
        "metric_for_best_model": goal.key,
        "greater_is_better": goal.higher,
        "seed": begun.job.seed,
        "data_seed": begun.job.seed,
        "use_cpu": begun.precision.device.type == "cpu",
        "bf16": False,  # a CPU run raises on TRL's default; autocast is opened where the method computes
        "gradient_checkpointing": False,  # TRL's default breaks prefix tuning and costs time on small models
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": begun.precision.device.type == "cuda",
        "report_to": "none",
        "disable_tqdm": True,
    }


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """model: the base of this run. adapter: folder of an earlier step's adapter that goes on being trained.

    Args:
        moved: The base holds what earlier steps learned, so that only a whole model can be served.
    """

    model: Model
    adapter: Path | None = None
    moved: bool = False


@dataclass(frozen=True)
class TrainingContext:
    """What a method's trainer is made from. checkpoints: folder of them. resumed: the one that training goes on from.

    Args:
        longest: Most tokens of a row.
    """

    job: TuneJob
    recipe: Any
    ground: StartingPoint
    precision: Precision
    tokenizer: Any
    network: Any
    longest: int | None
    checkpoints: Path
    resumed: Path | None
    checks: tuple[Check, ...]

    @property
    def result(self) -> Path:
        """The folder of the tuned system."""
        return self.job.folder / "adapter"

    @property
    def source(self) -> str:
        """The name that an adapter gives its base model."""
        assert isinstance(self.job.model, Model)
        return self.job.model.source


@dataclass(frozen=True)
class TrainingSession:
    """A trainer that is ready to go, and how it is to be watched.

    Args:
        rows: Training rows on which base, trained and saved system are compared.
        evaluates: Whether there is anything to evaluate on.
        goal: What chooses the checkpoint.
        likelihood: The loss is a mean over tokens of a log-likelihood, so that its size tells when training
            diverges.
        logged: What the method logs besides, trainer's key -> name.
        environment: What the stage's record says besides.
        later: Checks that only the end of training can make.
    """

    trainer: Any
    rows: list[TokenizedRow]
    steps: int
    evaluates: bool
    checks: tuple[Check, ...] = ()
    goal: CheckpointGoal = field(default_factory=CheckpointGoal)
    likelihood: bool = True
    logged: Mapping[str, str] = field(default_factory=dict)
    environment: Callable[[], Mapping[str, str | int | float | bool | None]] = dict
    later: Callable[[], tuple[Check, ...]] = tuple


def steps_of(recipe: Trained, rows: int) -> int:
    """Return how many updates the whole run has, as the trainer counts them."""
    micro = recipe.micro_batch_size or recipe.batch_size
    updates = math.ceil(math.ceil(rows / micro) / (recipe.batch_size // micro))
    return math.ceil(recipe.epochs * updates)
