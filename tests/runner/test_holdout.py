"""The holdout: who saw it, what a look may claim, and how it is asked in blocks."""

from dataclasses import replace

import pytest

from harness import ExactMatch, Gain, InvalidExperiment, MacroF1, Sample, Split
from harness.experiment.decide import Verdict
from harness.inference.scripted import ScriptedTuning
from harness.runner.run import Options, run_plan


def decided(experiment, store, *, name="lamps", **options):
    return run_plan(experiment, name=name, store=store, options=Options(**options)).decision


def ledger(store, name="lamps"):
    (found,) = [row.content for row in store.evidence(name).insights if row.kind == "ledger"]
    return found


def test_the_first_candidate_has_the_whole_alpha_and_running_again_is_no_second_look(make_experiment, store):
    decided(make_experiment(), store)
    decided(make_experiment(), store, fresh=True)

    assert (ledger(store)["look"], ledger(store)["level"]) == (1, 0.95)
    assert {row.level for row in store.evidence("lamps").comparisons} == {0.95}
    assert len(store.evidence("lamps").looks) == 2  # one a system


def test_each_further_candidate_has_less_whatever_the_experiment_is_called(make_experiment, store):
    for number in range(3):
        recipe = ScriptedTuning(name=f"try {number}", learn=1 - number / 100)
        decided(make_experiment(recipes=[recipe]), store, name=f"experiment-{number}")

    assert [ledger(store, f"experiment-{n}")["look"] for n in range(3)] == [1, 2, 3]
    levels = [store.evidence(f"experiment-{n}").comparisons[0].level for n in range(3)]
    assert levels == pytest.approx([0.95, 0.975, 1 - 0.05 / 6])


def test_another_prompt_or_a_slightly_smaller_holdout_is_no_fresh_holdout(make_experiment, store, lamps):
    decided(make_experiment(), store, name="first")
    decided(make_experiment(task=replace(lamps, wording="Name the colour of")), store, name="reworded")
    fewer = lamps.with_rows(Split.HOLDOUT, lamps.samples(Split.HOLDOUT)[:150])
    decided(make_experiment(task=fewer), store, name="fewer")

    assert [ledger(store, name)["look"] for name in ("first", "reworded", "fewer")] == [1, 2, 3]


def test_a_fresh_holdout_starts_again(make_experiment, store, lamps):
    decided(make_experiment(), store, name="first")
    others = tuple(
        Sample(id=f"other-{n}", input=f"torch {n * 104729} now", reference=("red", "green")[n % 2]) for n in range(120)
    )
    decided(make_experiment(task=lamps.with_rows(Split.HOLDOUT, others)), store, name="second")

    assert ledger(store, "second")["look"] == 1


def test_samples_taken_out_after_the_look_are_a_changed_rule(make_experiment, store, lamps):
    assert decided(make_experiment(), store).verdict is Verdict.GO
    fewer = lamps.with_rows(Split.HOLDOUT, lamps.samples(Split.HOLDOUT)[:190])

    decision = decided(make_experiment(task=fewer), store)

    assert decision.verdict is Verdict.INCONCLUSIVE
    assert store.evidence("lamps").decision.post_hoc


def test_asking_early_stops_when_the_sequence_decides_and_asks_no_more(make_experiment, store):
    decision = decided(make_experiment(stop_early=True), store)

    assert decision.verdict is Verdict.GO
    (row,) = store.evidence("lamps").comparisons
    assert row.samples < 200
    assert row.method.startswith("always-valid betting confidence sequence")
    (told,) = [row.content for row in store.evidence("lamps").insights if row.kind == "sequential"]
    assert (told["samples"], told["of"], told["decided"]) == (row.samples, 200, True)
    asked = store.query("SELECT count(*) FROM scores WHERE split = 'holdout' AND system = 'zero-shot'")[1]
    assert asked == [(row.samples,)]


def test_asking_early_again_asks_nothing_anew_and_says_the_same(make_experiment, store):
    first = decided(make_experiment(stop_early=True), store)
    stages = store.query("SELECT count(*) FROM stages")[1]

    assert decided(make_experiment(stop_early=True), store) == first
    assert store.query("SELECT count(*) FROM stages")[1] == stages


def test_the_always_valid_interval_is_wider_than_that_of_a_fixed_number(make_experiment, store):
    decided(make_experiment(base=0.5, tuned=0.56, stop_early=True), store, name="early")
    decided(make_experiment(base=0.5, tuned=0.56), store, name="fixed")

    (early,), (fixed,) = (store.evidence(name).comparisons for name in ("early", "fixed"))
    assert early.samples == fixed.samples == 200
    assert early.difference == pytest.approx(fixed.difference)
    assert early.low < fixed.low
    assert early.high >= fixed.high  # never narrower, on either side


def test_a_metric_of_the_whole_set_cannot_be_stopped_early(make_experiment):
    with pytest.raises(InvalidExperiment, match="stop_early needs metrics that score single answers"):
        make_experiment(metrics=[MacroF1()], go_if=[Gain(MacroF1(), 0.05)], stop_early=True)


def test_leaked_samples_are_left_out_where_the_experiment_says_so_and_both_are_shown(make_experiment, store, lamps):
    stolen = lamps.samples(Split.HOLDOUT)[:40]
    copies = tuple(replace(sample, id=f"copy-{sample.id}") for sample in stolen)
    leaky = lamps.with_rows(Split.TRAIN, (*lamps.samples(Split.TRAIN), *copies))

    decision = decided(make_experiment(task=leaky, leaks="exclude"), store)

    assert decision.verdict is Verdict.GO
    evidence = store.evidence("lamps")
    assert evidence.comparisons[0].samples == 160
    leakage = {row.value: row.samples for row in evidence.slices if row.dimension == "leakage"}
    assert leakage == {"clean": 160, "all": 200}
    assert any("left out of the verdict" in check.detail for check in evidence.checks)


def test_a_gain_counts_only_with_its_metric(make_experiment, store):
    """A guard against a sign slip: the asked gain is looked up by name."""
    decided(make_experiment(go_if=[Gain(ExactMatch(), at_least=0.2)]), store)

    (power,) = [row.content for row in store.evidence("lamps").insights if row.kind == "evidence"]
    assert (power["metric"], power["at_least"], power["samples"]) == ("exact_match", 0.2, 200)
