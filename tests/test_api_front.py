"""`harness.run` and `harness.report`: what Python gets of an experiment."""

import os
import sys
from pathlib import Path

import pytest

import harness
from harness import api
from harness.api import load_experiment
from harness.errors import InvalidExperiment, StageFailed
from harness.report import write
from harness.store.store import Store
from harness.types import files

NO_GAIN = {"base": 0.6, "tuned": 0.5}


@pytest.fixture
def lamps(tmp_path, write_experiment):
    return lambda **changes: load_experiment(write_experiment(tmp_path / "lamps_file.py", **changes))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_run_gives_verdict_reason_name_and_page(lamps, capsys):
    outcome = harness.run(lamps(), quiet=True)

    assert (outcome.verdict, outcome.name, outcome.page) == ("GO", "lamps", Path("reports/lamps.html"))
    assert outcome.reason.startswith("exact_match went from 20.0 % to 90.0 %")
    assert "harness.run(experiment, name=&#39;lamps&#39;)" in outcome.page.read_text()
    assert capsys.readouterr() == ("", "")
    assert harness.report("lamps") == (outcome.page,)


def test_a_negative_is_a_value_and_no_exception(lamps, capsys):
    outcome = harness.run(lamps(**NO_GAIN), name="dark", store="elsewhere/r.duckdb")

    assert (outcome.verdict, outcome.page) == ("NO_GO", Path("elsewhere/dark.html"))
    assert "dark: answer zero-shot on dev" in capsys.readouterr().err


def test_another_question_needs_another_name(lamps):
    harness.run(lamps(), quiet=True)
    other = harness.interface.Experiment(**{**vars(lamps(**NO_GAIN)), "question": "Should they be replaced?"})
    with pytest.raises(InvalidExperiment, match=r"'lamps' with another question \('Should the lamps be tuned\?'\)"):
        harness.run(other, quiet=True)

    assert harness.run(other, name="replaced", quiet=True).verdict == "NO_GO"
    assert Store(Path("reports/results.duckdb")).experiments() == ("lamps", "replaced")


def test_a_file_imports_from_its_projects_folder_wherever_it_is_loaded_from(tmp_path, write_experiment):
    project = tmp_path / "project"
    path = write_experiment(
        project / "experiments" / "lamps.py", before="from lamp_names import NAME", task="Lamps(NAME)"
    )
    (project / "pyproject.toml").touch()
    (project / "lamp_names.py").write_text('NAME = "of the project"')
    before = list(sys.path)

    assert load_experiment(path).task.name == "of the project"
    assert sys.path == before


@pytest.mark.parametrize("given", ["lamps", None, harness.Experiment])
def test_what_is_no_experiment_is_refused(given):
    with pytest.raises(InvalidExperiment, match=r"harness\.run takes an Experiment, not"):
        harness.run(given)
    assert not Path("reports").exists()


def test_report_without_a_store_names_the_way_out(lamps):
    with pytest.raises(StageFailed, match="does not exist; run an experiment first"):
        harness.report()
    harness.run(lamps(), quiet=True)
    with pytest.raises(InvalidExperiment, match=r"no experiment 'torches' in reports/results\.duckdb; it has lamps"):
        harness.report("torches")


def test_a_run_draws_its_own_page_and_the_lists_only(lamps, monkeypatch):
    drawn = []
    render = write.render_page
    monkeypatch.setattr(
        write, "render_page", lambda evidence: drawn.append(evidence.experiment.name) or render(evidence)
    )
    for name in ("one", "two"):
        harness.run(lamps(), name=name, quiet=True)
    assert drawn == ["one", "one", "two"]  # the page of one tells that two has met the same holdout
    before = Path("reports/verdicts.json").read_text()

    harness.run(lamps(), name="two", quiet=True)
    assert drawn[3:] == ["two"]
    assert Path("reports/verdicts.json").read_text() == before

    Path("reports/one.html").unlink()
    api.draw_changed(Store(Path("reports/results.duckdb")))
    assert drawn[4:] == ["one"]

    monkeypatch.setattr(write, "_code_key", lambda: "other code")
    api.draw_changed(Store(Path("reports/results.duckdb")))
    assert drawn[5:] == ["one", "two"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the full device of Linux")
def test_a_full_disk_keeps_the_old_page_and_says_so_in_one_line(lamps, monkeypatch):
    page = harness.run(lamps(), quiet=True).page
    old = page.read_bytes()
    made = files.tempfile.mkstemp

    def full(**place):
        handle, name = made(**place)
        os.close(handle)
        return os.open("/dev/full", os.O_WRONLY), name

    def rendered(evidence):
        monkeypatch.setattr(files.tempfile, "mkstemp", full)  # the disk fills while the page is drawn
        return render(evidence)

    render = write.render_page
    monkeypatch.setattr(write, "render_page", rendered)
    with pytest.raises(StageFailed) as caught:
        harness.run(lamps(**NO_GAIN), quiet=True)

    assert str(caught.value).startswith("reports/lamps.html cannot be written (No space left on device); everything")
    assert page.read_bytes() == old
    assert [path.name for path in page.parent.iterdir() if path.name.startswith(".unfinished")] == []
    assert Store(Path("reports/results.duckdb")).decision("lamps").verdict == "NO_GO"


@pytest.mark.parametrize("folder", ["a file", "/proc/nowhere"])
def test_a_folder_that_cannot_be_made_is_one_line(lamps, folder):
    Path("a file").touch()
    with pytest.raises(
        StageFailed, match=r"cannot be written .*; results are kept there: make it writable, or use --store"
    ):
        harness.run(lamps(), store=f"{folder}/results.duckdb", quiet=True)


def test_warnings_of_other_packages_stay_theirs(lamps, recwarn):
    """numpy warns in its own name, the experiment in its own."""
    import warnings

    from harness.api import without_foreign_warnings

    with without_foreign_warnings():
        for module in (
            "numpy.core",
            "transformers.models.x",
            "torch",
            "tests.own",
            "harness.runner.run",
            "experiments.a",
        ):
            warnings.warn_explicit("said", UserWarning, "x.py", 1, module=module, registry={})
        warnings.warn_explicit("old", DeprecationWarning, "x.py", 1, module="harness.runner.run", registry={})
        warnings.warn_explicit("old", DeprecationWarning, "x.py", 1, module="experiments.a", registry={})

    assert [str(one.message) for one in recwarn] == ["said", "said", "said", "old"]
