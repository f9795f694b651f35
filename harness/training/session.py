"""A training run from its first step to a tuned system on disk: what every method has in common.

What a recipe makes, a policy or a reward model: how its network is made, saved, and compared with what was saved.

A course carried to its end: trained, the best weights saved, and what was saved checked against what was trained.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerState

from harness.errors import StageFailed
from harness.inference.models.adapters import collect, count_parameters, remarks
from harness.inference.models.loading import describe_hardware, dtype_name, load_tokenizer, no_bars
from harness.recipes import Trained
from harness.training.adapter_setup import accompany, fuse_lora, supplies_of
from harness.training.callbacks import (
    STATE,
    Begins,
    Gauge,
    Line,
    Pacer,
    Sealer,
    Watch,
    elapsed,
    last_tokens,
    log_points,
    recover,
)
from harness.training.config import (
    StartingPoint,
    TrainingContext,
    TrainingSession,
    choose_precision,
    seeded,
    steps_of,
    within_memory,
)
from harness.training.metric_eval import watched
from harness.training.network import (
    adapter_key,
    ground,
    in_memory,
    probe,
    save_trained,
    train_in_float32,
    trainable,
    unlearned,
)
from harness.training.rate_finder import RateCurve, range_test, remembered
from harness.training.reward_head import prove_scorer, save_scorer, scorer, scores_in_memory
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.protocols import Progress
from harness.types.samples import Check

if TYPE_CHECKING:
    from harness.training.search import Judge


@dataclass(frozen=True, slots=True)
class ModelSteps:
    """The steps in which a policy and a reward model differ; each is called as the policy's function is."""

    ground: Callable[..., StartingPoint]
    network: Callable[..., Any]
    save: Callable[..., None]
    in_memory: Callable[..., Sequence[torch.Tensor]]
    probe: Callable[..., tuple[Check, ...]]


_POLICY = ModelSteps(ground=ground, network=trainable, save=save_trained, in_memory=in_memory, probe=probe)
_REWARD = ModelSteps(
    ground=partial(ground, anew=True),
    network=scorer,
    save=save_scorer,
    in_memory=scores_in_memory,
    probe=prove_scorer,
)


def making(recipe: Trained) -> ModelSteps:
    """Return how what `recipe` makes is made."""
    return _REWARD if recipe.makes == "reward" else _POLICY


def finish(begun: TrainingContext, course: TrainingSession, progress: Progress, judge: "Judge | None") -> TuneResult:
    """Train, save the best weights as `job.folder / "adapter"`, and check what was saved."""
    recipe: Trained = begun.recipe
    trainer, made = course.trainer, making(recipe)
    started = made.in_memory(trainer.model, course.rows)
    earlier = _earlier(begun)
    before = elapsed(earlier.log_history) if earlier else 0.0
    began = time.monotonic()
    state = train(begun, course, progress, judge)
    seconds = before + time.monotonic() - began
    best = _take_best(begun, course, state)
    trained, total = count_parameters(trainer.model)
    about: dict[str, str | int | None] = {
        "recipe": recipe.name,
        "makes": recipe.makes,
        "adapter": recipe.adapter.name,
        "adapter_key": adapter_key(recipe.adapter),
        "base": begun.job.model.name,
        "step": best,
        "quantization": recipe.adapter.quantization,
    }
    made.save(trainer.model, begun, about=about)
    environment = _environment(begun, course, state, best=best, seconds=seconds)
    outputs = made.in_memory(trainer.model, course.rows)
    free(trainer)
    found = made.probe(begun, course.rows, trained=outputs)
    for spent in (begun.checkpoints, begun.job.folder / "base"):
        shutil.rmtree(spent, ignore_errors=True)
    return TuneResult(
        folder=begun.result,
        log=log_points(state.log_history, course.logged),
        checks=(*course.checks, *course.later(), *begun.checks, *found, *unlearned(started, outputs)),
        tokens=last_tokens(state.log_history),
        trainable_parameters=trained,
        total_parameters=total,
        environment=environment,
        seconds_before=before,
    )


def train(begun: TrainingContext, course: TrainingSession, progress: Progress, judge: "Judge | None") -> TrainerState:
    """Train to the end, and return the trainer's state with its whole log history."""
    recipe: Trained = begun.recipe
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


def _earlier(begun: TrainingContext) -> TrainerState | None:
    """Return the state of the checkpoint that training goes on from, if it does."""
    return None if begun.resumed is None else TrainerState.load_from_json(str(begun.resumed / STATE))


def _take_best(begun: TrainingContext, course: TrainingSession, state: TrainerState) -> int:
    """Load the weights of the best evaluation, and return their step; without evaluations the last are kept."""
    best = course.goal.best(state.log_history)
    if best is None:
        return int(state.global_step)
    course.trainer._load_from_checkpoint(str(begun.checkpoints / f"checkpoint-{best[0]}"))
    return best[0]


def _environment(
    begun: TrainingContext, course: TrainingSession, state: TrainerState, *, best: int, seconds: float
) -> Mapping[str, str | int | float | bool | None]:
    recipe: Trained = begun.recipe
    packages = ("trl", "peft", "accelerate", "bitsandbytes", "datasets")
    autocast = begun.precision.autocast
    return {
        **describe_hardware(begun.precision.device, begun.precision.weights),
        **{package: version(package) for package in packages},
        "autocast": None if autocast is None else dtype_name(autocast),
        "quantization": recipe.adapter.quantization,
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


def free(trainer: Any) -> None:
    """Drop the trained network before the probe loads the base again."""
    trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    trainer.callback_handler.model = trainer.callback_handler.optimizer = None
    collect()


__all__ = ["TrainingContext", "TrainingSession", "carry_out", "steps_of", "train_share"]


def carry_out(
    job: TuneJob, kind: type[Trained], prepare: Callable[[TrainingContext], TrainingSession], *, progress: Progress
) -> TuneResult:
    """Train `job.recipe`, a `kind`, as the course that `prepare` makes of what was begun.

    An interrupted run in `job.folder` goes on from its newest whole checkpoint, and ends with the weights of an
    undisturbed one. The result lies in `job.folder / "adapter"`; checkpoints are deleted then. What a recipe asks for
    besides is done on the way: a search over its fields, a learning rate to be found, a metric to be watched; where the
    memory does not hold a batch, training goes on with smaller parts of it.

    Raises:
        StageFailed: If nothing can be trained, or a value is not finite, or the loss diverges.
    """
    recipe, model = job.recipe, job.model
    if not isinstance(recipe, kind):
        raise StageFailed(f"{kind.trainer} trains {kind.__name__}, not {type(recipe).__name__}; name its own trainer")
    if not isinstance(model, Model):
        raise StageFailed(f"{model.name} is no local model, so its weights cannot be tuned; give a Model(...)")

    def once(one: TuneJob, judge: "Judge | None" = None) -> TuneResult:
        return within_memory(one, lambda fits: _once(fits, model, prepare, judge, progress), progress=progress)

    if not recipe.space:
        return once(job)
    from harness.training.search import search  # optuna takes a second to import, which only a search need pay

    return search(job, once, progress=progress)


def train_share(
    job: TuneJob,
    prepare: Callable[[TrainingContext], TrainingSession],
    *,
    split: Callable[[Any], None] | None,
    witness: Callable[[Any], None],
    progress: Progress,
) -> None:
    """Train as one of several processes up to the last checkpoint, from which `carry_out` goes on alone.

    Args:
        split: Divides the trainer's weights among the processes, if they are.
        witness: Looks at the trainer once training has begun.
    """
    recipe, model = job.recipe, job.model
    assert isinstance(recipe, Trained)
    assert isinstance(model, Model)
    with seeded(job.seed), no_bars():
        begun = _begin(job, recipe, model, progress)
        course = prepare(begun)
        if split is None:
            course = _ready(course)
        else:
            # A fused layer reads weights that are elsewhere now.
            course.trainer.remove_callback(PrinterCallback)
            train_in_float32(course.trainer.model)
            split(course.trainer)
        course = _accompanied(begun, course)
        course.trainer.add_callback(Begins(lambda: witness(course.trainer)))
        train(begun, course, progress, None)


def _once(
    job: TuneJob,
    model: Model,
    prepare: Callable[[TrainingContext], TrainingSession],
    judge: "Judge | None",
    progress: Progress,
) -> TuneResult:
    """Train one recipe, with the rate that a range test finds where it asks for one."""
    recipe = job.recipe
    assert isinstance(recipe, Trained)
    curve = None
    with seeded(job.seed), no_bars():
        if recipe.learning_rate == "find":
            curve = remembered(job.folder) or _tested(job, recipe, model, prepare, progress)
            recipe = replace(recipe, learning_rate=curve.suggested)
    with seeded(job.seed), no_bars():
        begun = _begin(replace(job, recipe=recipe), recipe, model, progress)
        course = _accompanied(begun, _ready(prepare(begun)))
        course = course if recipe.watch is None else watched(begun, course)
        begun = replace(begun, network=None)  # the trainer holds it, and gives it up before the checks
        if judge is not None:
            judge.goal = course.goal
        result = finish(begun, course, progress, judge)
    if curve is None:
        return result
    found = {**result.environment, "suggested_rate": curve.suggested}
    return replace(result, checks=(*result.checks, curve.check()), environment=found)


def _ready(course: TrainingSession) -> TrainingSession:
    course.trainer.remove_callback(PrinterCallback)  # it prints every logged step
    train_in_float32(course.trainer.model)
    fuse_lora(course.trainer.model)
    return course


def _accompanied(begun: TrainingContext, course: TrainingSession) -> TrainingSession:
    """Return `course` with what its adapter needs while training, and the checks on that."""
    checks, later = accompany(course.trainer, begun.recipe, begun.result)
    return replace(
        course,
        checks=(*course.checks, *checks),
        later=lambda: (*course.later(), *later()),
    )


def _tested(
    job: TuneJob,
    recipe: Trained,
    model: Model,
    prepare: Callable[[TrainingContext], TrainingSession],
    progress: Progress,
) -> RateCurve:
    """Return the curve of a range test, on a network and in a folder that are thrown away."""
    aside = job.folder / "range test"
    # The lowest rate of the range stands in for the one that is looked for.
    low = replace(recipe, learning_rate=recipe.rates[0], schedule="constant", warmup=0.0)
    begun = _begin(replace(job, recipe=low, folder=aside), low, model, progress)
    course = _ready(prepare(begun))
    curve = range_test(course.trainer, low, folder=job.folder)
    free(course.trainer)
    shutil.rmtree(aside, ignore_errors=True)
    progress.say(curve.check().detail)
    return curve


def _begin(job: TuneJob, recipe: Trained, model: Model, progress: Progress) -> TrainingContext:
    folder = job.folder / "checkpoints"
    found = recover(folder)
    for line in found.torn:
        progress.say(f"stepped over a torn checkpoint, {line}")
    begins = making(recipe).ground(job, model, recipe.adapter, progress=progress)
    precision = choose_precision(begins.model, recipe.adapter)
    tokenizer = load_tokenizer(begins.model, progress=progress)
    supplies = supplies_of(job, tokenizer)
    network = making(recipe).network(begins, recipe.adapter, precision, supplies=supplies, progress=progress)
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    return TrainingContext(
        job=job,
        recipe=recipe,
        ground=begins,
        precision=precision,
        tokenizer=tokenizer,
        network=network,
        longest=recipe.max_length or context,
        checkpoints=folder,
        resumed=found.usable,
        checks=(*_torn_check(found.torn), *remarks(network)),
    )


def _torn_check(torn: tuple[str, ...]) -> tuple[Check, ...]:
    if not torn:
        return ()
    detail = f"{len(torn)} torn checkpoint(s) of an interrupted run were stepped over and deleted"
    return (Check(name="checkpoints", status="warning", detail=detail, items=torn),)
