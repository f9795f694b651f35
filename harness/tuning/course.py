"""A training run from its first step to a tuned system on disk: what every method has in common."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.models import Model
from harness.protocols import Progress
from harness.recipes import Trained
from harness.samples import Check
from harness.tuning import checkpoints
from harness.tuning.allocation import within_memory
from harness.tuning.begun import Begun, Course, steps_of
from harness.tuning.companions import accompany
from harness.tuning.ending import finish, free, train
from harness.tuning.exam import watched
from harness.tuning.fused import fuse_lora
from harness.tuning.making import making
from harness.tuning.network import train_in_float32
from harness.tuning.precision import choose_precision, seeded
from harness.tuning.rate_finder import RateCurve, range_test, remembered
from harness.tuning.starts import supplies_of
from harness.tuning.watching import Begins
from harness.weights.adapted import remarks
from harness.weights.bars import no_bars
from harness.weights.loading import load_tokenizer

if TYPE_CHECKING:
    from harness.tuning.searching import Judge

__all__ = ["Begun", "Course", "carry_out", "steps_of", "train_share"]


def carry_out(
    job: TuneJob, kind: type[Trained], prepare: Callable[[Begun], Course], *, progress: Progress
) -> TuneResult:
    """Train `job.recipe`, a `kind`, as the course that `prepare` makes of what was begun.

    An interrupted run in `job.folder` goes on from its newest whole checkpoint, and ends with the weights of an
    undisturbed one. The result lies in `job.folder / "adapter"`; checkpoints are deleted then. What a recipe asks for
    besides is done on the way: a search over its fields, a learning rate to be found, a metric to be watched; where the
    memory does not hold a batch, training goes on with smaller parts of it.

    Raises StageFailed where nothing can be trained, or a value is not finite, or the loss diverges.
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
    from harness.tuning.searching import search  # optuna takes a second to import, which only a search need pay

    return search(job, once, progress=progress)


def train_share(
    job: TuneJob,
    prepare: Callable[[Begun], Course],
    *,
    split: Callable[[Any], None] | None,
    witness: Callable[[Any], None],
    progress: Progress,
) -> None:
    """Train as one of several processes up to the last checkpoint, from which `carry_out` goes on alone.

    split: divides the trainer's weights among the processes, where they are. witness: looks at the trainer once
    training has begun.
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
        train(begun, course, recipe, progress, None)


def _once(
    job: TuneJob, model: Model, prepare: Callable[[Begun], Course], judge: "Judge | None", progress: Progress
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
        course = watched(begun, _accompanied(begun, _ready(prepare(begun))), recipe)
        begun = replace(begun, network=None)  # the trainer holds it, and gives it up before the checks
        if judge is not None:
            judge.goal = course.goal
        result = finish(begun, course, recipe, model, progress, judge)
    if curve is None:
        return result
    found = {**result.environment, "suggested_rate": curve.suggested}
    return replace(result, checks=(*result.checks, curve.check()), environment=found)


def _ready(course: Course) -> Course:
    course.trainer.remove_callback(PrinterCallback)  # it prints every logged step
    train_in_float32(course.trainer.model)
    fuse_lora(course.trainer.model)
    return course


def _accompanied(begun: Begun, course: Course) -> Course:
    """Return `course` with what its adapter needs while training, and the checks on that."""
    company = accompany(course.trainer, begun.recipe, begun.job.folder / "adapter")
    return replace(
        course,
        checks=(*course.checks, *company.checks),
        later=lambda: (*course.later(), *company.later()),
    )


def _tested(
    job: TuneJob, recipe: Trained, model: Model, prepare: Callable[[Begun], Course], progress: Progress
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


def _begin(job: TuneJob, recipe: Trained, model: Model, progress: Progress) -> Begun:
    folder = job.folder / "checkpoints"
    found = checkpoints.recover(folder)
    for line in found.torn:
        progress.say(f"stepped over a torn checkpoint, {line}")
    begins = making(recipe).ground(job, model, recipe.adapter, progress=progress)
    precision = choose_precision(begins.model, recipe.adapter)
    tokenizer = load_tokenizer(begins.model, progress=progress)
    supplies = supplies_of(job, tokenizer)
    network = making(recipe).network(begins, recipe.adapter, precision, supplies=supplies, progress=progress)
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
        checks=(*_torn_check(found.torn), *remarks(network)),
    )


def _torn_check(torn: tuple[str, ...]) -> tuple[Check, ...]:
    if not torn:
        return ()
    detail = f"{len(torn)} torn checkpoint(s) of an interrupted run were stepped over and deleted"
    return (Check(name="checkpoints", status="warning", detail=detail, items=torn),)
