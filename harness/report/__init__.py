"""Stored evidence -> pages, an index, verdicts.json, summary.md. Nothing is scored here: stored rows are drawn."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from harness.report.brief import Summary, render_index, summarise, verdict_entry
from harness.report.page import render_page
from harness.report.write import PageSource, stored_entry, update_reports, write_reports

__all__ = [
    "PageSource",
    "Summary",
    "render_index",
    "render_page",
    "stored_entry",
    "summarise",
    "update_reports",
    "verdict_entry",
    "write_reports",
]


class _Report(ModuleType):
    """This package, which `harness.report(...)` calls: a package and a function of one name."""

    def __call__(
        self, experiment: str | None = None, *, store: str | Path = "reports/results.duckdb"
    ) -> tuple[Path, ...]:
        found: tuple[Path, ...] = import_module("harness.api").report(experiment, store=store)
        return found


sys.modules[__name__].__class__ = _Report
