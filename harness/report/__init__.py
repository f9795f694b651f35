"""Stored evidence -> HTML pages, an index and verdicts.json. Nothing is scored here: the store's rows are drawn."""

from harness.report.files import verdict_entry, write_reports
from harness.report.index import Summary, render_index, summarise
from harness.report.page import render_page

__all__ = ["Summary", "render_index", "render_page", "summarise", "verdict_entry", "write_reports"]
