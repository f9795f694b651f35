"""Equal inputs are one piece of evidence: ten questions asked twenty times are ten, whatever the metric."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

from harness import (
    AtLeast,
    BreakEven,
    Costs,
    ExactMatch,
    Gain,
    Guard,
    MacroF1,
    Message,
    NoWorse,
    Sample,
    Split,
    ZeroShot,
)
from harness.api import too_small
from harness.experiment.decide import Decision
from harness.inference.scripted import Scripted
from harness.report.brief import verdict_entry
from harness.report.page import render_page
from harness.runner.run import run_plan
from harness.types.samples import Messages

DRESSES = ("{}", "{}!", "  {} ", "{}?!", "¿{}")


def repeated(task, split: Split = Split.HOLDOUT, *, texts: int = 10):
    """The first questions of a split, over and over, in another dress each time."""
    own = task.samples(split)
    rows = tuple(
        replace(
            sample,
            input=DRESSES[n // texts % len(DRESSES)].format(own[n % texts].input),
            reference=own[n % texts].reference,
        )
        for n, sample in enumerate(own)
    )
    return task.with_rows(split, rows)


def knowing(task, *, base: int, tuned: int, texts: int = 10) -> Scripted:
    """A model that knows the first `base` of the questions, and `tuned` of them after tuning, in any dress."""
    known, learned = {}, {}
    for split in (Split.DEV, Split.HOLDOUT):
        for place, sample in enumerate(task.samples(split)):
            prompt = task.prompt(sample)[-1].content
            known[prompt] = sample.reference if place % texts < base else "no"
            learned[prompt] = sample.reference if place % texts < tuned else "no"
    return Scripted(answers=known, after_tuning=learned)


@pytest.fixture
def decide(make_experiment, store):
    def run_once(task, **changes) -> Decision:
        model = changes.pop("model", None) or knowing(task, base=3, tuned=6)
        return run_plan(make_experiment(task=task, model=model, **changes), name="planted", store=store).decision

    return run_once


def test_ten_questions_asked_twenty_times_are_no_go(decide, store, lamps):
    rules = [Gain(ExactMatch(), 0.05), Gain(MacroF1(), 0.05), AtLeast(ExactMatch(), 0.5)]
    decision = decide(repeated(lamps), metrics=[ExactMatch(), MacroF1()], go_if=rules)

    assert decision.verdict.value == "INCONCLUSIVE"
    assert [finding.status for finding in decision.findings] == ["open"] * 3
    assert all("n = 10 groups of 200 samples" in finding.sentence for finding in decision.findings)
    evidence = store.evidence("planted")
    assert {row.groups for row in evidence.comparisons} == {10}
    page = render_page(evidence)
    assert "the 200 holdout samples are 10 inputs" in page
    assert "n = 10 groups of 200 samples" in page


def test_a_guard_counts_its_inputs_too(decide, store, lamps):
    guard = replace(repeated(lamps), name="guard")
    decision = decide(
        lamps,
        model=knowing(guard, base=10, tuned=10),
        go_if=[NoWorse(ExactMatch(), 1.0)],
        guards=[Guard(guard, ExactMatch(), by_at_most=0.02)],
    )

    assert [finding.status for finding in decision.findings] == ["met", "open"]
    assert "n = 10 groups of 200 samples" in decision.findings[1].sentence


def test_groups_that_share_an_input_are_one_cluster(decide, store, lamps):
    rows = [replace(s, group=f"form {n // 2}") for n, s in enumerate(lamps.samples(Split.HOLDOUT))]
    rows[1] = replace(rows[1], input=rows[2].input.upper())
    decide(lamps.with_rows(Split.HOLDOUT, tuple(rows)))

    clusters = [row.cluster for row in store.evidence("planted").samples if row.split == "holdout"]
    assert clusters[:6] == ["form 0", "form 0", "form 0", "form 0", "form 2", "form 2"]


@pytest.mark.parametrize("grouped", [False, True])
def test_stopping_early_draws_equal_inputs_and_groups_as_one(decide, store, lamps, grouped):
    task = repeated(lamps, texts=50)
    if grouped:
        rows = [replace(s, group=f"form {n // 4}") for n, s in enumerate(lamps.samples(Split.HOLDOUT))]
        task = lamps.with_rows(Split.HOLDOUT, tuple(rows))
    decision = decide(task, model=knowing(task, base=0, tuned=50, texts=50), stop_early=True)

    assert decision.verdict.value == "GO"
    evidence = store.evidence("planted")
    asked = {row.sample_id for row in evidence.scores if row.split == "holdout"}
    clusters = {}
    for row in evidence.samples:
        if row.split == "holdout":
            clusters.setdefault(row.cluster, set()).add(row.sample_id)
    assert len(asked) < 200
    assert all(members <= asked or not members & asked for members in clusters.values())
    assert evidence.comparisons[0].method.startswith("always-valid")


def test_ten_questions_asked_twenty_times_are_no_go_when_stopping_early(decide, lamps):
    assert decide(repeated(lamps), stop_early=True).verdict.value == "INCONCLUSIVE"


def test_the_question_is_what_the_prompt_asks_and_not_the_input_alone(decide, store, lamps):
    """Two hundred documents with one question are two hundred prompts."""

    @dataclass(frozen=True)
    class Reading(type(lamps)):
        def prompt(self, sample: Sample) -> Messages:
            return (Message("system", "Read."), Message("user", f"{sample.tags['text']}\n\n{sample.input}"))

    reading = Reading(
        rows={
            split: tuple(replace(s, input="What colour is it?", tags={"text": s.input}) for s in rows)
            for split, rows in lamps.rows.items()
        }
    )
    decision = decide(reading, model=knowing(reading, base=3, tuned=9))

    assert decision.verdict.value == "GO"
    assert {row.cluster for row in store.evidence("planted").samples} == {None}


class Slotted(NamedTuple):
    """A task without a __dict__, which cannot be written to."""

    of: object
    name: str = "lamps"
    answer_tokens: int = 8

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return self.of.samples(split)

    def prompt(self, sample: Sample) -> Messages:
        return self.of.prompt(sample)

    def read(self, text: str) -> object | None:
        return self.of.read(text)


@dataclass(frozen=True, slots=True)
class Frozen:
    of: object
    name: str = "lamps"
    answer_tokens: int = 8

    samples = Slotted.samples
    prompt = Slotted.prompt
    read = Slotted.read


class Forwarding:
    """A task that looks everything up in another."""

    def __init__(self, of: object) -> None:
        self.__dict__["_of"] = of

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["_of"], name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("read only")


@pytest.mark.parametrize("wrap", [lambda task: task, Slotted, Frozen, Forwarding])
def test_a_task_of_any_make_can_be_stopped_early_under_the_same_keys(make_experiment, store, lamps, wrap):
    experiment = make_experiment(task=lamps, stop_early=True, baselines=[ZeroShot()])
    expected = run_plan(experiment, name="plain", store=store).decision
    stages = store.query("SELECT count(*) FROM stages")[1]

    decision = run_plan(replace(experiment, task=wrap(lamps)), name="wrapped", store=store).decision

    assert decision == expected
    assert store.query("SELECT count(*) FROM stages")[1] == stages


def test_the_primary_metric_is_that_of_the_first_criterion_on_a_difference(make_experiment, store):
    experiment = make_experiment(
        go_if=[BreakEven(1e9), Gain(ExactMatch(), 0.05)], costs=Costs(training_hour=1.0, serving_hour=1.0)
    )
    run_plan(experiment, name="planted", store=store)

    primary = verdict_entry(store.evidence("planted"))["primary"]
    assert (primary["metric"], primary["difference"]) == ("exact_match", pytest.approx(0.7))


def test_the_size_of_the_holdout_is_that_of_its_inputs(make_experiment, lamps):
    (said,) = too_small(make_experiment(task=repeated(lamps), go_if=[Gain(ExactMatch(), 0.2)]))

    # Ten samples of their own would show as much.
    (ten,) = too_small(
        make_experiment(
            task=lamps.with_rows(Split.HOLDOUT, lamps.samples(Split.HOLDOUT)[:10]), go_if=[Gain(ExactMatch(), 0.2)]
        )
    )
    assert said.split("about ")[1].split(" pts")[0] == ten.split("about ")[1].split(" pts")[0] == "44.3"
