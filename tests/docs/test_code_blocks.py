"""What a reader copies works: Python blocks of tutorial and how-tos run, and commands have the options they are given.

The blocks of one page run in one namespace, in order, in an empty folder with a few data files. A block that begins
with `# NAME.py` is saved under that name too. `<!-- not run: WHY -->` before a block leaves it out.
"""

import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

import harness
from benchmarks.reference import command_parser
from harness import SFT, Experiment, Message
from harness.experiment.experiment import check_data

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs"
PAGES = [FOLDER / "tutorial.md", *sorted((FOLDER / "how-to").glob("*.md"))]
_BLOCK = re.compile(r"(?:<!-- not run: (.+) -->\n+)?```python\n(.*?)```", re.DOTALL)
_NAMED = re.compile(r"# ([\w/]+\.py)\n")


def python_blocks(page: Path) -> list[tuple[str, str]]:
    """Return why a block is not run, empty if it is, and the block."""
    return [(match[1] or "", match[2]) for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command in the shell blocks of a page."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" (?:&&|\|\||\|) ", line):
                words = shlex.split(part, comments=True)
                if words:
                    yield words


def ids(page: Path) -> str:
    return page.stem


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, write_experiment: Callable[..., Path]) -> Path:
    """A project whose experiment, on a scripted model, was run from Python."""
    folder = tmp_path_factory.mktemp("measured")
    experiment = runpy.run_path(str(write_experiment(folder / "experiments" / "tickets.py")))["experiment"]
    harness.run(experiment, name="tickets", store=folder / "reports" / "results.duckdb", quiet=True)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Path) -> Iterator[Path]:
    """A user's project: data files as the pages name them, and the experiment with its store."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    rows = [{"prompt": f"Where is order {n * 7919}?", "completion": f"on shelf {n % 7}"} for n in range(100)]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    for name in ("tickets.jsonl", "train.jsonl"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "holdout.jsonl").write_text(text.replace("order", "parcel"), encoding="utf-8")
    queues = "".join(f"Message {n * 7919},{('billing', 'delivery', 'returns')[n % 3]}\n" for n in range(60))
    (tmp_path / "tickets.csv").write_text(f"text,queue\n{queues}", encoding="utf-8")
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "orders.md").write_text("Orders lie on shelves.", encoding="utf-8")
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.pop("experiments", None)


def run_blocks(page: Path) -> dict[str, object]:
    """Run the blocks of a page; returns its namespace."""
    scope: dict[str, object] = {"__name__": page.stem}
    for why, block in python_blocks(page):
        if why:
            continue
        named = _NAMED.match(block)
        if named:
            Path(named[1]).write_text(block, encoding="utf-8")
        exec(compile(block, str(page), "exec", dont_inherit=True), scope)
    return scope


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=ids)
def test_the_blocks_of_a_page_run(page: Path, project: Path) -> None:
    scope = run_blocks(page)

    assert len(scope) > 1
    for declared in scope.values():
        if isinstance(declared, Experiment) and page.stem != "lm-eval":
            check_data(declared)


def test_few_blocks_are_not_run() -> None:
    assert sum(bool(why) for page in PAGES for why, _ in python_blocks(page)) <= 2


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_have_the_options_that_they_are_given(page: Path, request: pytest.FixtureRequest) -> None:
    parser = request.config._parser
    groups = (*parser._groups, parser._anonymous)
    known = {name for group in groups for option in group.options for name in option.names()}
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for program, *arguments in commands(page):
        if program == "harness":
            command_parser().parse_args(arguments)
        elif program == "pytest":
            options = [one.partition("=")[0] for one in arguments if one.startswith("-")]
            assert [one for one in options if one not in known] == []
        elif program == "make":
            assert set(arguments) <= targets


def test_the_tutorial_asks_for_what_its_own_file_holds(project: Path) -> None:
    experiment = run_blocks(FOLDER / "tutorial.md")["experiment"]

    assert isinstance(experiment, Experiment)
    assert len((project / "experiments" / "orders.csv").read_text(encoding="utf-8").splitlines()) == 441


def test_the_recipe_of_the_page_learns_the_shortest_answers(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.types.jobs import TuneJob
    from harness.types.samples import Example

    scope = run_blocks(FOLDER / "how-to" / "write-a-recipe.md")
    (project / "stand_in.py").write_text("def fit(job, *, progress):\n    return job\n", encoding="utf-8")
    monkeypatch.setattr(SFT, "trainer", "stand_in:fit")
    prompt = (Message("user", "?"),)
    examples = tuple(Example(id=str(n), prompt=prompt, answer="x" * (n % 7 + 1)) for n in range(300))
    (recipe,) = scope["recipes"]  # type: ignore[misc]
    job = TuneJob(recipe=recipe, model=None, train=examples, dev=(), seed=0, folder=project)  # type: ignore[arg-type]

    learned = scope["fit"](job, progress=None)  # type: ignore[operator]
    assert [len(learned.train), max(len(one.answer) for one in learned.train)] == [200, 5]


def test_the_backend_of_the_page_answers(project: Path) -> None:
    scope = run_blocks(FOLDER / "how-to" / "write-a-backend.md")
    rules = scope["OrderRules"]()  # type: ignore[operator]
    engine = resolve_name(rules.engine)(rules, progress=None)
    asked = [(Message("user", text),) for text in ("three boxes of tea", "a box", "four boxes")]

    answered = {place[0]: texts[0].text for place, texts in engine.generate(asked, None, done=frozenset({2}))}
    assert answered == {0: "3", 1: "?"}
