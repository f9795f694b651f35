"""A course carried to its end: trained, the best weights saved, and what was saved checked against what was trained."""

import shutil
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from transformers import TrainerState

from harness.jobs import TuneResult
from harness.models import Model
from harness.protocols import Progress
from harness.recipes import QLoRA, Trained
from harness.tuning import checkpoints
from harness.tuning.begun import Begun, Course
from harness.tuning.ground import adapter_key
from harness.tuning.history import elapsed, last_tokens, log_points
from harness.tuning.making import making
from harness.tuning.probe import unlearned
from harness.tuning.watching import Gauge, Line, Pacer, Sealer, Watch
from harness.weights.adapted import collect, count_parameters
from harness.weights.hardware import describe, dtype_name

if TYPE_CHECKING:
    from harness.tuning.searching import Judge


def finish(
    begun: Begun, course: Course, recipe: Trained, model: Model, progress: Progress, judge: "Judge | None"
) -> TuneResult:
    """Train, save the best weights as `job.folder / "adapter"`, and check what was saved."""
    trainer, folder, made = course.trainer, begun.job.folder / "adapter", making(recipe)
    started = made.in_memory(trainer.model, course.rows)
    earlier = _earlier(begun)
    before = elapsed(earlier.log_history) if earlier else 0.0
    began = time.monotonic()
    state = train(begun, course, recipe, progress, judge)
    seconds = before + time.monotonic() - began
    best = _take_best(begun, course, state)
    trained, total = count_parameters(trainer.model)
    about: dict[str, str | int | None] = {
        "recipe": recipe.name,
        "makes": recipe.makes,
        "adapter": recipe.adapter.name,
        "adapter_key": adapter_key(recipe.adapter),
        "base": model.name,
        "step": best,
        "quantization": _quantization(recipe),
    }
    made.save(trainer.model, begun.tokenizer, folder, about=about, ground=begun.ground, base=model.source)
    environment = _environment(begun, course, recipe, state, best=best, seconds=seconds)
    outputs = made.in_memory(trainer.model, course.rows)
    free(trainer)
    found = made.probe(begun.ground, folder, recipe.adapter, begun.precision, course.rows, trained=outputs)
    for spent in (begun.checkpoints, begun.job.folder / "base"):
        shutil.rmtree(spent, ignore_errors=True)
    return TuneResult(
        folder=folder,
        log=log_points(state.log_history, course.logged),
        checks=(*course.checks, *course.later(), *begun.checks, *found, *unlearned(started, outputs)),
        tokens=last_tokens(state.log_history),
        trainable_parameters=trained,
        total_parameters=total,
        environment=environment,
        seconds_before=before,
    )


def train(begun: Begun, course: Course, recipe: Trained, progress: Progress, judge: "Judge | None") -> TrainerState:
    """Train to the end, and return the trainer's state with its whole log history."""
    trainer, resumed, earlier = course.trainer, begun.resumed, _earlier(begun)
    done = 0
    if earlier is not None and resumed is not None:
        if course.goal.out_of_patience(earlier.log_history, recipe.patience) or earlier.global_step >= course.steps:
            trainer._load_from_checkpoint(str(resumed))
            return earlier  # it was interrupted after its last step
        done = int(earlier.global_step)
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
    if judge is not None:
        trainer.add_callback(judge)
    trainer.add_callback(Gauge(begun.precision.device, before=elapsed(earlier.log_history) if earlier else 0.0))
    trainer.add_callback(Sealer(begun.checkpoints))
    with progress.meter(f"train {recipe.name}", total=course.steps, unit="steps", done=done) as meter:
        trainer.add_callback(Line(meter, course.goal))
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    return trainer.state


def _earlier(begun: Begun) -> TrainerState | None:
    """Return the state of the checkpoint that training goes on from, if it does."""
    return None if begun.resumed is None else TrainerState.load_from_json(str(begun.resumed / checkpoints.STATE))


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
        "peak_memory_bytes": max((entry.get("memory", 0) for entry in state.log_history), default=0) or None,
        **course.environment(),
    }


def _quantization(recipe: Trained) -> str | None:
    return recipe.adapter.quantization if isinstance(recipe.adapter, QLoRA) else None


def free(trainer: Any) -> None:
    """Drop the trained network before the probe loads the base again."""
    trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    trainer.callback_handler.model = trainer.callback_handler.optimizer = None
    collect()
