"""`harness memory MODEL --recipe ...`: what a training run would take, beside what is free."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.adding import add_command

if TYPE_CHECKING:
    from harness.estimates.run import Estimate
    from harness.estimates.speed import Pace

_FITS_NOT = 1


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `memory` to the commands."""
    parser = add_command(
        commands,
        "memory",
        _memory,
        "estimate memory, disk and time of training before it starts; exit 1 where it does not fit",
        'harness memory smollm2-135m-instruct --recipe "SFT(adapter=LoRA(rank=16), batch_size=8, max_length=512)"',
    )
    parser.add_argument("model", help="as in Model(...), or the path of a config.json")
    parser.add_argument(
        "--recipe", default="lora", help="as in an experiment file, or a short name: full, lora, qlora, ... (lora)"
    )
    parser.add_argument("--all", action="store_true", help="a table of all adapters, in place of one recipe")
    parser.add_argument("--length", type=_count, default=512, metavar="TOKENS", help="of the longest row (512)")
    parser.add_argument("--answer", type=_count, default=64, metavar="TOKENS", help="of a row's answer (64)")
    parser.add_argument("--rows", type=_count, default=1000, help="training examples, for the time (1000)")
    parser.add_argument("--gpu", type=_size, metavar="GIB", help="ask about a GPU of this size, not about this machine")
    parser.add_argument("--quantize", choices=("nf4",), help='answer in 4 bits, as Model(..., quantize="nf4") does')


def _memory(options: argparse.Namespace) -> int:
    from harness.estimates.machine import gpu_of, this_machine
    from harness.estimates.reading import read_shape
    from harness.estimates.run import Work, estimates
    from harness.estimates.speed import Pace, measured_rate
    from harness.models import Model
    from harness.written_recipes import SHORT_NAMES, read_recipe

    shape = read_shape(Model(options.model))
    machine = this_machine(Path("reports")) if options.gpu is None else gpu_of(options.gpu)
    work = Work(rows=options.rows, length=options.length, answer=options.answer, quantize=options.quantize)
    pace = Pace(rate=measured_rate())
    recipes = [read_recipe(text) for text in (SHORT_NAMES if options.all else (options.recipe,))]
    found = [one for recipe in recipes for one in estimates(shape, recipe, machine, work, pace=pace)]
    _write(
        f"{Model(options.model).name}: {shape.parameters:,} parameters, {shape.layers} layers of width {shape.hidden}"
    )
    if options.all:
        _table(found, pace=pace)
    else:
        for one in found:
            _parts(one, pace=pace)
    return 0 if all(one.fits for one in found) else _FITS_NOT


def _parts(found: "Estimate", *, pace: "Pace") -> None:
    from harness.estimates.run import free_disk, gib, spoken, way_out

    recipe, memory, machine = found.recipe, found.memory, found.machine
    at_once = recipe.micro_batch_size or recipe.batch_size
    share = memory.trained / found.shape.parameters
    _write(f"\n{recipe.name}: {memory.trained:,} weights trained ({share:.2%})")
    shared = f", shared by {found.devices} devices as {getattr(recipe, 'sharing', '')}" if found.devices > 1 else ""
    _write(f"  {at_once} of {recipe.batch_size} examples at once, of {found.work.length} tokens{shared}\n")
    for part in memory.parts:
        _write(f"  {part.name:<24}{gib(part.bytes):>12}")
    _write(f"  {'total':<24}{gib(memory.total):>12}   within about 25 %")
    _write(f"  {'free':<24}{gib(machine.free):>12}   of {gib(machine.total)}, {found.where}")
    _write(f"  {'disk while it runs':<24}{gib(found.disk):>12}   {free_disk(machine)}; {gib(found.saved)} stay")
    _write(f"  {'time':<24}{spoken(found.duration):>12}   for {found.work.rows:,} rows, roughly\n")
    if found.fits:
        _write("fits")
        return
    if found.only_answering:
        _write(f"training fits, in {gib(found.memory.training)}; the model that answers afterwards does not:")
    else:
        _write("does not fit:")
    _write(f"  {way_out(found, pace=pace)}")


def _table(found: "list[Estimate]", *, pace: "Pace") -> None:
    from harness.estimates.run import fewest_at_once, free_disk, gib, spoken

    _write(f"\n{'recipe':<28}{'trained':>14}{'memory':>12}{'disk':>12}   {'time':<20}")
    for one in found:
        fits = "" if one.fits else f"   does not fit; {_at_once(fewest_at_once(one, pace=pace))}"
        _write(
            f"{one.recipe.name:<28}{one.memory.trained:>14,}{gib(one.memory.total):>12}{gib(one.disk):>12}   "
            f"{spoken(one.duration):<20}{fits}".rstrip()
        )
    machine, work, recipe = found[0].machine, found[0].work, found[0].recipe
    _write(f"\nfor {recipe.batch_size} rows at once of {work.length} tokens (--length)")
    _write(f"free: {gib(machine.free)} of memory ({machine.name}), disk: {free_disk(machine)}")


def _at_once(found: "Estimate") -> str:
    from harness.estimates.run import gib

    rows = found.recipe.micro_batch_size or found.recipe.batch_size
    return f"micro_batch_size={rows} {'takes' if found.fits else 'still takes'} {gib(found.memory.total)}"


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is none; give 1 or more")
    return number


def _size(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no size; give GiB, such as 24")
    return number


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
