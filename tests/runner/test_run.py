"""From declaration to stored decision, on the scripted engine."""

from dataclasses import replace

import pytest

from harness import (
    AtLeast,
    ExactMatch,
    FewShot,
    Gain,
    Guard,
    InvalidExperiment,
    Perplexity,
    Preference,
    Split,
    StageFailed,
)
from harness.experiment.decide import Verdict
from harness.inference.scripted import Scripted, ScriptedTuning
from harness.runner.run import Options, run_plan


def verdict(experiment, store, **options):
    return run_plan(experiment, name="lamps", store=store, options=Options(**options)).decision


def test_a_clear_gain_is_go_and_all_of_it_is_stored(make_experiment, store):
    decision = verdict(make_experiment(metrics=[ExactMatch(), Perplexity(), Preference()]), store)

    assert decision.verdict is Verdict.GO
    evidence = store.evidence("lamps")
    assert evidence.decision.verdict == "GO"
    assert {(s.system, s.role, s.chosen) for s in evidence.systems} == {
        ("zero-shot", "baseline", True),
        ("scripted-tuning", "tuned", True),
    }
    (exact,) = [row for row in evidence.comparisons if row.metric == "exact_match"]
    assert (exact.baseline_mean, exact.tuned_mean, exact.samples) == (0.2, 0.9, 200)
    (preference,) = [row for row in evidence.comparisons if row.metric == "preference"]
    assert preference.difference == pytest.approx(0.7)  # 2 x win rate - 1, with wins on 70 % of samples and no losses
    assert len([s for s in evidence.scores if s.split == "holdout" and s.metric == "exact_match"]) == 400
    assert [look.system for look in evidence.looks] == ["zero-shot", "scripted-tuning"] or len(evidence.looks) == 2
    assert [stage.kind for stage in evidence.stages][:2] == ["audit", "answer"]


def test_no_gain_is_no_go(make_experiment, store):
    assert verdict(make_experiment(base=0.6, tuned=0.5), store).verdict is Verdict.NO_GO


def test_a_gain_inside_the_noise_is_inconclusive_and_says_how_many_samples_would_do(make_experiment, store):
    decision = verdict(make_experiment(base=0.5, tuned=0.56), store)

    assert decision.verdict is Verdict.INCONCLUSIVE
    assert decision.findings[0].needed_samples > 200


def test_a_second_run_computes_nothing(make_experiment, store):
    first = verdict(make_experiment(), store)
    stages = store.evidence("lamps").stages
    unopenable = replace(make_experiment().model, name="scripted")
    object.__setattr__(unopenable, "seconds_per_answer", 3600.0)  # not part of the key: an hour if anything is asked

    second = verdict(replace(make_experiment(), model=unopenable), store)

    assert second == first
    assert store.evidence("lamps").stages == stages
    assert len(store.evidence("lamps").decisions) == 1


def test_one_changed_word_of_the_prompt_runs_what_depends_on_it(make_experiment, store, lamps):
    verdict(make_experiment(), store)
    before = set(store.query("SELECT key FROM stages")[1])
    # The model's table is keyed by the prompt, so it changes too: the words of the question decide everything here.
    verdict(make_experiment(task=replace(lamps, wording="What colour has")), store)

    added = store.query("SELECT kind, split FROM stages ORDER BY started_at")[1][len(before) :]
    assert added == [
        ("audit", None),
        ("answer", "dev"),
        ("noise", "dev"),
        ("noise", "dev"),
        ("tune", None),
        ("answer", "dev"),
        ("answer", "holdout"),
        ("answer", "holdout"),
    ]


def test_a_changed_few_shot_strategy_leaves_the_other_stages_alone(make_experiment, store):
    verdict(make_experiment(), store)
    before = store.query("SELECT count(*) FROM stages")[1][0][0]
    verdict(make_experiment(baselines=[replace_instruction(), FewShot(shots=2)]), store)

    added = store.query("SELECT kind, system, split FROM stages ORDER BY started_at")[1][before:]
    assert added == [("answer", "2-shot", "dev")]


def replace_instruction():
    from harness import ZeroShot

    return ZeroShot()


def test_a_changed_threshold_generates_nothing_and_is_marked_post_hoc(make_experiment, store):
    verdict(make_experiment(go_if=[Gain(ExactMatch(), at_least=0.9)]), store)
    stages = store.query("SELECT count(*) FROM stages")[1]

    decision = verdict(make_experiment(go_if=[Gain(ExactMatch(), at_least=0.05)]), store)

    assert store.query("SELECT count(*) FROM stages")[1] == stages
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert "rule changed after the holdout was opened" in decision.reason
    evidence = store.evidence("lamps")
    assert [d.verdict for d in evidence.decisions] == ["NO_GO", "INCONCLUSIVE"]
    assert evidence.decision.post_hoc


def test_a_good_enough_baseline_stops_before_tuning(make_experiment, store):
    decision = verdict(make_experiment(base=1.0, stop_if=[AtLeast(ExactMatch(), 0.85)]), store)

    assert decision.verdict is Verdict.NO_GO
    assert store.query("SELECT count(*) FROM stages WHERE kind = 'tune'")[1] == [(0,)]
    assert store.evidence("lamps").looks == ()


def test_a_holdout_row_copied_into_train_is_invalid_and_named(make_experiment, store, lamps):
    stolen = lamps.samples(Split.HOLDOUT)[17]
    planted = lamps.with_rows(Split.TRAIN, (*lamps.samples(Split.TRAIN), replace(stolen, id="train-copy")))

    decision = verdict(make_experiment(task=planted), store)

    assert decision.verdict is Verdict.INVALID
    invalid = [check for check in store.evidence("lamps").checks if check.status == "invalid"]
    assert any("train-copy" in str(check.items) and stolen.id in str(check.items) for check in invalid)
    assert store.query("SELECT count(*) FROM stages WHERE kind <> 'audit'")[1] == [(0,)]


def test_an_adapter_that_changes_nothing_is_invalid(make_experiment, store):
    decision = verdict(make_experiment(recipes=[ScriptedTuning(learn=0.0)]), store)

    assert decision.verdict is Verdict.INVALID
    assert "added no row" in decision.reason
    assert store.evidence("lamps").looks == ()


def test_the_best_baseline_and_recipe_are_chosen_on_dev(make_experiment, store):
    weak, strong = ScriptedTuning(name="weak", learn=0.3), ScriptedTuning(name="strong", learn=1.0)
    verdict(make_experiment(recipes=[weak, strong]), store)

    chosen = {row.system for row in store.evidence("lamps").systems if row.chosen}
    assert chosen == {"zero-shot", "strong"}
    assert {s.system for s in store.evidence("lamps").scores if s.split == "holdout"} == {"zero-shot", "strong"}


def test_every_seed_is_trained_and_judged_as_a_mean(make_experiment, store):
    verdict(make_experiment(recipes=[ScriptedTuning(learn=0.8)], seeds=(1, 2, 3)), store)

    evidence = store.evidence("lamps")
    assert {s.seed for s in evidence.stages if s.kind == "tune"} == {1, 2, 3}
    (exact,) = evidence.comparisons
    assert exact.seeds == 3
    by_seed = store.query(
        "SELECT avg(score) FROM scores WHERE split = 'holdout' AND system = 'scripted-tuning' GROUP BY seed"
    )[1]
    assert exact.tuned_mean == pytest.approx(sum(row[0] for row in by_seed) / 3)


def test_a_guard_that_gets_worse_is_no_go(make_experiment, store, lamps):
    other = replace(lamps, name="other", wording="Say the colour of")
    experiment = make_experiment()
    knows_other = dict(experiment.model.answers) | {
        other.prompt(s)[-1].content: s.reference for s in other.samples(Split.HOLDOUT)
    }
    forgets = dict(experiment.model.after_tuning) | {
        other.prompt(s)[-1].content: "forgotten" for s in other.samples(Split.HOLDOUT)
    }
    model = replace(experiment.model, answers=knows_other, after_tuning=forgets)

    decision = verdict(replace(experiment, model=model, guards=[Guard(other, ExactMatch(), by_at_most=0.02)]), store)

    assert decision.verdict is Verdict.NO_GO
    assert [f.status for f in decision.findings] == ["met", "failed"]


def test_until_baseline_stops_there_and_a_later_run_goes_on(make_experiment, store):
    outcome = run_plan(make_experiment(), name="lamps", store=store, options=Options(until="baseline"))

    assert not outcome.complete
    assert store.query("SELECT DISTINCT kind FROM stages ORDER BY kind")[1] == [("answer",), ("audit",), ("noise",)]
    assert verdict(make_experiment(), store).verdict is Verdict.GO


def test_fresh_asks_a_judge_anew(make_experiment, store):
    preference = Preference(judge=Scripted(default="Winner: A", name="judge"))
    experiment = make_experiment(metrics=[ExactMatch(), preference])
    asked = "SELECT started_at FROM stages WHERE kind = 'judge' ORDER BY split"
    verdict(experiment, store)
    first = store.query(asked)[1]

    verdict(experiment, store)
    assert store.query(asked)[1] == first
    verdict(experiment, store, fresh=True)
    assert len(first) == 2  # on a few pairs of DEV, and on the holdout
    assert all(new > old for (new,), (old,) in zip(store.query(asked)[1], first, strict=True))


def test_fresh_measures_everything_anew(make_experiment, store):
    verdict(make_experiment(), store)
    before = store.query("SELECT key, started_at FROM stages ORDER BY key")[1]

    verdict(make_experiment(), store, fresh=True)

    after = store.query("SELECT key, started_at FROM stages ORDER BY key")[1]
    assert [key for key, _ in after] == [key for key, _ in before]
    assert all(later > earlier for (_, earlier), (_, later) in zip(before, after, strict=True))


def test_a_failing_recipe_says_where_and_keeps_the_baselines(make_experiment, store):
    with pytest.raises(StageFailed, match="stopped at step 5"):
        verdict(make_experiment(recipes=[ScriptedTuning(fails_at_step=5)]), store)

    kept = "SELECT kind, count(*) FROM answers JOIN stages ON key = stage_key GROUP BY kind ORDER BY kind"
    assert store.query(kept)[1] == [("answer", 40), ("noise", 40 + 16)]


def test_a_split_that_overlaps_is_refused_before_anything_runs(make_experiment, store, lamps):
    planted = lamps.with_rows(Split.DEV, (*lamps.samples(Split.DEV), lamps.samples(Split.TRAIN)[0]))

    with pytest.raises(InvalidExperiment, match=r"splits overlap: sample id 'train-0' is in train and in dev"):
        verdict(make_experiment(task=planted), store)
    assert not store.path.exists()
