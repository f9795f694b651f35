"""What lands in reports/."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from harness.report import render_index, summarise, verdict_entry, write_reports


def test_the_entry_of_verdicts_json(made: ModuleType) -> None:
    entry = verdict_entry(made.no_go())
    assert entry == {
        "experiment": "home_commands",
        "question": "Should we tune SmolLM2-135M for home commands, or keep prompting it?",
        "verdict": "NO_GO",
        "reason": "The gain in ExactMatch is below +5.0 pts.",
        "findings": made.no_go().decision.findings,
        "primary": {
            "metric": "ExactMatch",
            "baseline": "rag-8",
            "tuned": "sft-lora-r16",
            "difference": -0.4,
            "low": -0.4 - 0.07,
            "high": -0.4 + 0.07,
            "samples": 24,
            "seeds": 3,
            "groups": None,
        },
        "report": "home_commands.html",
        "advice": [
            "Use retrieval: rag-8 is the better answer, ExactMatch 80.0 % against 40.0 %: "
            "tuning changes it by -40.0 pts [-47.0, -33.0], n = 24."
        ],
        "level": 0.95,
        "look": None,
        "gain": "ExactMatch from 80.0 % to 40.0 %: -40.0 pts [-47.0, -33.0], n = 24, 3 seeds, 95 % interval",
        "cost": "trained in 2 min 23 s, mean of 3 seeds; a request takes 256 tokens, as before",
        "checks": {"ok": 3, "warning": 1, "invalid": 0},
        "post_hoc": False,
        "insights": {},
    }


def test_nothing_compared_has_no_primary(made: ModuleType) -> None:
    assert [verdict_entry(made.stopped())["primary"], verdict_entry(made.invalid())["primary"]] == [None, None]


def test_reports_are_written_whole_and_leave_no_temporary_file(made: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    second = made.stopped()
    second = replace(second, experiment=replace(second.experiment, name="other"))
    evidences = [made.go(), second]
    paths = write_reports(folder, evidences)
    assert write_reports(folder, evidences) == paths
    names = ["home_commands.html", "other.html", "index.html", "verdicts.json", "summary.md"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert [entry["verdict"] for entry in json.loads((folder / "verdicts.json").read_text())] == ["GO", "NO_GO"]


def test_numbers_that_json_lacks_are_null(made: ModuleType, tmp_path: Path) -> None:
    evidence = made.go()
    findings = [evidence.decision.findings[0] | {"low": -math.inf, "high": math.nan}]
    write_reports(tmp_path, [replace(evidence, decision=replace(evidence.decision, findings=findings))])
    [entry] = json.loads((tmp_path / "verdicts.json").read_text())
    assert [entry["findings"][0]["low"], entry["findings"][0]["high"]] == [None, None]


def test_no_experiment_at_all_is_an_empty_index(tmp_path: Path) -> None:
    write_reports(tmp_path, [])
    assert json.loads((tmp_path / "verdicts.json").read_text()) == []
    assert "Nothing is measured yet" in (tmp_path / "index.html").read_text()


def test_the_index_lists_verdict_gain_cost_and_date(made: ModuleType) -> None:
    page = render_index([summarise(made.go()), summarise(made.no_go()), summarise(made.stopped())])
    for part in (
        "+40.0 pts [+33.0, +47.0]",
        "n = 24, 3 seeds",
        "7 min 09 s",
        "2026-11-22 01:23 UTC",
        "nothing was compared",
        "3 experiments · 1 GO · 2 NO-GO",
        'href="home_commands.html"',
    ):
        assert part in page
