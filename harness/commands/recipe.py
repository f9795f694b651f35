"""`harness recipe export` and `import`: a recipe as another tuner's YAML, and back."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.adding import add_command
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.recipes import SFT
    from harness.recipes.exchange import Exported, Tool, Unmapped

_TOOLS = ("llamafactory", "axolotl", "unsloth")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "recipe",
        _recipe,
        "write a recipe as another tuner's YAML (export --to), or read one (import); what does not map is listed",
        "harness recipe export 'SFT(adapter=LoRA(rank=8), epochs=2)' --to axolotl",
    )
    parser.add_argument("action", choices=("export", "import"))
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="export: an experiment file, or an expression such as 'SFT(adapter=LoRA(rank=8))'; import: a YAML file",
    )
    parser.add_argument("--to", choices=_TOOLS, help="export: whose YAML is written")
    parser.add_argument("--from", choices=_TOOLS, dest="origin", help="import: whose YAML it is")
    parser.add_argument("--recipe", metavar="NAME", help="export: which one, where the experiment has several")
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
    sys.stdout.write(f"wrote {options.output}\n")
    return 0


def _exported(options: argparse.Namespace) -> str:
    from harness.recipes.exchange import TOOLS, write_recipe

    if options.to is None:
        raise HarnessError(f"whose YAML? give --to with one of {', '.join(_TOOLS)}")
    recipe, model = _read_source(options.source, options.recipe)
    tool = TOOLS[options.to]
    exported = tool.to_config(recipe)
    return _yaml(tool, exported, model, said=write_recipe(recipe))


def _read_source(source: str, name: str | None) -> "tuple[SFT, str | None]":
    """Return the recipe and, where an experiment file names it, the model's source."""
    from harness.recipes.exchange import parse_recipe

    if not source.endswith(".py"):
        return parse_recipe(source), None
    from harness.outlook import load_experiment
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
    from harness.recipes.exchange import TOOLS, recognise, write_recipe

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
