"""The summary for a pull request."""

from dataclasses import replace
from types import ModuleType

import pytest

from harness.report.brief import escaped, render_summary, verdict_entry
from harness.store.rows import Evidence


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", r"a \| b"),
        ("<img src=x onerror=alert(1)>", r"&lt;img src=x onerror=alert\(1\)&gt;"),
        ("two\nlines\tand\x1b[31m", r"two lines and \[31m"),
        ("`code` *bold* _it_ [link](x) ![image](y)", r"\`code\` \*bold\* \_it\_ \[link\]\(x\) \!\[image\]\(y\)"),
        ("\\| already", r"\\\| already"),
        ("ask @someone about #12", "ask @\u200bsomeone about #\u200b12"),
        ("see https://evil.example or www.evil.example", "see https\u200b://evil.example or www\u200b.evil.example"),
        ("+40.0 pts, 95 % & more", "+40.0 pts, 95 % &amp; more"),
    ],
)
def test_text_of_models_and_data_stays_text(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_the_table_has_a_row_an_experiment(made: ModuleType, rich: Evidence) -> None:
    second = made.stopped()
    second = replace(second, experiment=replace(second.experiment, name="other one"))
    lines = render_summary([verdict_entry(rich), verdict_entry(second)]).splitlines()

    assert lines[:4] == [
        "# Should we tune?",
        "",
        "| verdict | experiment | difference | advice |",
        "| --- | --- | --- | --- |",
    ]
    assert lines[4].startswith(
        r"| ✅ GO | [home\_commands](home_commands.html) | ExactMatch from 50.0 % to 90.0 %: +40.0 pts \[+33.0, "
    )
    assert lines[5].startswith("| ⛔ NO-GO | [other one](other%20one.html) | nothing was compared | Keep prompting: ")
    assert r"| Gain\(ExactMatch, at\_least=0.05\) | met | ExactMatch: the interval \[+0.331, +0.473\]" in "\n".join(
        lines
    )
    assert "<details><summary>✅ GO home_commands</summary>" in lines
    assert "- Training cost 0.24 and is paid back after about 5,900 requests \\[5,600, 6,200\\]." in lines


def test_every_row_of_a_table_has_as_many_cells_as_its_head(made: ModuleType) -> None:
    evidence = made.go()
    nasty = "a | b\n| c <script>"
    evidence = replace(
        evidence,
        experiment=replace(evidence.experiment, question=nasty),
        decision=replace(evidence.decision, findings=[evidence.decision.findings[0] | {"sentence": nasty}]),
    )
    text = render_summary([verdict_entry(evidence)])

    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [line.replace("\\|", "").count("|") - 1 for line in rows]
    assert cells == [4, 4, 4, 3, 3, 3]
    assert "<script>" not in text


def test_no_experiment_is_said() -> None:
    assert render_summary([]) == "# Should we tune?\n\nNothing is measured yet.\n"


def test_one_training_is_said_to_be_one(made: ModuleType, rich: Evidence) -> None:
    one = replace(rich, comparisons=[replace(row, seeds=1) for row in rich.comparisons])
    said = "; one seed: training variance was not measured |"

    assert [said in render_summary([verdict_entry(found)]) for found in (rich, one, made.stopped())] == [
        False,
        True,
        False,
    ]
