"""Stores, pages and experiment files of earlier commits: still read, verified, drawn again and resumed."""

import gzip
import importlib.util
import re
import runpy
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

import harness
from harness import Experiment
from harness.cli.__main__ import main
from harness.inference.scripted import Scripted
from harness.types.dotted_paths import resolve

pytestmark = pytest.mark.whole  # loads a model, plays whole runs

COPIES = Path(__file__).parents[1] / "stored_copies"
LAST, EARLIER = "66fa4ea", "9e72a92"
NAMES = ("lights", "tiny")
PATHS = (COPIES / LAST / "paths.txt").read_text(encoding="utf-8").split()
STORE = Path("reports/results.duckdb")
# Kinds of stages whose questions EARLIER put otherwise, so that they are answered anew. The audit looks at more since
# equal inputs are clusters (key "audit 2"); a judge may be held to a schema, which its key tells; other samples are
# asked again for the noise floor; how a model's template renders is looked at since.
ANEW = {"audit", "judge", "noise", "rendering"}


@pytest.fixture
def copy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack what a commit left behind and work beside it; returns the folder that holds its experiment files."""
    source: Path = COPIES / request.param
    shutil.copytree(COPIES / "model", tmp_path / "model")
    shutil.copytree(source / "artifacts", tmp_path / "reports" / "artifacts")
    for packed in source.glob("*.gz"):
        (tmp_path / "reports" / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    monkeypatch.chdir(tmp_path)
    return source


of_each = pytest.mark.parametrize("copy", [LAST, EARLIER], indirect=True)
of_last = pytest.mark.parametrize("copy", [LAST], indirect=True)
of_earlier = pytest.mark.parametrize("copy", [EARLIER], indirect=True)


def experiment_of(copy: Path, name: str) -> Experiment:
    """Return the experiment of a stored file; what it imports of the scripted engine is found where that is today."""
    text = (copy / f"{name}.py.txt").read_text(encoding="utf-8")
    file = Path(f"{name}.py")
    file.write_text(re.sub(r"harness\.\S+ (?=import Scripted)", f"{Scripted.__module__} ", text), encoding="utf-8")
    found = runpy.run_path(str(file))["experiment"]
    assert isinstance(found, Experiment)
    return found


def stored(table: str, columns: str = "*") -> Counter[tuple[object, ...]]:
    with closing(duckdb.connect(str(STORE), read_only=True)) as connection:
        return Counter(connection.execute(f'SELECT {columns} FROM "{table}"').fetchall())


def measured() -> dict[str, Counter[tuple[object, ...]]]:
    """Return all that was asked, answered and trained."""
    return {table: stored(table) for table in ("stages", "answers", "likelihoods", "measures", "training_log")}


def verified(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = main(["verify", *(f"reports/{name}.html" for name in NAMES)])
    return code, capsys.readouterr().out.splitlines()


def decided(name: str) -> tuple[object, ...]:
    with closing(duckdb.connect(str(STORE), read_only=True)) as connection:
        query = "SELECT verdict, reason, findings FROM decisions WHERE experiment = ? ORDER BY decided_at DESC LIMIT 1"
        return connection.execute(query, [name]).fetchone() or ()


@of_last
def test_pages_are_verified_as_when_they_were_written(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = (copy / "verify.txt").read_text(encoding="utf-8").splitlines()

    assert verified(capsys) == (0, said)
    assert [line for line in said if line.startswith("OK") and "recomputed from" in line] == said  # no remark


@of_earlier
def test_pages_of_older_statistics_are_named_as_such(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The commit's own `verify` recomputed them (verify.txt). It recorded no statistics, and today's give other numbers.
    code, said = verified(capsys)

    assert code == 3
    assert [line.split(" was made")[0] for line in said] == ["OLDER  lights: GO", "OLDER  tiny: INCONCLUSIVE"]


@of_each
def test_pages_are_drawn_again_from_the_store(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: decided(name) for name in NAMES}
    as_written = verified(capsys)
    for name in NAMES:
        Path(f"reports/{name}.html").unlink()

    drawn = {path.name for path in harness.report(store=STORE)}

    assert drawn == {"lights.html", "tiny.html", "index.html", "verdicts.json", "summary.md"}
    assert verified(capsys) == as_written
    assert {name: decided(name) for name in NAMES} == before


@of_last
@pytest.mark.parametrize("name", NAMES)
def test_the_same_experiment_asks_nothing_again(copy: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, decision, page = measured(), decided(name), verified(capsys)

    outcome = harness.run(experiment_of(copy, name), name=name, store=STORE, quiet=True)

    assert measured() == before
    assert (outcome.verdict, outcome.reason) == decision[:2]
    assert decided(name) == decision
    assert verified(capsys) == page


@of_last
def test_a_dotted_path_of_then_means_the_same_model(copy: Path) -> None:
    experiment = experiment_of(copy, "tiny")
    before = measured()
    assert not isinstance(experiment.model, str)
    path = next(path for path in PATHS if path.endswith(".local:open_engine"))
    as_then = replace(experiment.model, engine=path)  # type: ignore[type-var]

    harness.run(replace(experiment, model=as_then), name="tiny", store=STORE, quiet=True)

    assert measured() == before


@of_earlier
@pytest.mark.parametrize("name", NAMES)
def test_an_older_store_is_asked_only_what_is_asked_otherwise_now(
    copy: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, decision = stored("stages", "key, kind"), decided(name)

    outcome = harness.run(experiment_of(copy, name), name=name, store=STORE, quiet=True)

    new = stored("stages", "key, kind") - keys
    assert not keys - stored("stages", "key, kind")
    assert {str(kind) for _, kind in new} == (ANEW - {"judge"} if name == "tiny" else ANEW - {"rendering"})
    assert outcome.verdict == decision[0]
    # Even what decides the same is a new decision: it is made by newer statistics.
    assert [line.split(":")[0] for line in verified(capsys)[1] if f" {name}: " in line] == [f"OK  {name}"]


@pytest.mark.parametrize("path", PATHS)
def test_dotted_paths_of_then_are_found(path: str) -> None:
    if ".lm_eval" in path and importlib.util.find_spec("lm_eval") is None:
        pytest.skip("lm-eval is not installed")
    assert callable(resolve(path))
