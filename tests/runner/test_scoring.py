"""Scores: pure metrics anew each time, metrics that run a model once, pairs judged by a model or by people."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from harness import Cost, Costs, Endpoint, ExactMatch, Experiment, Gain, Preference, Split, ZeroShot
from harness.errors import Incomparable, InvalidData, InvalidExperiment, StageFailed
from harness.experiment.decide import Verdict
from harness.inference.scripted import Scripted
from harness.runner.run import Options, run_plan
from harness.runner.scoring import TRIED_PAIRS
from harness.store.store import Store
from harness.types.protocols import Direction
from harness.types.samples import Answer, Sample, Score


def measured(experiment: Experiment, store: Store, **options: object):
    """Run, and return the stored evidence."""
    run_plan(experiment, name="lamps", store=store, options=Options(**options))
    return store.evidence("lamps")


def shares(store: Store) -> dict[tuple[str, float], int]:
    """Return how many holdout samples gave each system each share of the preference."""
    counted = (
        "SELECT system, score, count(*) FROM scores WHERE metric = 'preference' AND split = 'holdout' "
        "GROUP BY ALL ORDER BY ALL"
    )
    return {(system, score): count for system, score, count in store.query(counted)[1]}


# -- a judge ------------------------------------------------------------------------------------------------


def judge_of(experiment: Experiment, *, always_first: bool) -> Scripted:
    """Return a judge: it prefers the right answer, or always the one shown first."""
    metric = Preference(judge=Scripted())
    known = dict(experiment.model.answers)
    learned = known | dict(experiment.model.after_tuning)
    table = {}
    dev = experiment.task.samples(Split.DEV)[:TRIED_PAIRS]
    for sample in (*dev, *experiment.task.samples(Split.HOLDOUT)):
        asked = experiment.task.prompt(sample)[-1].content
        old = Answer(sample_id=sample.id, text=known.get(asked, "I do not know."))
        new = Answer(sample_id=sample.id, text=learned.get(asked, "I do not know."))
        new = replace(new, text=sample.reference) if sample in dev else new
        for first, second in ((old, new), (new, old)):
            winner = "A" if always_first or first.text == sample.reference != second.text else "B"
            winner = "tie" if first.text == second.text and not always_first else winner
            table[metric.question(sample, first, second)[-1].content] = f"Winner: {winner}"
    return Scripted(answers=table, default="I cannot say.", name="judge")


def test_a_judge_is_asked_in_both_orders_and_once(make_experiment: Callable, store: Store) -> None:
    plain = make_experiment(base=0.2, tuned=0.9)
    judge = judge_of(plain, always_first=False)
    experiment = replace(plain, metrics=[ExactMatch(), Preference(judge=judge)])

    evidence = measured(experiment, store)

    # The tuned answer is right on 140 samples where the baseline's is wrong; the other 60 are answered alike.
    assert shares(store) == {
        ("scripted-tuning", 0.5): 60, ("scripted-tuning", 1.0): 140, ("zero-shot", 0.0): 140, ("zero-shot", 0.5): 60,
    }  # fmt: skip
    (row,) = [row for row in evidence.comparisons if row.metric == "preference"]
    assert row.difference == pytest.approx(0.7)
    votes = "SELECT count(*), count(DISTINCT sample_id) FROM answers a JOIN stages s ON s.key = a.stage_key"
    assert store.query(f"{votes} WHERE s.kind = 'judge'")[1] == [(400 + 2 * TRIED_PAIRS, 400 + 2 * TRIED_PAIRS)]

    before = store.query("SELECT key, started_at FROM stages ORDER BY key")
    measured(experiment, store)
    assert store.query("SELECT key, started_at FROM stages ORDER BY key") == before


def test_a_judge_that_likes_whatever_comes_first_gives_ties_only(make_experiment: Callable, store: Store) -> None:
    plain = make_experiment()
    judge = judge_of(plain, always_first=True)
    evidence = measured(replace(plain, metrics=[ExactMatch(), Preference(judge=judge)]), store)

    assert shares(store) == {("scripted-tuning", 0.5): 200, ("zero-shot", 0.5): 200}
    details = {s.detail["outcome"] for s in evidence.scores if s.metric == "preference" and s.system != "zero-shot"}
    assert details == {"disagreed"}


# -- votes --------------------------------------------------------------------------------------------------


def votes_file(path: Path, ids: list[str], winner: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["sample_id", "winner"])
        rows.writerows([name, winner] for name in ids)
    return path


def test_votes_of_people_decide(make_experiment: Callable, lamps, store: Store, tmp_path: Path) -> None:
    ids = [sample.id for sample in lamps.samples(Split.HOLDOUT)]
    votes = votes_file(tmp_path / "votes.csv", ids, "baseline")
    people = Preference(votes=votes)
    experiment = make_experiment(metrics=[ExactMatch(), people], go_if=[Gain(people, at_least=0.0)])

    outcome = run_plan(experiment, name="lamps", store=store)

    assert outcome.decision.verdict is Verdict.NO_GO
    assert shares(store) == {("scripted-tuning", 0.0): 200, ("zero-shot", 1.0): 200}


def test_samples_without_a_vote_are_counted_and_named(
    make_experiment: Callable, lamps, store: Store, tmp_path: Path
) -> None:
    ids = [sample.id for sample in lamps.samples(Split.HOLDOUT)]
    votes = votes_file(tmp_path / "votes.csv", ids[3:], "tuned")

    with pytest.raises(InvalidData, match=r"no vote on 3 of 200 samples \(holdout-100, holdout-101, holdout-102\)"):
        measured(make_experiment(metrics=[ExactMatch(), Preference(votes=votes)]), store)


# -- metrics that run a model -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """A metric with an executor that notes each of its calls in a file."""

    notes: str
    weight: float = 1.0
    name: str = "counted"
    better: ClassVar[str] = "higher"
    executor: ClassVar[str] = "counting_executor:score_all"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of notes, with the executor's module on the path."""
    (tmp_path / "counting_executor.py").write_text(
        "from harness.types.samples import Score\n"
        "def score_all(metric, samples, answers):\n"
        "    with open(metric.notes, 'a') as file:\n"
        "        file.write(f'{samples[0].id.rpartition(\"-\")[0]} {len(answers)}\\n')\n"
        "    right = [metric.weight * (a.value == s.expected) for s, a in zip(samples, answers)]\n"
        "    return [Score(value, {'said': a.text}) for value, a in zip(right, answers)]\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "notes.txt"


def test_a_metric_that_runs_a_model_is_computed_once_for_each_set_of_answers(
    make_experiment: Callable, store: Store, notes: Path
) -> None:
    experiment = make_experiment(metrics=[ExactMatch(), Counted(str(notes))])

    first = measured(experiment, store)
    assert sorted(notes.read_text().splitlines()) == ["dev 40", "dev 40", "holdout 200", "holdout 200"]
    second = measured(experiment, store)

    assert len(notes.read_text().splitlines()) == 4
    assert second.comparisons == first.comparisons
    assert {row.metric: row.difference for row in first.comparisons}["counted"] == pytest.approx(0.7)
    assert {tuple(s.detail) for s in first.scores if s.metric == "counted"} == {("said",)}


def test_fresh_computes_it_anew_too(make_experiment: Callable, store: Store, notes: Path) -> None:
    experiment = make_experiment(metrics=[ExactMatch(), Counted(str(notes))])
    measured(experiment, store)
    measured(experiment, store, fresh=True)

    assert len(notes.read_text().splitlines()) == 8


def test_another_setting_of_it_is_computed_beside(make_experiment: Callable, store: Store, notes: Path) -> None:
    measured(make_experiment(metrics=[ExactMatch(), Counted(str(notes))]), store)
    evidence = measured(make_experiment(metrics=[ExactMatch(), Counted(str(notes), weight=0.5)]), store)

    assert len(notes.read_text().splitlines()) == 8
    assert {row.metric: row.difference for row in evidence.comparisons}["counted"] == pytest.approx(0.35)


# -- pure metrics -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Length:
    """A user's metric that scores all answers at once."""

    unit: str
    name: str = "length"
    better: ClassVar[str] = "lower"

    def score_all(self, samples: list[Sample], answers: list[Answer]) -> list[Score | float]:
        return [float(len(a.text.split() if self.unit == "words" else a.text)) for a in answers]


def test_a_changed_metric_rescores_stored_answers_and_generates_nothing(
    make_experiment: Callable, store: Store
) -> None:
    first = measured(make_experiment(metrics=[ExactMatch(), Length("letters")]), store)
    second = measured(make_experiment(metrics=[ExactMatch(), Length("words")]), store)

    assert second.stages == first.stages
    means = [{row.metric: row.tuned_mean for row in evidence.comparisons}["length"] for evidence in (first, second)]
    assert means[0] > means[1] == pytest.approx(1.3)  # "I do not know." on 20 of 200, one word on the others


# -- scores of any type -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Giving:
    """Gives what `make` makes of "is it right?"."""

    make: Callable[[bool], object] = field(compare=False, metadata={"key": False})
    name: str = "giving"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> object:
        return self.make(answer.value == sample.expected)


@dataclass(frozen=True)
class GivingAll(Giving):
    name: str = "giving_all"
    score = None

    def score_all(self, samples: Sequence[Sample], answers: Sequence[Answer]) -> object:
        return self.make([a.value == s.expected for s, a in zip(samples, answers, strict=True)])


@dataclass(frozen=True)
class GivingStatistic(Giving):
    name: str = "giving_statistic"

    def score(self, sample: Sample, answer: Answer) -> Score:
        return Score(np.bool_(answer.value == sample.expected), detail=float(answer.value == sample.expected))

    def statistic(self, details: Sequence[object], weights: np.ndarray) -> object:
        return self.make(weights @ np.array(details) / weights.sum(axis=1))


def go_if(metric: object) -> dict[str, object]:
    return {"metrics": [metric], "go_if": [Gain(metric, at_least=0.05)]}


@pytest.mark.parametrize(
    "metric",
    [
        Giving(np.bool_),
        Giving(lambda right: torch.tensor(float(right))),
        Giving(lambda right: Score(Fraction(right))),
        GivingAll(lambda right: np.array(right)),
        GivingAll(lambda right: torch.tensor(right)),
        GivingAll(lambda right: (one for one in right)),
        GivingStatistic(lambda found: torch.tensor(found)),
        GivingStatistic(list),
    ],
)
def test_a_score_may_be_any_real_number(make_experiment: Callable, store: Store, metric: object) -> None:
    outcome = run_plan(make_experiment(**go_if(metric)), name="lamps", store=store)

    assert outcome.decision.verdict is Verdict.GO
    (found,) = outcome.decision.findings
    assert found.value == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("metric", "error", "message"),
    [
        (
            Giving(lambda right: None),
            StageFailed,
            r"'giving' on zero-shot.* gave None \(NoneType\) for sample 'dev-60'",
        ),
        (Giving(lambda right: "1"), StageFailed, r"gave '1' \(str\) for sample 'dev-60'; a score is a finite number"),
        (Giving(lambda right: np.array([1.0])), StageFailed, r"ndarray of shape \(1,\)\) for sample 'dev-60'"),
        (Giving(lambda right: Score(1j)), StageFailed, r"gave Score\(1j \(complex\)\) for sample 'dev-60'"),
        (GivingAll(lambda right: None), StageFailed, r"'giving_all' on zero-shot gave None \(NoneType\); give a list"),
        (GivingAll(lambda right: right[1:]), StageFailed, "scores for .* answers; give one for each"),
        (GivingAll(lambda right: np.ones((len(right), 1))), StageFailed, r"of shape \(1,\)\) for sample 'dev-60'"),
        (GivingStatistic(lambda found: None), Incomparable, r"giving_statistic: statistic\(\) of .* gave None"),
        (GivingStatistic(lambda found: float(found[0])), Incomparable, "return an array of .* one for each row"),
    ],
)
def test_what_is_no_number_is_refused_by_name(
    make_experiment: Callable, store: Store, metric: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_plan(make_experiment(**go_if(metric)), name="lamps", store=store)


# -- a judge that cannot be read ----------------------------------------------------------------------------


def mumbling(experiment: Experiment, *, pairs: int) -> Scripted:
    """Return a judge that knows, whose replies on the first `pairs` of the holdout say nothing."""
    judge = judge_of(experiment, always_first=False)
    texts = [sample.input for sample in experiment.task.samples(Split.HOLDOUT)[:pairs]]
    table = {asked: "Hard to say." if any(text in asked for text in texts) else said for asked, said in judge.answers}
    return replace(judge, answers=tuple(table.items()))


def test_a_few_unread_replies_are_left_out_and_counted(make_experiment: Callable, store: Store) -> None:
    plain = make_experiment(base=0.2, tuned=0.9)
    preference = Preference(judge=mumbling(plain, pairs=3))
    experiment = replace(plain, metrics=[ExactMatch(), preference], go_if=[Gain(preference, at_least=0.05)])

    outcome = run_plan(experiment, name="lamps", store=store)

    assert outcome.decision.verdict is Verdict.GO
    (row,) = [row for row in store.evidence("lamps").comparisons if row.metric == "preference"]
    unread = store.query(
        "SELECT count(*) FROM scores WHERE metric = 'preference' AND score IS NULL AND error IS NOT NULL"
    )
    missing = 200 - row.samples
    assert 3 <= missing <= 10
    assert unread[1] == [(2 * missing,)]
    (check,) = [check for check in store.evidence("lamps").checks if check.name == "replies of the judge of preference"]
    assert check.status == "warning"
    assert f"{missing} of 200 pairs had a reply that was not understood" in check.detail


def test_a_judge_whose_replies_are_not_understood_makes_the_verdict_invalid(
    make_experiment: Callable, store: Store
) -> None:
    plain = make_experiment(base=0.2, tuned=0.9)
    preference = Preference(judge=Scripted(default="I cannot say.", name="judge"))
    experiment = replace(plain, metrics=[ExactMatch(), preference], go_if=[Gain(preference, at_least=0.05)])

    decision = run_plan(experiment, name="lamps", store=store).decision

    assert decision.verdict is Verdict.INVALID
    assert decision.reason.startswith(
        "tried on 10 DEV pairs, judge was not understood on 10; the first: the judge's reply"
    )
    assert "Preference(instruction=...)" in decision.reason


# -- what a request costs -----------------------------------------------------------------------------------


def test_an_experiment_without_a_price_is_refused_when_it_is_declared(make_experiment: Callable) -> None:
    metrics = [ExactMatch(), Cost()]
    large = Endpoint("http://127.0.0.1:8000/v1", "large")
    with pytest.raises(InvalidExperiment, match=r"Cost: .* runs here: give Experiment\(costs=Costs\(serving_hour"):
        make_experiment(metrics=metrics)
    with pytest.raises(InvalidExperiment, match="Cost: large has no price"):
        make_experiment(metrics=metrics, costs=Costs(serving_hour=1.0), baselines=[ZeroShot(model=large)])


def test_what_each_side_costs_is_measured(make_experiment: Callable, store: Store) -> None:
    evidence = measured(make_experiment(metrics=[ExactMatch(), Cost()], costs=Costs(serving_hour=3600.0)), store)

    (row,) = [row for row in evidence.comparisons if row.metric == "cost"]
    seconds = {a.stage_key: 0.0 for a in evidence.answers}
    for answer in evidence.answers:
        seconds[answer.stage_key] += answer.seconds / 200
    costs = {s.stage_key: 0.0 for s in evidence.scores if s.metric == "cost" and s.split == "holdout"}
    for score in evidence.scores:
        if score.metric == "cost" and score.split == "holdout":
            costs[score.stage_key] += (score.score or 0.0) / 200
    assert (row.better, row.samples, len(costs)) == ("lower", 200, 2)
    assert costs == pytest.approx({key: seconds[key] for key in costs})


@dataclass(frozen=True)
class Tallied:
    """Right or wrong, and how often each answer was asked about."""

    asked: list[tuple[str, str]] = field(default_factory=list, compare=False, metadata={"key": False})

    name: ClassVar[str] = "tallied"
    better: ClassVar[Direction] = "higher"

    def score(self, sample: Sample, answer: Answer) -> float:
        self.asked.append((sample.id, answer.text))
        return float(answer.text == sample.reference)


def test_what_a_metric_gave_is_kept_for_the_rest_of_the_run(make_experiment: Callable, store: Store) -> None:
    metric = Tallied()
    evidence = measured(make_experiment(metrics=[metric], go_if=[Gain(metric, at_least=0.05)]), store)

    scored = sum(row.metric == metric.name for row in evidence.scores)
    subsets = [row.content["reruns"] for row in evidence.insights if row.kind == "noise"]
    assert len(metric.asked) == scored + sum(2 * again["samples"] for reruns in subsets for again in reruns)
