"""A baseline whose answers are cut, empty or cannot be read is not measured, and no verdict stands on it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness import Experiment, Gain, Sampling, Split, TokensOut, ZeroShot
from harness.experiment.decide import Decision, Verdict
from harness.inference.scripted import Scripted
from harness.metrics import Numeric
from harness.report import render_page
from harness.runner.run import run_plan
from harness.store.store import Store
from tests.runner.conftest import Lamps

_NAME = "how answers ended"
_LONGER = (
    "raise answer_tokens from 8 to 32, or ask for shorter answers; where the answer stands in front, read only that, "
    'such as reader="first_line"'
)
_ENDED = "SELECT DISTINCT ended FROM answers JOIN stages ON key = stage_key WHERE system = 'zero-shot'"


def decided(experiment: Experiment, store: Store) -> Decision:
    return run_plan(experiment, name="lamps", store=store).decision


def checks(store: Store) -> list[tuple[str, str]]:
    return store.query(f"SELECT status, detail FROM checks WHERE name = '{_NAME}' ORDER BY position")[1]


def said(experiment: Experiment, text: Callable[[str], str], *, after: bool = False) -> Experiment:
    """Return the experiment whose base (or tuned) model says `text(right answer)` to DEV and HOLDOUT."""
    task = experiment.task
    samples = [sample for split in (Split.DEV, Split.HOLDOUT) for sample in task.samples(split)]
    table = tuple((task.prompt(sample)[-1].content, text(sample.reference)) for sample in samples)
    changed = {"after_tuning": table} if after else {"answers": table}
    assert isinstance(experiment.model, Scripted)
    return replace(experiment, model=replace(experiment.model, **changed))


def aloud(reference: str) -> str:
    return f"Let me think about that lamp for a while: {reference}"


def test_a_baseline_cut_in_every_answer_is_invalid_before_anything_is_trained(
    make_experiment: Callable, store: Store
) -> None:
    outcome = decided(said(make_experiment(), aloud), store)

    assert (outcome.verdict, outcome.reason) == (
        Verdict.INVALID,
        "zero-shot on dev: 40 of 40 answers (100.0 %) cannot be judged: 40 cut at the token limit; above 5% a baseline "
        f"is not measured; {_LONGER}",
    )
    kinds = store.query("SELECT DISTINCT kind FROM stages ORDER BY kind")[1]
    assert kinds == [("answer",), ("audit",)]
    assert store.query("SELECT count(*) FROM looks")[1] == [(0,)]
    assert store.query("SELECT DISTINCT ended, reasoning FROM answers")[1] == [("length", "")]
    evidence = store.evidence("lamps")
    assert evidence is not None
    assert "raise answer_tokens from 8 to 32" in render_page(evidence)


def test_a_tuned_system_cut_in_every_answer_is_named(make_experiment: Callable, store: Store) -> None:
    outcome = decided(said(make_experiment(), aloud, after=True), store)

    assert outcome.verdict is Verdict.NO_GO
    assert [status for status, _ in checks(store)] == ["ok", "warning", "ok", "warning"]
    assert checks(store)[1][1] == (
        f"scripted-tuning on dev: 40 of 40 answers (100.0 %) cannot be judged: 40 cut at the token limit; {_LONGER}"
    )
    evidence = store.evidence("lamps")
    assert evidence is not None
    page = " ".join(re.sub("<[^>]+>", " ", render_page(evidence)).split())
    assert "How answers ended System Split Answers Whole Cut" in page
    assert "scripted-tuning holdout 200 0 200 0 0 0 0 0 100.0 %" in page


def test_a_baseline_that_falls_silent_on_the_holdout_alone_is_invalid(make_experiment: Callable, store: Store) -> None:
    experiment = make_experiment()
    silent = tuple((experiment.task.prompt(s)[-1].content, "") for s in experiment.task.samples(Split.HOLDOUT)[::10])
    known = tuple((dict(experiment.model.answers) | dict(silent)).items())
    learned = tuple((dict.fromkeys(dict(silent), "no") | dict(experiment.model.after_tuning)).items())
    model = replace(experiment.model, answers=known, after_tuning=learned)

    outcome = decided(replace(experiment, model=model), store)

    assert outcome.verdict is Verdict.INVALID
    assert "zero-shot on holdout: 20 of 200 answers (10.0 %) cannot be judged: 20 empty" in outcome.reason


@dataclass(frozen=True)
class FirstWord(Lamps):
    """The answer is its first word; what follows is talk."""

    def read(self, text: str) -> object | None:
        return next(iter(text.split()), None)


def test_a_value_that_was_settled_before_the_cut_is_an_answer(make_experiment: Callable, store: Store) -> None:
    def talk(reference: str) -> str:
        return f"no or {reference} or whatever else one might call it today"

    experiment = said(make_experiment(task=FirstWord()), talk)
    assert decided(experiment, store).verdict is Verdict.GO
    assert store.query(_ENDED)[1] == [("length",)]


def test_a_metric_that_reads_behind_the_value_is_asked_too(make_experiment: Callable, store: Store) -> None:
    """The reader takes the first word, the metric the last number: the answer stood behind the cut."""
    rows = {
        split: tuple(replace(s, reference=str(int(s.id.rpartition("-")[2]) % 7)) for s in Lamps().samples(split))
        for split in Split
    }
    experiment = make_experiment(task=FirstWord(rows=rows), metrics=[Numeric()], go_if=[Gain(Numeric(), at_least=0.05)])
    outcome = decided(said(experiment, lambda reference: f"0 or more if I count them one by one {reference}"), store)

    assert outcome.verdict is Verdict.INVALID


@dataclass(frozen=True)
class Quoted(Lamps):
    """Answers stand in quotes."""

    def read(self, text: str) -> object | None:
        return text.strip("'") if text.startswith("'") else None


def test_a_reader_that_knows_another_form_than_the_baseline_is_named(make_experiment: Callable, store: Store) -> None:
    rows = {split: tuple(replace(s, reference=f"'{s.reference}'") for s in Lamps().samples(split)) for split in Split}
    experiment = said(make_experiment(task=Quoted(rows=rows)), lambda reference: reference.strip("'"))
    outcome = decided(experiment, store)

    assert outcome.verdict is Verdict.INVALID
    assert "40 not readable" in outcome.reason
    assert "change reader= (or the task's read()), which gives nothing for 'red'" in outcome.reason


def test_another_baseline_that_is_cut_is_told_of(make_experiment: Callable, store: Store) -> None:
    large = said(make_experiment(), aloud).model
    experiment = make_experiment(baselines=[ZeroShot(), ZeroShot(model=replace(large, name="large"), label="large")])

    assert decided(experiment, store).verdict is Verdict.GO
    status, detail = checks(store)[1]
    assert status == "warning"
    assert detail.startswith("large @ large on dev: 40 of 40 answers (100.0 %) cannot be judged")


def test_every_repeat_counts(make_experiment: Callable, store: Store) -> None:
    experiment = replace(make_experiment(), sampling=Sampling(temperature=0.7, repeats=3))

    assert decided(experiment, store).verdict is Verdict.GO
    assert checks(store)[0][1] == "zero-shot on dev: each of 120 answers is whole and can be read"


def test_a_reference_that_thinks_aloud_is_read_as_an_answer_is(make_experiment: Callable, store: Store) -> None:
    rows = {
        split: tuple(replace(s, reference=f"<think>Hm</think>\n\n{s.reference}") for s in Lamps().samples(split))
        for split in Split
    }
    decided(make_experiment(task=Lamps(rows=rows)), store)

    assert store.query("SELECT DISTINCT expected FROM samples WHERE reference LIKE '%red'")[1] == [('"red"',)]


@dataclass(frozen=True)
class Texts(Lamps):
    """Nothing is read: its metrics look at texts."""

    def read(self, text: str) -> object | None:
        return None


def test_a_task_that_reads_no_values_has_none_unread(make_experiment: Callable, store: Store) -> None:
    metric = TokensOut()
    experiment = make_experiment(task=Texts(), metrics=[metric], go_if=[Gain(metric, at_least=0.5)])
    assert decided(experiment, store).verdict is Verdict.GO
