"""Recipes as the YAML of other tuners, and back: pure mappings that say what did not map."""

from harness.recipes.exchange.expression import parse_recipe, write_recipe
from harness.recipes.exchange.tools import TOOLS, Tool, recognise
from harness.recipes.exchange.translation import Exported, Imported, Unmapped

__all__ = ["TOOLS", "Exported", "Imported", "Tool", "Unmapped", "parse_recipe", "recognise", "write_recipe"]
