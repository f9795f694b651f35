"""`harness compare`: any two stored systems on the samples that both answered."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import load_experiment, run_and_report
from harness.cli.__main__ import main
from harness.runner.run import Options

TWO = "baselines=[ZeroShot(), FewShot(shots=2)]"
RENUMBERED = '''

@dataclass(frozen=True)
class Moved(Lamps):
    """Other questions under the same ids."""

    def samples(self, split):
        return tuple(Sample(id=s.id, input=f"{s.input} now", reference=s.reference) for s in super().samples(split))


@dataclass(frozen=True)
class Fewer(Lamps):
    def samples(self, split):
        return super().samples(split)[: 9 if split is Split.DEV else 100]


@dataclass(frozen=True)
class Elsewhere(Lamps):
    def samples(self, split):
        return tuple(Sample(id=f"x-{s.id}", input=s.input, reference=s.reference) for s in super().samples(split))
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_experiment: Callable[..., Path]) -> Path:
    """A folder whose store holds experiments that share a task, and some whose task is another."""
    folder = tmp_path_factory.mktemp("compared")
    kinds: dict[str, dict[str, object]] = {
        "go": {"baselines": "[ZeroShot(), FewShot(shots=2)]", "metrics": "[ExactMatch(), MacroF1()]"},
        "worse": {"base": "0.6", "tuned": "0.5"},
        "moved": {"task": "Moved()", "before": RENUMBERED},
        "fewer": {"task": "Fewer()", "before": RENUMBERED},
        "elsewhere": {"task": "Elsewhere()", "before": RENUMBERED},
    }
    for name, changes in kinds.items():
        path = write_experiment(folder / "experiments" / f"{name}.py", **changes)
        run_and_report(
            load_experiment(path),
            name=name,
            store_path=folder / "reports" / "results.duckdb",
            options=Options(file=path),
        )
    return folder


@pytest.fixture
def compared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    def run(*arguments: str) -> tuple[int, list[str]]:
        monkeypatch.chdir(folder)
        code = main(["compare", *arguments])
        shown = capsys.readouterr()
        return code, (shown.out + shown.err).splitlines()

    return run


def test_two_systems_of_an_experiment_are_compared_as_its_verdict_compared_them(compared, folder):
    code, lines = compared("zero-shot", "scripted-tuning", "--experiment", "go", "--metric", "exact_match")

    assert code == 0
    assert lines[0] == "zero-shot -> scripted-tuning on holdout, 100 samples"
    assert lines[1].startswith("exact_match (higher is better): 20.0 % -> 90.0 %, +70.0 pts [+59.2, +78.0]")
    assert "+70.0 pts [+59.2, +78.0]" in (folder / "reports" / "go.html").read_text()
    assert "one seed: training variance was not measured" in lines[2]
    assert lines[3:] == ["explored after the fact: choose by it on dev; a verdict takes an experiment"]


def test_two_baselines_are_compared_on_dev_where_the_holdout_saw_one(compared):
    code, lines = compared("zero-shot", "2-shot")

    assert code == 0
    assert lines[0] == "zero-shot -> 2-shot on dev, 10 samples"
    assert [line.split()[0] for line in lines[1::2]] == ["exact_match", "macro_f1", "explored"]


def test_one_metric_is_enough(compared):
    code, lines = compared("zero-shot", "2-shot", "--metric", "macro_f1")

    assert (code, len(lines)) == (0, 4)
    assert lines[1].startswith("macro_f1 (higher is better): ")


def test_systems_of_two_experiments_are_compared_where_their_samples_are_the_same(compared):
    code, lines = compared("go:scripted-tuning", "worse:scripted-tuning")

    assert code == 0
    assert lines[0] == "go:scripted-tuning -> worse:scripted-tuning on holdout, 100 samples"
    assert lines[1].startswith("exact_match (higher is better): 90.0 % -> 50.0 %, -40.0 pts [")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("zero-shot", "9-shot", "--experiment", "go"),
            "harness: no system '9-shot' of experiment go was measured on holdout or dev; "
            "the store has elsewhere:scripted-tuning, ",
        ),
        (
            ("zero-shot", "scripted-tuning"),
            "harness: zero-shot and scripted-tuning stand in several experiments (elsewhere, fewer, go, moved, worse); "
            "choose with --experiment, or write a system as elsewhere:zero-shot",
        ),
        (
            ("go:zero-shot", "worse:zero-shot", "--metric", "macro_f1"),
            "harness: macro_f1 was not measured for both systems: zero-shot has exact_match, macro_f1; "
            "zero-shot has exact_match",
        ),
        (
            ("go:scripted-tuning", "moved:scripted-tuning"),
            "harness: 100 of 100 samples of go and moved bear the same id but other text, first 'holdout-100'",
        ),
        (
            ("go:scripted-tuning", "elsewhere:scripted-tuning"),
            "harness: go and elsewhere share no samples: 100 of one, 100 of the other, no id in common",
        ),
        (
            ("go:scripted-tuning", "fewer:scripted-tuning", "--split", "dev"),
            "harness: exact_match: go:scripted-tuning and fewer:scripted-tuning were measured on different samples: "
            "1 only in go:scripted-tuning (dev-19)",
        ),
        (("zero-shot", "2-shot", "--split", "holdout"), "harness: no system '2-shot' was measured on holdout"),
        (("zero-shot", "2-shot", "--experiment", "gone"), "harness: no experiment 'gone' in "),
    ],
)
def test_a_mistake_names_the_way_out(compared, arguments, message):
    code, (line,) = compared(*arguments)

    assert code == 2
    assert line.startswith(message)
