"""Recipes as the YAML of other tuners, and back: pure mappings that say what did not map."""

from harness.recipes.yaml.mapping import Exported, Imported, Unmapped, parse_recipe, write_recipe
from harness.recipes.yaml.tools import TOOLS, Tool, recognise

__all__ = ["TOOLS", "Exported", "Imported", "Tool", "Unmapped", "parse_recipe", "recognise", "write_recipe"]
