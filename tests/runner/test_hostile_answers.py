"""Answers of any text, and a holdout of any size, end in a page that is whole and safe."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness import Split
from harness.api import run_and_report
from harness.experiment.decide import Decision, Verdict
from harness.experiment.experiment import Experiment
from harness.runner.run import run_plan
from harness.store.store import Store


def verdict(experiment: Experiment, store: Store) -> Decision:
    return run_plan(experiment, name="lamps", store=store).decision


_HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!-- <script>",
    "{{ 7 * 7 }}{% raw %}",
    "line\u2028separator\u2029 and \x00 nul",
)


class _Tags(HTMLParser):
    """Counts tags, and keeps what stands inside scripts that run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def page(answers: tuple[str, ...], make_experiment: Callable, folder: Path) -> tuple[_Tags, str]:
    """Return the tags and the text of the page of a run whose baseline gives `answers` in turn."""
    experiment = make_experiment(question=f"Is {answers[0]} safe?")
    asked = [prompt for prompt, _ in experiment.model.after_tuning]
    given = {prompt: answers[place % len(answers)] for place, prompt in enumerate(asked)}
    model = replace(experiment.model, answers=given)
    run_and_report(replace(experiment, model=model), name="lamps", store_path=folder / "results.duckdb")
    text = (folder / "lamps.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    return tags, text


def test_hostile_answers_end_escaped_in_the_page(make_experiment: Callable, tmp_path: Path) -> None:
    harmless, _ = page(("word " * 3,) * len(_HOSTILE), make_experiment, tmp_path / "harmless")
    hostile, text = page(_HOSTILE, make_experiment, tmp_path / "hostile")

    for tag in ("script", "img", "style", "iframe"):
        assert hostile.tags.count(tag) == harmless.tags.count(tag), tag
    assert hostile.handlers == harmless.handlers
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    (entry,) = json.loads((tmp_path / "hostile" / "verdicts.json").read_text(encoding="utf-8"))
    assert (entry["verdict"], entry["question"]) == ("GO", "Is <script>alert(1)</script> safe?")
    stored = Store(tmp_path / "hostile" / "results.duckdb").query("SELECT DISTINCT text FROM answers")[1]
    assert set(_HOSTILE) <= {row[0] for row in stored}


@pytest.mark.parametrize(
    "answer",
    ["", "   \n", "请打开厨房的灯 🏮", "e\u0301 \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")],
)
def test_an_answer_of_any_text_is_kept_as_it_is(answer: str, make_experiment: Callable, store: Store) -> None:
    experiment = make_experiment()
    model = replace(experiment.model, answers={}, default=answer)

    # Nothing can be compared with a baseline that says nothing.
    expected = Verdict.GO if answer.strip() else Verdict.INVALID
    assert verdict(replace(experiment, model=model), store).verdict is expected

    kept = "SELECT DISTINCT text, value FROM answers a JOIN stages s ON s.key = a.stage_key WHERE system = 'zero-shot'"
    value = json.dumps(answer.strip(), ensure_ascii=False) if answer.strip() else None
    assert store.query(kept)[1] == [(answer, value)]


def test_a_holdout_of_one_row_is_inconclusive(make_experiment: Callable, lamps, tmp_path: Path) -> None:
    task = lamps.with_rows(Split.HOLDOUT, lamps.samples(Split.HOLDOUT)[:1])
    experiment = make_experiment(task=task, base=0.0, tuned=1.0)
    outcome = run_and_report(experiment, name="lamps", store_path=tmp_path / "results.duckdb")

    assert outcome.decision.verdict is Verdict.INCONCLUSIVE
    assert "n = 1, 1 seed" in outcome.decision.reason
    (entry,) = json.loads((tmp_path / "verdicts.json").read_text(encoding="utf-8"))
    assert (entry["primary"]["difference"], entry["primary"]["samples"]) == (1.0, 1)
