import json
import math
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.advice import advise
from harness.analysis.break_even import Requests, payback, quality_of
from harness.analysis.collapse import COLLAPSED
from harness.analysis.decision_context import Moved, Situation
from harness.analysis.endings import Endings
from harness.analysis.estimate import Estimate
from harness.analysis.fit_diagnosis import Fitting
from harness.analysis.insights import Insights, stored_insights
from harness.analysis.learning_curve import CurveStep, LearningCurve, learning_curve
from harness.analysis.noise_floor import NoiseFloor
from harness.analysis.retrieval_table import four_way
from harness.analysis.slices import Slice
from harness.data.leakage.audit import DUPLICATES, SIZES
from harness.experiment.criteria import AtLeast, Gain
from harness.stats.compare import Comparison, compare
from harness.types.codec import to_json
from harness.types.samples import Check
from tests.analysis.scores import Right, scored

COUNT = 300
TAKEN = ("tokens_in", "tokens_out", "seconds")


def shares(*rates: float, count: int = COUNT) -> list[np.ndarray]:
    luck = np.random.default_rng(0).random(count)
    return [(luck < rate).astype(float) for rate in rates]


def compared(before: float, after: float, count: int = COUNT) -> Comparison:
    sides = shares(before, after, count=count)
    return compare(Right(), split="holdout", baseline=scored("2-shot", sides[0]), tuned=scored("lora", sides[1]))


def moved(c: Comparison) -> Moved:
    return Moved(
        metric=c.metric,
        better=c.better,
        unit=c.unit,
        baseline_mean=c.baseline_mean,
        tuned_mean=c.tuned_mean,
        difference=c.difference,
        low=c.low,
        high=c.high,
        samples=c.samples,
    )


def situation(verdict: str, before: float, after: float, **fields: object) -> Situation:
    c = compared(before, after)
    given: dict[str, object] = {
        "verdict": verdict,
        "baseline": "2-shot",
        "tuned": "lora",
        "moved": moved(c),
        "findings": [Gain(Right(), at_least=0.05).judge([c])],
    }
    return Situation(**{**given, **fields})  # type: ignore[arg-type]


def stored(**insights: object) -> Insights:
    """Return insights as the store gives them back."""
    rows = [
        (kind, json.loads(json.dumps(to_json(one), allow_nan=False)))
        for kind, found in insights.items()
        for one in (found if isinstance(found, list) else [found])
    ]
    return stored_insights(rows)


def curve(ceiling: float, baseline: float, sizes: tuple[int, ...] = (100, 200, 400, 800)) -> LearningCurve:
    *steps, best = shares(*(ceiling - 2.0 * size**-0.5 for size in sizes), baseline, count=2000)
    parts = [CurveStep(size / 800, size, scored("lora", part)) for size, part in zip(sizes, steps, strict=True)]
    return learning_curve(Right(), baseline=scored("2-shot", best), steps=parts, at_least=0.05)


def test_go_says_tune_with_the_gain_and_when_it_pays():
    ids = tuple(f"s{n}" for n in range(50))
    cost = {"sample_ids": ids, "tokens_in": np.full((1, 50), 100.0), "tokens_out": np.full((1, 50), 10.0)}
    varied = np.random.default_rng(1).normal(0, 0.001, (1, 50))
    sides = [
        Requests(system=name, seconds=s + varied * (1 + s), **cost) for name, s in (("2-shot", 0.5), ("lora", 0.3))
    ]
    paid = payback((sides[0], sides[1]), training_seconds=60.0)
    dearer = payback((sides[1], sides[0]), training_seconds=60.0)
    said = advise(situation("GO", 0.5, 0.8, insights=stored(break_even=paid)))
    c = compared(0.5, 0.8)
    assert said == (
        f"Tune: lora in place of 2-shot takes right from {100 * c.baseline_mean:.1f} % to {100 * c.tuned_mean:.1f} %, "
        f"{moved(c).shown}.",
        "Training is paid back after about 300 requests.",
    )
    never = advise(situation("GO", 0.5, 0.8, insights=stored(break_even=dearer)))
    assert never[1].startswith("It pays in quality only")


def test_no_go_keeps_the_prompt_that_won():
    said = advise(situation("NO_GO", 0.8, 0.5))
    assert said[0].startswith("Keep prompting: 2-shot is the better answer, right 73.7 %")
    assert "tuning changes it by -" in said[0]
    retrieved = advise(situation("NO_GO", 0.8, 0.5, baseline_retrieves=True))
    assert retrieved[0].startswith("Use retrieval: 2-shot is the better answer")
    small = advise(situation("NO_GO", 0.5, 0.505))
    assert small[0].startswith("Keep prompting: 2-shot is not beaten by enough")
    assert small[0].endswith("of the +5.0 pts asked for.")


def test_no_go_by_a_guard_names_the_guard():
    lost = Gain(Right(), at_least=0.05).judge([compared(0.8, 0.5)])
    guard = replace(lost, metric="general: right", sentence="general: right fell.")
    said = advise(
        situation("NO_GO", 0.5, 0.8, findings=[Gain(Right(), at_least=0.05).judge([compared(0.5, 0.8)]), guard])
    )
    assert said == ("Keep prompting: 2-shot stays, because tuning fails a criterion: general: right fell.",)


def test_a_baseline_that_is_already_enough_needs_no_tuning():
    met = Gain(Right(), at_least=0.05).judge([compared(0.5, 0.8)])
    said = advise(Situation(verdict="NO_GO", baseline="2-shot", findings=[replace(met, sentence="right is 96 %.")]))
    assert said == ("Keep prompting: 2-shot is already enough, so nothing was tuned: right is 96 %.",)


def test_inconclusive_names_the_holdout_that_would_decide():
    c = compared(0.5, 0.58)
    finding = Gain(Right(), at_least=0.05).judge([c])
    assert finding.needed_samples is not None
    said = advise(situation("INCONCLUSIVE", 0.5, 0.58))
    assert said[0].startswith(
        f"Enlarge the holdout to about {finding.needed_samples:,} samples in place of 300: right +"
    )
    assert said[0].endswith("still spans +5.0 pts.")
    guard = replace(finding, metric="general: right")
    assert advise(situation("INCONCLUSIVE", 0.5, 0.58, findings=[guard]))[0].startswith(
        f"Enlarge the holdout of general to about {finding.needed_samples:,} samples: general: right +"
    )
    post_hoc = situation("INCONCLUSIVE", 0.5, 0.8, post_hoc=True)
    assert advise(post_hoc)[0].startswith("Confirm it on a fresh holdout, since the rule was changed")
    assert advise(Situation(verdict="INCONCLUSIVE", baseline="2-shot")) == (
        "Decide nothing yet: the holdout has not been opened.",
    )


def test_a_rule_about_the_mean_is_said_as_a_mean():
    c = compared(0.5, 0.7)
    still_open, missed = (AtLeast(Right(), value).judge([c]) for value in (0.65, 0.9))
    assert (still_open.status, missed.status) == ("open", "failed")
    unclear = advise(situation("INCONCLUSIVE", 0.5, 0.7, findings=[still_open]))
    assert unclear[0].endswith("right 62.7 % [57.1, 67.9] still spans 65.0 %.")
    kept = advise(situation("NO_GO", 0.5, 0.7, findings=[missed]))
    assert kept[0] == f"Keep prompting: 2-shot stays, because tuning fails a criterion: {missed.sentence}"


def test_a_gain_inside_the_noise_asks_for_a_steadier_measurement():
    floors = [
        NoiseFloor(metric=metric, floor=floor, system="2-shot", unit="%", holdout=300, reruns=(), sentence="")
        for metric, floor in (("x", 9.0), ("right", 0.3))
    ]
    said = advise(situation("INCONCLUSIVE", 0.5, 0.58, insights=stored(noise=floors)))
    assert said[0].startswith("Make the measurement steadier before anything else: right moved by +")
    assert "moves it by up to 30.0 pts" in said[0]


def test_more_examples_are_asked_for_only_where_the_curve_gets_there():
    reaches = advise(situation("INCONCLUSIVE", 0.5, 0.58, insights=stored(curve=curve(0.9, 0.8))))
    assert any(sentence.startswith("Collect about ") for sentence in reaches)
    collect = next(sentence for sentence in reaches if sentence.startswith("Collect about "))
    assert "more examples to the 800 there are: the learning curve comes 5.0 pts above 2-shot at about" in collect

    flat = advise(situation("NO_GO", 0.8, 0.5, insights=stored(curve=curve(0.6, 0.8))))
    assert any(sentence.startswith("Choose another base model, or another recipe") for sentence in flat)
    assert not any(sentence.startswith("Collect") for sentence in flat)

    good = advise(situation("GO", 0.5, 0.8, insights=stored(curve=curve(0.9, 0.8))))
    assert len(good) == 1


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ((0.3, 0.5, 0.5, 0.7), "Combine tuning with retrieval: on DEV both together change right by +"),
        ((0.3, 0.5, 0.5, 0.5), "Use retrieval: on DEV it changes right of the untuned model by +"),
        ((0.3, 0.7, 0.4, 0.5), "Use retrieval: on DEV it changes right of the untuned model by +"),  # worse than alone
        ((0.3, 0.4, 0.7, 0.6), ""),  # tuning alone is better than retrieval, and than both
        ((0.3, 0.3, 0.5, 0.5), ""),
    ],
)
def test_retrieval_is_advised_where_the_four_way_table_supports_it(cells: tuple[float, ...], said: str):
    names = ("base", "base_rag", "tuned", "tuned_rag")
    table = four_way(Right(), **{n: scored(n, part) for n, part in zip(names, shares(*cells), strict=True)})
    found = advise(situation("GO", 0.5, 0.8, insights=stored(four_way=table)))[1:]
    assert [sentence.startswith(said) for sentence in found] == ([True] if said else [])
    assert len(advise(situation("GO", 0.5, 0.8, tuned_retrieves=True, insights=stored(four_way=table)))) == 1


def test_a_slice_that_is_hurt_is_named_and_one_by_chance_is_not():
    part = Slice(
        metric="right",
        dimension="language",
        value="zh",
        position=0,
        samples=40,
        baseline_mean=0.8,
        tuned_mean=0.5,
        difference=-0.3,
        low=-0.45,
        high=-0.15,
        p_value=0.001,
        q_value=0.004,
    )
    helped, chance = replace(part, difference=0.3, low=0.1, high=0.5), replace(part, q_value=0.2)
    untested = replace(part, p_value=None, q_value=None)
    said = advise(situation("GO", 0.5, 0.8, slices=[helped, chance, untested, part]))
    assert said[1:] == ("Look at language zh, where tuning hurts: right -30.0 pts [-45.0, -15.0], n = 40, q = 0.004.",)


def test_evidence_that_cannot_be_trusted_supports_nothing_but_its_repair():
    leak = Check(name="leakage", status="invalid", detail="12 of 100 holdout samples stand in train", kind="data")
    prompt = Check(name="prompt parity", status="invalid", detail="a second BOS token.")
    said = advise(situation("INVALID", 0.5, 0.8, checks=[leak, prompt], insights=stored(curve=curve(0.9, 0.8))))
    assert said == (
        "Decide nothing on this evidence. Clean the data: 12 of 100 holdout samples stand in train.",
        "Decide nothing on this evidence. Repair this and run again: a second BOS token.",
    )
    assert advise(situation("INVALID", 0.5, 0.8)) == ("Decide nothing on this evidence: it cannot be trusted.",)


def test_warnings_of_data_and_prompts_are_passed_on():
    checks = [
        Check(name="near duplicates", status="warning", detail="3 pairs look alike", kind="data"),
        Check(name="prompting tried", status="warning", detail="One prompt alone.", kind="readiness"),
        Check(name="retrieval tried", status="ok", detail="No corpus.", kind="readiness"),
        Check(name="training examples", status="warning", detail="Few.", kind="readiness"),
    ]
    said = advise(situation("NO_GO", 0.8, 0.5, checks=checks))
    assert said[1:] == ("Look at the data: 3 pairs look alike.", "Try more prompts: One prompt alone.")
    assert advise(situation("GO", 0.5, 0.8, checks=checks))[1:] == ("Try more prompts: One prompt alone.",)


@pytest.mark.parametrize(
    ("verdict", "pool", "repeats", "said"),
    [
        ("GO", "train", 1, False),
        ("GO", "train", 90, False),
        ("GO", "holdout", 1, True),
        ("NO_GO", "train", 1, False),
        ("NO_GO", "train", 90, True),
    ],
)
def test_repeated_texts_are_advice_only_where_they_may_have_moved_the_verdict(
    verdict: str, pool: str, repeats: int, said: bool
):
    items = tuple({"pool": pool, "ids": [f"a{n}", f"b{n}"], "text": "x"} for n in range(repeats))
    check = Check(name=DUPLICATES, status="warning", detail=f"{repeats} in {pool}", items=items, kind="data")
    shares = (0.5, 0.8) if verdict == "GO" else (0.8, 0.5)
    found = advise(situation(verdict, *shares, checks=[check], samples={"train": 1000, "holdout": 300}))
    assert (f"Remove the repeated texts: {repeats} in {pool}." in found) is said


def test_a_small_holdout_asks_for_samples_and_not_for_cleaning():
    check = Check(name=SIZES, status="warning", detail="40 holdout samples are few", kind="data")
    assert advise(situation("NO_GO", 0.8, 0.5, checks=[check]))[-1] == (
        "Collect more samples: 40 holdout samples are few."
    )
    assert len(advise(situation("GO", 0.5, 0.8, checks=[check]))) == 1


FIT = Fitting(
    stage="k",
    system="lora",
    recipe="lora",
    seed=0,
    kind="nothing learned",
    steps=10,
    best_step=10,
    first_dev=2.31,
    best_dev=2.3,
    last_dev=2.3,
    train_at_best=2.3,
    last_train=2.3,
    spikes=0,
    sentence="",
    advice="",
    learning_rate=1e-7,
    suggested_rate=3e-4,
)


@pytest.mark.parametrize(
    ("fits", "said"),
    [
        ([FIT], "raise learning_rate from 1e-07 to about 0.0003."),
        ([replace(FIT, learning_rate=1e-2)], "raise learning_rate from 0.01, or train longer."),
        ([replace(FIT, learning_rate=0.0, suggested_rate=None)], "raise learning_rate, or train longer."),
        ([FIT, replace(FIT, kind="converged")], ""),
        ([replace(FIT, recipe="another")], ""),
        ([], ""),
    ],
)
def test_a_training_that_learned_nothing_comes_before_keeping_the_prompt(fits: list[Fitting], said: str):
    found = advise(situation("NO_GO", 0.7, 0.7, insights=stored(fitting=fits)))
    first = "Train again before deciding: lora learned nothing, its losses hardly moved (dev loss 2.31 at the first"
    assert (found[0].startswith(first), found[0].endswith(said)) == (bool(said), True)
    assert any(sentence.startswith("Keep prompting") for sentence in found)


def test_equal_systems_are_not_said_to_be_better_and_worse():
    (said,) = advise(situation("NO_GO", 0.7, 0.7))
    assert said.startswith("Keep prompting: 2-shot does as well without training, right 62.7 % against 62.7 %:")


def test_near_the_floor_another_model_comes_before_more_samples():
    undecided = situation("INCONCLUSIVE", 0.03, 0.05)
    (finding,) = undecided.findings
    said = advise(replace(undecided, findings=[replace(finding, status="open", needed_samples=304)]))
    assert said[0].startswith("Try another base model first: right is ")
    assert said[1] == "About 304 holdout samples would only decide how little it is."
    none = advise(situation("NO_GO", 0.0, 0.0))
    assert none[0].startswith("Try another base model first: right is 0.0 % before tuning and 0.0 % after")
    assert not any("better answer" in sentence for sentence in none)


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (60, "Mend how answers end: 60 of 60 answers of lora are cut at the token limit, so that the end of the turn"),
        (
            6,
            "Mend how answers end: 6 of 60 answers of lora are cut at the token limit, which counts as wrong: raise x.",
        ),
        (3, ""),
        (0, ""),
    ],
)
def test_answers_that_are_cut_are_named_with_the_way_out(cut: int, said: str):
    told = (
        ("2-shot", "holdout", {"cut": 60}),
        ("lora", "dev", {"unread": 60}),
        ("lora", "holdout", {"cut": cut} if cut else {}),
    )
    endings = [
        Endings(
            system=system,
            split=split,
            answers=60,
            ended={},
            faults=faults,
            share=0.0,
            examples=(),
            sentence="",
            remedy="raise x",
        )
        for system, split, faults in told
    ]
    for verdict, shares in (("GO", (0.5, 0.8)), ("NO_GO", (0.8, 0.5))):
        found = advise(situation(verdict, *shares, insights=stored(endings=endings)))
        assert found[0].startswith(said or ("Tune" if verdict == "GO" else "Keep prompting"))


def test_a_system_that_says_one_thing_to_everything_is_named_first():
    check = Check(name=COLLAPSED, status="warning", detail="lora says 'yes' to 59 of 60 DEV samples")
    found = advise(situation("GO", 0.5, 0.8, checks=[check]))
    assert found[0].startswith("Look at the answers before anything else: lora says 'yes' to 59 of 60 DEV samples. A")
    assert found[1].startswith("Tune: lora")


@pytest.mark.parametrize(
    ("standing", "low", "said"),
    [
        ("worse", 280.0, "Nothing is paid back by worse answers."),
        ("open", 280.0, "Training would be paid back after about 300 requests if the answers are no worse, which is"),
        ("no worse", 0.0, "Training would be paid back after about 300 requests; how sure that is was not measured"),
        ("no worse", 280.0, "Training is paid back after about 300 requests [280; 320]."),
    ],
)
def test_payback_is_told_with_what_it_stands_on(standing: str, low: float, said: str):
    sides = [Requests(system=name, sample_ids=("a",), **dict.fromkeys(TAKEN, np.ones((1, 1)))) for name in "ab"]
    paid = replace(
        payback((sides[0], sides[1]), training_seconds=60.0),
        quality=replace(quality_of(compared(0.5, 0.8)), standing=standing),  # type: ignore[arg-type]
        requests=Estimate(300.0, low, 320.0 if low else math.inf),
    )
    assert advise(situation("GO", 0.5, 0.8, insights=stored(break_even=paid)))[1].startswith(said)
