"""The files of a report: one page an experiment, the index, verdicts.json, summary.md."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StageFailed
from harness.report.brief import (
    Entry,
    Summary,
    render_index,
    render_summary,
    summarise,
    verdict_entry,
)
from harness.report.page import render_page
from harness.store.rows import Evidence
from harness.types.codec import from_json, to_json
from harness.types.files import write_whole

# What was drawn last, of which evidence and by which code: an experiment whose key is the same is not drawn again.
_DRAWN = ".drawn.json"


@dataclass(frozen=True)
class PageSource:
    """An experiment to draw.

    Attributes:
        name: Its name.
        key: Identifies all that its page shows.
        read: Returns its evidence; asked for and let go one experiment at a time, since 100,000 answers with their
            scores are about 500 MB.
    """

    name: str
    key: str
    read: Callable[[], Evidence | None]


@dataclass(frozen=True)
class _Drawn:
    """What the lists of all experiments take from one."""

    key: str
    summary: Summary
    entry: Entry


def write_reports(folder: Path, evidences: Iterable[Evidence]) -> list[Path]:
    """Write the pages, index.html, verdicts.json and summary.md into `folder`; return their paths.

    The folder is made if it is missing. Each file is replaced as a whole, so a reader never meets half a page.

    Raises:
        StageFailed: If a file cannot be written; what stood there stays.
    """
    written, drawn = [], {}
    for evidence in evidences:
        path, found = _draw(folder, evidence, key="")
        written.append(path)
        drawn[evidence.experiment.name] = found
    return [*written, *_write_lists(folder, list(drawn.values()))]


def update_reports(folder: Path, sources: Iterable[PageSource]) -> list[Path]:
    """Write the lists, and each page that is missing or was drawn from something else; return what was written."""
    code, written, drawn = _code_key(), [], {}
    before = _read_drawn(folder, code)
    for source in sources:
        found = before.get(source.name)
        if found is None or found.key != source.key or not (folder / found.summary.page).exists():
            evidence = source.read()
            if evidence is None:
                continue
            path, found = _draw(folder, evidence, key=source.key)
            written.append(path)
        drawn[source.name] = found
    written += _write_lists(folder, list(drawn.values()))
    kept = {name: {"key": one.key, "summary": to_json(one.summary), "entry": one.entry} for name, one in drawn.items()}
    _replace(folder / _DRAWN, json.dumps({"code": code, "experiments": kept}))
    return written


def stored_entry(folder: Path, experiment: str) -> Entry | None:
    """Return an experiment's entry in the verdicts.json of `folder`, or None if it has none."""
    try:
        entries: list[Entry] = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return next((entry for entry in entries if entry["experiment"] == experiment), None)


def _draw(folder: Path, evidence: Evidence, *, key: str) -> tuple[Path, _Drawn]:
    drawn = _Drawn(key, summarise(evidence), verdict_entry(evidence))
    return _replace(folder / drawn.summary.page, render_page(evidence)), drawn


def _write_lists(folder: Path, drawn: list[_Drawn]) -> list[Path]:
    entries = [one.entry for one in drawn]
    text = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return [
        _replace(folder / "index.html", render_index([one.summary for one in drawn])),
        _replace(folder / "verdicts.json", text),
        _replace(folder / "summary.md", render_summary(entries)),
    ]


def _read_drawn(folder: Path, code: str) -> dict[str, _Drawn]:
    """Return what was drawn by this very code; nothing if that cannot be told."""
    try:
        found: dict[str, Any] = json.loads((folder / _DRAWN).read_text(encoding="utf-8"))
        if found["code"] != code:
            return {}
        return {
            name: _Drawn(one["key"], from_json(Summary, one["summary"]), one["entry"])
            for name, one in found["experiments"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _code_key() -> str:
    """Identify the code that draws: every file of the package, by when it was written."""
    package = Path(__file__).parents[1]
    files = sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    facts = [(path.relative_to(package).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _replace(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise StageFailed(
            f"{path} cannot be written ({error.strerror or error}); everything measured is stored: make room or make "
            "the folder writable, then `harness report` draws it"
        ) from error
    return path
