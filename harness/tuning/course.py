"""A training run from its first step to a tuned system on disk: what every method has in common."""

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerState

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.models import Model
from harness.protocols import Progress
from harness.recipes import QLoRA, Trained
from harness.samples import Check
from harness.tuning import checkpoints
from harness.tuning.fused import fuse_lora
from harness.tuning.ground import Ground, adapter_key, ground
from harness.tuning.history import Goal, last_tokens, log_points
from harness.tuning.network import save, train_in_float32, trainable
from harness.tuning.precision import Precision, choose_precision, seeded
from harness.tuning.probe import in_memory, probe
from harness.tuning.rows import Row
from harness.tuning.watching import Line, Pacer, Sealer, Watch
from harness.weights.adapted import collect, count_parameters
from harness.weights.bars import no_bars
from harness.weights.hardware import describe, dtype_name
from harness.weights.loading import load_tokenizer


@dataclass(frozen=True)
class Begun:
    """What a method's trainer is made from. checkpoints: folder of them. resumed: the one that training goes on from.

    longest: most tokens of a row.
    """

    job: TuneJob
    recipe: Any
    ground: Ground
    precision: Precision
    tokenizer: Any
    network: Any
    longest: int | None
    checkpoints: Path
    resumed: Path | None
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Course:
    """A trainer that is ready to go, and how it is to be watched.

    rows: training rows on which base, trained and saved system are compared. evaluates: whether there is anything to
    evaluate on. goal: what chooses the checkpoint. likelihood: the loss is a mean over tokens of a log-likelihood, so
    that its size tells when training diverges. logged: what the method logs besides, trainer's key -> name.
    environment: what the stage's record says besides. later: checks that only the end of training can make.
    """

    trainer: Any
    rows: list[Row]
    steps: int
    evaluates: bool
    checks: tuple[Check, ...] = ()
    goal: Goal = field(default_factory=Goal)
    likelihood: bool = True
    logged: Mapping[str, str] = field(default_factory=dict)
    environment: Callable[[], Mapping[str, str | int | float | bool | None]] = dict
    later: Callable[[], tuple[Check, ...]] = tuple


def carry_out(
    job: TuneJob, kind: type[Trained], prepare: Callable[[Begun], Course], *, progress: Progress
) -> TuneResult:
    """Train `job.recipe`, a `kind`, as the course that `prepare` makes of what was begun.

    An interrupted run in `job.folder` goes on from its newest whole checkpoint, and ends with the weights of an
    undisturbed one. The result lies in `job.folder / "adapter"`; checkpoints are deleted then.

    Raises StageFailed where nothing can be trained, or a value is not finite, or the loss diverges.
    """
    recipe, model = job.recipe, job.model
    if not isinstance(recipe, kind):
        raise StageFailed(f"{kind.trainer} trains {kind.__name__}, not {type(recipe).__name__}; name its own trainer")
    if not isinstance(model, Model):
        raise StageFailed(f"{model.name} is no local model, so its weights cannot be tuned; give a Model(...)")
    with seeded(job.seed), no_bars():
        begun = _begin(job, recipe, model, progress)
        course = prepare(begun)
        course.trainer.remove_callback(PrinterCallback)  # it prints every logged step
        train_in_float32(course.trainer.model)
        fuse_lora(course.trainer.model)
        return _finish(begun, course, recipe, model, progress)


def steps_of(recipe: Trained, rows: int) -> int:
    """Return how many updates the whole run has, as the trainer counts them."""
    micro = recipe.micro_batch_size or recipe.batch_size
    updates = math.ceil(math.ceil(rows / micro) / (recipe.batch_size // micro))
    return math.ceil(recipe.epochs * updates)


def _begin(job: TuneJob, recipe: Trained, model: Model, progress: Progress) -> Begun:
    folder = job.folder / "checkpoints"
    found = checkpoints.recover(folder)
    for line in found.torn:
        progress.say(f"stepped over a torn checkpoint, {line}")
    begins = ground(job, model, recipe.adapter, progress=progress)
    precision = choose_precision(begins.model, recipe.adapter)
    tokenizer = load_tokenizer(begins.model, progress=progress)
    network = trainable(begins, recipe.adapter, precision, progress=progress)
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    return Begun(
        job=job,
        recipe=recipe,
        ground=begins,
        precision=precision,
        tokenizer=tokenizer,
        network=network,
        longest=recipe.max_length or context,
        checkpoints=folder,
        resumed=found.usable,
        checks=_torn_check(found.torn),
    )


def _finish(begun: Begun, course: Course, recipe: Trained, model: Model, progress: Progress) -> TuneResult:
    trainer, folder = course.trainer, begun.job.folder / "adapter"
    began = time.monotonic()
    state = _train(begun, course, recipe, progress)
    seconds = time.monotonic() - began
    best = _take_best(begun, course, state)
    trained, total = count_parameters(trainer.model)
    about: dict[str, str | int | None] = {
        "recipe": recipe.name,
        "adapter": recipe.adapter.name,
        "adapter_key": adapter_key(recipe.adapter),
        "base": model.name,
        "step": best,
        "quantization": _quantization(recipe),
    }
    save(trainer.model, begun.tokenizer, folder, about=about, ground=begun.ground, base=model.source)
    environment = _environment(begun, course, recipe, state, best=best, seconds=seconds)
    logits = in_memory(trainer.model, course.rows)
    _free(trainer)
    found = probe(begun.ground, folder, recipe.adapter, begun.precision, course.rows, trained=logits)
    for spent in (begun.checkpoints, begun.job.folder / "base"):
        shutil.rmtree(spent, ignore_errors=True)
    return TuneResult(
        folder=folder,
        log=log_points(state.log_history, course.logged),
        checks=(*course.checks, *course.later(), *begun.checks, *found),
        tokens=last_tokens(state.log_history),
        trainable_parameters=trained,
        total_parameters=total,
        environment=environment,
    )


def _torn_check(torn: tuple[str, ...]) -> tuple[Check, ...]:
    if not torn:
        return ()
    detail = f"{len(torn)} torn checkpoint(s) of an interrupted run were stepped over and deleted"
    return (Check(name="checkpoints", status="warning", detail=detail, items=torn),)


def _train(begun: Begun, course: Course, recipe: Trained, progress: Progress) -> TrainerState:
    """Train to the end, and return the trainer's state with its whole log history."""
    trainer, resumed = course.trainer, begun.resumed
    done = 0
    if resumed is not None:
        state = TrainerState.load_from_json(str(resumed / checkpoints.STATE))
        if course.goal.out_of_patience(state.log_history, recipe.patience):
            return state  # it was interrupted after its last evaluation
        done = int(state.global_step)
        progress.say(f"going on from {resumed.name} of {course.steps}")
    vocabulary = int(trainer.model.config.get_text_config().vocab_size)
    trainer.add_callback(
        Watch(
            folder=begun.checkpoints,
            vocabulary=vocabulary,
            learning_rate=recipe.rate,
            likelihood=course.likelihood,
        )
    )
    if course.evaluates:
        trainer.add_callback(Pacer(every=int(trainer.args.save_steps), patience=recipe.patience, goal=course.goal))
    trainer.add_callback(Sealer(begun.checkpoints))
    with progress.meter(f"train {recipe.name}", total=course.steps, unit="steps", done=done) as meter:
        trainer.add_callback(Line(meter))
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    return trainer.state


def _take_best(begun: Begun, course: Course, state: TrainerState) -> int:
    """Load the weights of the best evaluation, and return their step; without evaluations the last are kept."""
    best = course.goal.best(state.log_history)
    if best is None:
        return int(state.global_step)
    course.trainer._load_from_checkpoint(str(begun.checkpoints / f"checkpoint-{best[0]}"))
    return best[0]


def _environment(
    begun: Begun, course: Course, recipe: Trained, state: TrainerState, *, best: int, seconds: float
) -> Mapping[str, str | int | float | bool | None]:
    packages = ("trl", "peft", "accelerate", "bitsandbytes", "datasets")
    autocast = begun.precision.autocast
    return {
        **describe(begun.precision.device, begun.precision.weights),
        **{package: version(package) for package in packages},
        "autocast": None if autocast is None else dtype_name(autocast),
        "quantization": _quantization(recipe),
        "learning_rate": recipe.rate,
        "steps": int(state.global_step),
        "steps_planned": course.steps,
        "best_step": best,
        "stopped_early": state.global_step < course.steps,
        "resumed_from": None if begun.resumed is None else begun.resumed.name,
        "training_seconds": round(seconds, 2),
        **course.environment(),
    }


def _quantization(recipe: Trained) -> str | None:
    return recipe.adapter.quantization if isinstance(recipe.adapter, QLoRA) else None


def _free(trainer: Any) -> None:
    """Drop the trained network before the probe loads the base again."""
    trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    trainer.callback_handler.model = trainer.callback_handler.optimizer = None
    collect()
