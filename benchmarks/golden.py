"""Write down all that the planted situations leave behind, to compare before and after a change that must change none.

Each situation is played in a folder of its own, under a clock of its own; what the calendar and the machine decide is
replaced in its store, the pages are drawn again from the store, and tables, pages and words go to OUT/<situation>/.
Two runs of the same code write the same bytes.
"""

import argparse
import filecmp
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from itertools import takewhile, zip_longest
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import duckdb

import harness
from benchmarks.situations import SCRIPTED
from benchmarks.situations.situation import Situation
from harness.verification.page import verify_page

_LEFT_OUT = {"twenty null candidates"}  # takes as long as all others together
_LISTS = ("index.html", "verdicts.json", "summary.md")
# JSON fields whose words the machine decides, wherever they stand.
_OF_THE_MACHINE = {"platform", "python", "versions", "harness"}
_METER = re.compile(r"(it/s|s/it)\]")  # a library's progress bar
_HERE = Path(__file__).parents[1]
_PORT = 47_301  # an endpoint's address is part of the keys of its stages


def main() -> int:
    """Return 1 if what was written differs from the folder that it is compared with."""
    options = _options()
    began = time.monotonic()
    wanted = options.only or {one.name for one in SCRIPTED} - _LEFT_OUT
    with _own_clock(), _own_port(), tempfile.TemporaryDirectory() as cache:
        os.environ["HARNESS_CACHE"] = cache
        for situation in (one for one in SCRIPTED if one.name in wanted):
            _write(situation, options.out.resolve() / re.sub(r"\W+", "-", situation.name))
    sys.stdout.write(f"wrote {options.out} in {time.monotonic() - began:.0f} s\n")
    if options.against is None:
        return 0
    differing = list(_differences(options.against, options.out, whole=not options.only))
    sys.stdout.write("\n".join(differing or [f"the same as {options.against}"]) + "\n")
    return 1 if differing else 0


@contextmanager
def _own_clock() -> Iterator[None]:
    """Let the package measure with a clock of each thread's own that goes on whenever it is looked at.

    By 1/1024 s, whose sums are exact. Everyone else keeps the true clock: a library that waits must see time pass.
    """
    here, kept = threading.local(), (time.monotonic, time.perf_counter)

    def clock(true: Callable[[], float]) -> Callable[[], float]:
        def now() -> float:
            if not str(sys._getframe(1).f_globals.get("__name__")).startswith(f"{harness.__name__}."):
                return true()
            here.looks = getattr(here, "looks", 0) + 1
            return float(here.looks) / 1024

        return now

    time.monotonic, time.perf_counter = map(clock, kept)
    try:
        yield
    finally:
        time.monotonic, time.perf_counter = kept


@contextmanager
def _own_port() -> Iterator[None]:
    """Give each server that takes any port the same one, as soon as it is free."""
    kept = TCPServer.server_bind

    def bind(server: TCPServer) -> None:
        server.server_address = (str(server.server_address[0]), _PORT)
        for attempt in range(60):
            try:
                return kept(server)
            except OSError:
                if attempt == 59:
                    raise
                time.sleep(1)
        raise AssertionError("unreachable")

    TCPServer.server_bind = bind  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        TCPServer.server_bind = kept  # type: ignore[method-assign]


def _write(situation: Situation, out: Path) -> None:
    """Play one situation and write what it left into `out`, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    # Played from inside: the path of a file of votes is part of the rule's key, and must be the same in each run.
    with tempfile.TemporaryDirectory() as made, chdir(made):
        folder, said = Path("played"), io.StringIO()
        folder.mkdir()
        with redirect_stdout(said), redirect_stderr(said):
            got = situation.play(folder)
        told = "".join(line for line in said.getvalue().splitlines(True) if not _METER.search(line))
        (out / "result.txt").write_text(_plain(f"{got.verdict}\n{got.reason}\n\n{told}", folder), "utf-8")
        store = folder / "results.duckdb"
        if store.exists():
            _freeze(store, folder)
            pages = [Path(path) for path in harness.report(store=store)]
            _dump_tables(store, out / "tables")
            for page in pages:
                shutil.copyfile(page, out / page.name)
            (out / "verify.txt").write_text(_plain(_verified(pages), folder), "utf-8")
        files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        kept = sorted(name for name in files if not name.endswith(".lock"))
        (out / "files.txt").write_text("\n".join(kept) + "\n", "utf-8")


def _verified(pages: list[Path]) -> str:
    return "\n".join(
        line for page in pages if page.name not in _LISTS for line in (page.name, *verify_page(page).lines(), "")
    )


def _plain(text: str, folder: Path) -> str:
    for path, word in ((folder.resolve(), "FOLDER"), (_HERE, "HERE"), (sys.prefix, "PYTHON")):
        text = text.replace(str(path), word)
    return text


def _freeze(store: Path, folder: Path) -> None:
    """Replace in the store what calendar and machine decide: pages drawn from it are the same in each run."""

    def as_json(text: str) -> str:
        value = json.loads(text)
        other = plain(value)
        return text if other == value else json.dumps(other, ensure_ascii=False)

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: "MACHINE" if key in _OF_THE_MACHINE else plain(one) for key, one in value.items()}
        if isinstance(value, list):
            return list(map(plain, value))
        return _plain(value, folder) if isinstance(value, str) else value

    with closing(duckdb.connect(str(store))) as connection:
        for table, names in _columns(connection).items():
            for name, kind in names.items():
                if kind == "TIMESTAMP":
                    _replace(connection, table, name, _an_hour_apart)
                elif kind == "VARCHAR":
                    _replace(connection, table, name, lambda texts: list(map(plain, texts)))
                elif kind == "JSON":
                    _replace(connection, table, name, lambda texts: list(map(as_json, texts)))


def _an_hour_apart(times: list[Any]) -> list[Any]:
    """Return times in the order of these: the latest decision stays the latest."""
    return [datetime(2000, 1, 1) + timedelta(hours=place) for place in range(len(times))]


def _replace(
    connection: duckdb.DuckDBPyConnection, table: str, name: str, instead: Callable[[list[Any]], list[Any]]
) -> None:
    """Put other values in the place of a column's distinct ones, which are given in order."""
    rows = connection.execute(f'SELECT DISTINCT "{name}" FROM "{table}" WHERE "{name}" IS NOT NULL ORDER BY 1')  # noqa: S608
    values = [row[0] for row in rows.fetchall()]
    for value, other in zip(values, instead(values), strict=True):
        if value != other:
            connection.execute(f'UPDATE "{table}" SET "{name}" = ? WHERE "{name}" = ?', [other, value])  # noqa: S608


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return the type of each column of each table."""
    found: dict[str, dict[str, str]] = {}
    query = (
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal "
        "AND table_name IN (SELECT table_name FROM duckdb_tables()) ORDER BY ALL"
    )
    for table, name, kind in connection.execute(query).fetchall():
        found.setdefault(table, {})[name] = kind
    return found


def _dump_tables(store: Path, out: Path) -> None:
    """Write each table as JSON lines in the order of their text: rows have no order of their own."""
    out.mkdir()
    with closing(duckdb.connect(str(store), read_only=True)) as connection:
        for table in _columns(connection):
            found = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            names = [column[0] for column in found.description]
            lines = [
                json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str)
                for row in found.fetchall()
            ]
            (out / f"{table}.jsonl").write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")


def _differences(before: Path, after: Path, *, whole: bool) -> Iterator[str]:
    """Yield each file that is not the same in both folders, with the first line that differs."""
    trees = [{path.relative_to(top) for path in top.rglob("*") if path.is_file()} for top in (before, after)]
    played = {path.parts[0] for path in trees[1]}
    for path in sorted(trees[0] | trees[1]):
        if not whole and path.parts[0] not in played:
            continue
        if path not in trees[0] or path not in trees[1]:
            yield f"{path}: only in {before if path in trees[0] else after}"
        elif not filecmp.cmp(before / path, after / path, shallow=False):
            yield f"{path}:\n{_first_difference(before / path, after / path)}"


def _first_difference(before: Path, after: Path, *, around: int = 160) -> str:
    texts = (path.read_text(encoding="utf-8").splitlines() for path in (before, after))
    for number, (was, now) in enumerate(zip_longest(*texts, fillvalue="(no line)"), start=1):
        if was != now:
            alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(was, now, strict=False)))
            start = max(0, alike - around // 2)
            return f"  line {number}\n  - {was[start : start + around]}\n  + {now[start : start + around]}"
    return "  other line ends"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.golden",
        description=__doc__,
        epilog="example: python -m benchmarks.golden /tmp/after --against /tmp/before",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="where to write; a situation's own folder is replaced")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[one.name for one in SCRIPTED], help="play these")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="what an earlier run wrote, to compare with")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
