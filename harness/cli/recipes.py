"""`harness memory MODEL --recipe ...`: what a training run would take, beside what is free.

`harness recipe export` and `import`: a recipe as another tuner's YAML, and back.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.options import add_command, say
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.recipes import SFT
    from harness.recipes.yaml import Exported, Tool, Unmapped
    from harness.resources.estimate import RunEstimate
    from harness.resources.time import TrainingPace


_FITS_NOT = 1


def add_memory(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `memory` to the commands."""
    parser = add_command(
        commands,
        "memory",
        _memory,
        "estimate memory, disk and time of training before it starts; exit 1 if it does not fit",
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
    from harness.recipes.parse import SHORT_NAMES, read_recipe
    from harness.resources.estimate import estimates
    from harness.resources.machine import gpu_of, this_machine
    from harness.resources.model_shape import read_shape
    from harness.resources.time import TrainingPace, Work, measured_rate
    from harness.types.models import Model

    shape = read_shape(Model(options.model))
    machine = this_machine(Path("reports")) if options.gpu is None else gpu_of(options.gpu)
    work = Work(rows=options.rows, length=options.length, answer=options.answer, quantize=options.quantize)
    pace = TrainingPace(rate=measured_rate())
    recipes = [read_recipe(text) for text in (SHORT_NAMES if options.all else (options.recipe,))]
    found = [one for recipe in recipes for one in estimates(shape, recipe, machine, work, pace=pace)]
    say(f"{Model(options.model).name}: {shape.parameters:,} parameters, {shape.layers} layers of width {shape.hidden}")
    if options.all:
        _table(found, pace=pace)
    else:
        for one in found:
            _parts(one, pace=pace)
    return 0 if all(one.fits for one in found) else _FITS_NOT


def _parts(found: "RunEstimate", *, pace: "TrainingPace") -> None:
    from harness.resources.estimate import free_disk, gib, spoken, way_out

    recipe, memory, machine = found.recipe, found.memory, found.machine
    at_once = recipe.micro_batch_size or recipe.batch_size
    share = memory.trained / found.shape.parameters
    say(f"\n{recipe.name}: {memory.trained:,} weights trained ({share:.2%})")
    shared = f", shared by {found.devices} devices as {getattr(recipe, 'sharing', '')}" if found.devices > 1 else ""
    say(f"  {at_once} of {recipe.batch_size} examples at once, of {found.work.length} tokens{shared}\n")
    for part in memory.parts:
        say(f"  {part.name:<24}{gib(part.bytes):>12}")
    say(f"  {'total':<24}{gib(memory.total):>12}   within about 25 %")
    say(f"  {'free':<24}{gib(machine.free):>12}   of {gib(machine.total)}, {found.where}")
    say(f"  {'disk while it runs':<24}{gib(found.disk):>12}   {free_disk(machine)}; {gib(found.saved)} stay")
    say(f"  {'time':<24}{spoken(found.duration):>12}   for {found.work.rows:,} rows, roughly\n")
    if found.fits:
        say("fits")
        return
    if found.only_answering:
        say(f"training fits, in {gib(found.memory.training)}; the model that answers afterwards does not:")
    else:
        say("does not fit:")
    say(f"  {way_out(found, pace=pace)}")


def _table(found: "list[RunEstimate]", *, pace: "TrainingPace") -> None:
    from harness.resources.estimate import fewest_at_once, free_disk, gib, spoken

    say(f"\n{'recipe':<28}{'trained':>14}{'memory':>12}{'disk':>12}   {'time':<20}")
    for one in found:
        fits = "" if one.fits else f"   does not fit; {_at_once(fewest_at_once(one, pace=pace))}"
        say(
            f"{one.recipe.name:<28}{one.memory.trained:>14,}{gib(one.memory.total):>12}{gib(one.disk):>12}   "
            f"{spoken(one.duration):<20}{fits}".rstrip()
        )
    machine, work, recipe = found[0].machine, found[0].work, found[0].recipe
    say(f"\nfor {recipe.batch_size} rows at once of {work.length} tokens (--length)")
    say(f"free: {gib(machine.free)} of memory ({machine.name}), disk: {free_disk(machine)}")


def _at_once(found: "RunEstimate") -> str:
    from harness.resources.estimate import gib

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


_TOOLS = ("llamafactory", "axolotl", "unsloth")


def add_recipe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "recipe",
        _recipe,
        "write a recipe as another tuner's YAML (export --to), or read one (import); what does not map is listed",
        "harness recipe export 'SFT(adapter=LoRA(rank=8), epochs=2)' --to axolotl",
    )
    parser.add_argument("action", choices=("export", "import"), help="write a recipe as YAML, or read one")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="export: an experiment file, or an expression such as 'SFT(adapter=LoRA(rank=8))'; import: a YAML file",
    )
    parser.add_argument("--to", choices=_TOOLS, help="export: whose YAML is written")
    parser.add_argument("--from", choices=_TOOLS, dest="origin", help="import: whose YAML it is")
    parser.add_argument("--recipe", metavar="NAME", help="export: which one, if the experiment has several")
    parser.add_argument("--output", type=Path, metavar="FILE", help="without it, the result is printed")


def _recipe(options: argparse.Namespace) -> int:
    text = _exported(options) if options.action == "export" else _imported(options)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{options.output} cannot be written: {error.strerror}; name another --output") from error
    say(f"wrote {options.output}")
    return 0


def _exported(options: argparse.Namespace) -> str:
    from harness.recipes.yaml import TOOLS, write_recipe

    if options.to is None:
        raise HarnessError(f"whose YAML? give --to with one of {', '.join(_TOOLS)}")
    recipe, model = _read_source(options.source, options.recipe)
    tool = TOOLS[options.to]
    exported = tool.to_config(recipe)
    return _yaml(tool, exported, model, said=write_recipe(recipe))


def _read_source(source: str, name: str | None) -> "tuple[SFT, str | None]":
    """Return the recipe and, if an experiment file names it, the model's source."""
    from harness.recipes.yaml import parse_recipe

    if not source.endswith(".py"):
        return parse_recipe(source), None
    from harness.api import load_experiment
    from harness.recipes import SFT

    experiment = load_experiment(Path(source))
    recipes = {recipe.name: recipe for recipe in experiment.recipes if isinstance(recipe, SFT)}
    if not recipes:
        raise HarnessError(f"{source} has no SFT recipe; only supervised recipes can be exported")
    if name is None and len(recipes) > 1:
        raise HarnessError(f"{source} has several recipes; choose one with --recipe: {', '.join(recipes)}")
    chosen = next(iter(recipes)) if name is None else name
    if chosen not in recipes:
        raise HarnessError(f"{source} has no recipe {chosen!r}; it has {', '.join(recipes)}")
    return recipes[chosen], str(getattr(experiment.model, "source", "")) or None


def _yaml(tool: "Tool", exported: "Exported", model: str | None, *, said: str) -> str:
    import yaml

    lines = [f"# {said}", f"# as settings of {tool.shown}; you have still to give:"]
    wanted = tool.data if model else {tool.model: "the model", **tool.data}
    lines += [f"#   {key}: {what}" for key, what in wanted.items()]
    lines += _unmapped_lines(exported.unmapped, "# did not map:", "#   ")
    config = ({tool.model: model} if model else {}) | exported.config
    written = str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    return "\n".join(lines) + "\n" + written


def _imported(options: argparse.Namespace) -> str:
    from harness.recipes.yaml import TOOLS, recognise, write_recipe

    config = _read_yaml(Path(options.source))
    tool = recognise(config) if options.origin is None else TOOLS[options.origin]
    imported = tool.from_config(config)
    lines = [f"# {options.source}: settings of {tool.shown}"]
    lines += _unmapped_lines(imported.unmapped, "# did not map:", "#   ")
    written = write_recipe(imported.recipe)
    names = sorted(set(re.findall(r"\b([A-Z]\w*)\(", written)))
    return "\n".join([*lines, f"from harness import {', '.join(names)}", "", written]) + "\n"


def _read_yaml(path: Path) -> dict[str, object]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}; name a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict):
        raise HarnessError(f"{path} holds no settings (key: value) but {type(config).__name__}; name a tuner's YAML")
    return {str(key): value for key, value in config.items()}


def _unmapped_lines(unmapped: "tuple[Unmapped, ...]", title: str, indent: str) -> list[str]:
    if not unmapped:
        return ["# everything mapped"]
    return [title, *(f"{indent}{one.key}: {one.why}" for one in unmapped)]
