"""The estimate of a recipe's run: memory, disk and time beside what is free, and the smaller recipe that would fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.estimates.machine import GIB, Machine
from harness.estimates.memory import Memory, recipe_memory
from harness.estimates.shape import Shape
from harness.estimates.speed import Duration, duration
from harness.protocols import Recipe
from harness.recipes import LoRA, QLoRA, Steps, Trained
from harness.recipes.adapters import Full

# How far measured peaks were from their estimate at most (docs/memory.md).
DOUBT = 0.25
# Checkpoints on disk at once: the best, the last two, and one being written.
_CHECKPOINTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is trained on. rows: examples. length: tokens of the longest. answer: learned tokens of a row.

    dev: examples of an evaluation, where the recipe does not ask for fewer.
    """

    rows: int
    length: int
    answer: int = 64
    dev: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One recipe on one machine. disk: bytes at most, while it runs. saved: bytes that stay."""

    recipe: Trained
    shape: Shape
    machine: Machine
    work: Work
    memory: Memory
    disk: int
    saved: int
    duration: Duration

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice, as far as the estimate can be trusted."""
        return self.memory.total <= self.machine.free and self.disk <= self.machine.disk

    @property
    def cannot_fit(self) -> bool:
        """Whether it would not fit even where the estimate is too high by all its doubt."""
        return self.memory.total / (1 + DOUBT) > self.machine.free or self.disk > self.machine.disk

    @property
    def sentence(self) -> str:
        """Say in a line what the run takes beside what is free."""
        where = f"{gib(self.machine.free)} of {gib(self.machine.total)} free ({self.machine.name})"
        return (
            f"{self.recipe.name}: about {gib(self.memory.total)} of memory, {where}; {gib(self.disk)} of disk, "
            f"{gib(self.machine.disk)} free; {spoken(self.duration)}"
        )


def estimate(shape: Shape, recipe: Trained, machine: Machine, work: Work, *, rate: float) -> Estimate:
    """Return the estimate of one recipe. rate: float32 operations a second of this CPU."""
    length = min(filter(None, (work.length, recipe.max_length, shape.context)))
    work = replace(work, length=length)
    formats = machine.formats(recipe.adapter, length=length)
    memory = recipe_memory(shape, recipe, formats, length=length, answer=min(work.answer, length))
    kept = memory.trained * 4
    return Estimate(
        recipe=recipe,
        shape=shape,
        machine=machine,
        work=work,
        memory=memory,
        disk=round(_CHECKPOINTS * memory.trained * (4 + 8) + kept),
        saved=kept,
        duration=duration(
            shape, recipe, machine, rows=work.rows, length=length, answer=work.answer, rate=rate, dev=work.dev
        ),
    )


def estimates(shape: Shape, recipe: Recipe, machine: Machine, work: Work, *, rate: float) -> tuple[Estimate, ...]:
    """Return the estimate of each step of a recipe; of a recipe that is not the harness's own there is none."""
    steps: Sequence[Recipe] = recipe.steps if isinstance(recipe, Steps) else (recipe,)
    return tuple(estimate(shape, one, machine, work, rate=rate) for one in steps if isinstance(one, Trained))


def smaller(found: Estimate, *, rate: float) -> Estimate | None:
    """Return the recipe nearest to `found` that fits, None where none does.

    Tried in this order: fewer examples at once, which changes nothing that is learned; LoRA for full tuning; a base
    in 4 bits; each with as many examples at once as fit.
    """
    for recipe in _shrinking(found.recipe):
        tried = estimate(found.shape, recipe, found.machine, found.work, rate=rate)
        if tried.fits:
            return tried
    return None


def _shrinking(recipe: Trained) -> Iterator[Trained]:
    yield from _fewer_at_once(recipe)
    if isinstance(recipe.adapter, Full):
        yield from _with_adapter(recipe, LoRA())
    if not isinstance(recipe.adapter, QLoRA):
        rank = recipe.adapter.rank if isinstance(recipe.adapter, LoRA) else 16
        yield from _with_adapter(recipe, QLoRA(rank=rank))


def _with_adapter(recipe: Trained, adapter: LoRA | QLoRA) -> Iterator[Trained]:
    other = replace(recipe, adapter=adapter, learning_rate=None)  # a rate goes with its adapter
    yield other
    yield from _fewer_at_once(other)


def _fewer_at_once(recipe: Trained) -> Iterator[Trained]:
    now = recipe.micro_batch_size or recipe.batch_size
    for size in range(now - 1, 0, -1):
        if recipe.batch_size % size == 0:
            yield replace(recipe, micro_batch_size=size)


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
