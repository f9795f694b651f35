"""The estimate of a recipe's run: memory, disk and time beside what is free, and the smaller recipe that would fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.errors import InvalidExperiment
from harness.recipes import SFT, LoRA, QLoRA, Steps, Trained
from harness.recipes.yaml.mapping import write_recipe
from harness.resources.machine import GIB, Machine
from harness.resources.memory import Memory, Part, devices_of, recipe_memory
from harness.resources.time import Duration, TrainingPace, Work, duration_text
from harness.types.protocols import Recipe
from harness.types.shapes import ModelShape

# How far measured peaks were from their estimate at most (docs/memory.md).
DOUBT = 0.25
# Checkpoints on disk at once: the best, the last two, and one being written.
_CHECKPOINTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEstimate:
    """One recipe on one machine.

    Args:
        memory: Of one device where GPUs share the work, of all processes together on a CPU.
        disk: Bytes at most, while it runs.
        saved: Bytes that stay.
        devices: How many share the work.
    """

    recipe: Trained
    shape: ModelShape
    machine: Machine
    work: Work
    memory: Memory
    disk: int
    saved: int
    duration: Duration
    devices: int = 1

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice, as far as the estimate can be trusted."""
        return self.memory.total <= self.machine.free and self.disk_fits

    @property
    def disk_fits(self) -> bool:
        """Whether the disk suffices, as far as it is asked."""
        return self.machine.disk is None or self.disk <= self.machine.disk

    @property
    def only_answering(self) -> bool:
        """Whether training itself fits, and only the model that answers afterwards does not."""
        return self.memory.training <= self.machine.free and self.disk_fits and not self.fits

    @property
    def where(self) -> str:
        """What is asked, in words: this machine, or each of several devices."""
        each = self.devices > 1 and self.machine.kind == "gpu"
        return f"each of {self.devices} devices, {self.machine.name}" if each else self.machine.name

    @property
    def cannot_fit(self) -> bool:
        """Whether it would not fit even where the estimate is too high by all its doubt."""
        return self.memory.total / (1 + DOUBT) > self.machine.free or not self.disk_fits

    @property
    def sentence(self) -> str:
        """Say in a line what the run takes beside what is free."""
        where = f"{gib(self.machine.free)} of {gib(self.machine.total)} free ({self.where})"
        return (
            f"{self.recipe.name}: about {gib(self.memory.total)} of memory, {where}; {gib(self.disk)} of disk, "
            f"{free_disk(self.machine)}; {spoken(self.duration)}"
        )


def estimate_run(
    shape: ModelShape, recipe: Trained, machine: Machine, work: Work, *, pace: TrainingPace
) -> RunEstimate:
    """Return the estimate of one recipe. pace: how fast this machine computes."""
    length = min(filter(None, (work.length, recipe.max_length, shape.context)))
    work = replace(work, length=length, mean=min(length, work.mean or length))
    formats = machine.formats(recipe.adapter, length=length, quantize=work.quantize)
    memory = recipe_memory(shape, recipe, formats, length=length, answer=min(work.answer, length))
    devices = devices_of(recipe)
    if devices > 1 and machine.kind == "cpu":
        memory = _of_all(memory, devices)
    kept = memory.trained * 4
    return RunEstimate(
        recipe=recipe,
        shape=shape,
        machine=machine,
        work=work,
        memory=memory,
        disk=round(_CHECKPOINTS * memory.trained * (4 + 8) + kept),
        saved=kept,
        duration=duration_text(shape, recipe, machine, replace(work, length=length), pace=pace),
        devices=devices,
    )


def _of_all(memory: Memory, devices: int) -> Memory:
    """Return what all processes take together; the model that answers afterwards is one."""
    parts = tuple(Part(one.name, one.bytes * devices) for one in memory.parts if one.name != "serving afterwards")
    more = memory.answering - sum(one.bytes for one in parts)
    return replace(memory, parts=(*parts, *([Part("serving afterwards", more)] if more > 0 else [])))


def estimates(
    shape: ModelShape, recipe: Recipe, machine: Machine, work: Work, *, pace: TrainingPace
) -> tuple[RunEstimate, ...]:
    """Return the estimate of each step of a recipe; of a recipe that is not the harness's own there is none."""
    steps: Sequence[Recipe] = recipe.steps if isinstance(recipe, Steps) else (recipe,)
    return tuple(estimate_run(shape, one, machine, work, pace=pace) for one in steps if isinstance(one, Trained))


def smaller(found: RunEstimate, *, pace: TrainingPace) -> RunEstimate | None:
    """Return the recipe nearest to `found` that fits, None if none does.

    Tried in this order: fewer examples at once, which changes nothing that is learned; more that devices share; LoRA
    for full tuning; a base in 4 bits; each with as many examples at once as fit. Where nothing fits, all of it once
    more with a model that answers in 4 bits, which `work.quantize` of the result says.
    """
    for quantize in dict.fromkeys((found.work.quantize, "nf4")):
        for recipe in (found.recipe, *_shrinking(found.recipe)):
            tried = estimate_run(found.shape, recipe, found.machine, replace(found.work, quantize=quantize), pace=pace)
            if tried.fits:
                return tried
    return None


def fewest_at_once(found: RunEstimate, *, pace: TrainingPace) -> RunEstimate:
    """Return the same recipe with as many examples at once as fit, or with the fewest if none fits."""
    tried = found
    for recipe in _fewer_at_once(found.recipe):
        tried = estimate_run(found.shape, recipe, found.machine, found.work, pace=pace)
        if tried.fits:
            break
    return tried


def way_out(found: RunEstimate, *, pace: TrainingPace) -> str:
    """Return what would fit in place of `found`, or that nothing would and what the least takes."""
    if not found.disk_fits:
        return "no smaller batch makes room on the disk: free some, or train fewer weights"
    other = smaller(found, pace=pace)
    if other is None:
        least = fewest_at_once(replace(found, work=replace(found.work, quantize="nf4")), pace=pace)
        return (
            f"even {least.recipe.micro_batch_size or least.recipe.batch_size} at once, answered in 4 bits, takes "
            f"{gib(least.memory.total)}: take a smaller model, shorter rows, or a machine with more memory"
        )
    quantised = other.work.quantize is not None and found.work.quantize is None
    answering = ' with Model(..., quantize="nf4"), which answers in 4 bits' if quantised else ""
    if other.recipe == found.recipe:
        return f"it fits{answering}, in {gib(other.memory.total)}"
    return f"this would fit{answering}, in {gib(other.memory.total)}: {write_recipe(other.recipe)}"


def _shrinking(recipe: Trained) -> Iterator[Trained]:
    yield from _fewer_at_once(recipe)
    if isinstance(recipe, SFT) and recipe.devices > 1:
        for sharing in ("zero2", "zero3"):
            yield from _changed(recipe, strategy=sharing)
    if recipe.adapter.whole:
        yield from _changed(recipe, adapter=LoRA(), learning_rate=None)  # a rate goes with its adapter
    if recipe.adapter.quantization is None:
        alike = recipe.adapter.for_tuners
        quantised = QLoRA() if alike is None or not alike.rank else QLoRA(rank=alike.rank)
        yield from _changed(recipe, adapter=quantised, learning_rate=None)


def _changed(recipe: Trained, **fields: object) -> Iterator[Trained]:
    """Yield the recipe with other fields, then with fewer examples at once; nothing if it refuses them."""
    try:
        other = replace(recipe, **fields)  # type: ignore[arg-type]
    except InvalidExperiment:
        return
    yield other
    yield from _fewer_at_once(other)


def _fewer_at_once(recipe: Trained) -> Iterator[Trained]:
    now = recipe.micro_batch_size or recipe.batch_size
    for size in range(now - 1, devices_of(recipe) - 1, -1):
        if recipe.batch_size % size == 0:
            yield replace(recipe, micro_batch_size=size)


def free_disk(machine: Machine) -> str:
    """Return in words what the disk has free."""
    return "not asked about" if machine.disk is None else f"{gib(machine.disk)} free"


def gib(size: float) -> str:
    """Return bytes as a page shows them."""
    return f"{size / GIB:.1f} GiB" if size >= 0.1 * GIB else f"{size / 2**20:.0f} MiB"


def spoken(found: Duration) -> str:
    """Return a duration as a rough range."""
    return f"{_time(found.low)} to {_time(found.high)}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
