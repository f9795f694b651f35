"""Asking the same system again: what its scores move by, and that nothing of it is GO."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from harness import Endpoint, ExactMatch, Experiment, Gain, Model, Perplexity, Split
from harness.inference.scripted import Scripted, ScriptedEngine, ScriptedTuning
from harness.metrics import Latency, MacroF1
from harness.plan import Plan
from harness.runner.answers import answered
from harness.runner.context import Engines, Run, SilentProgress
from harness.runner.noise import noise_floor, noise_stages
from harness.runner.run import Options, run_plan
from harness.store.store import Store
from harness.types.jobs import Round
from harness.types.protocols import Batch, Progress
from harness.types.samples import Decoding, Messages

Maker = Callable[..., Experiment]


@dataclass(frozen=True)
class Moody(Scripted):
    """A table that forgets every fifth answer when it is asked one thing alone."""

    engine: ClassVar[str] = f"{__name__}:open_moody"


class MoodyEngine(ScriptedEngine):
    asked: ClassVar[list[tuple[str, ...]]] = []

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        self.asked.append(tuple(prompt[-1].content for prompt in prompts))
        for places, found in super().generate(prompts, decoding, done=done):
            alone = len(prompts) == 1 and int(prompts[0][-1].content.split()[-2]) % 5 == 0
            yield places, tuple(replace(one, text="no") if alone else one for one in found)


def open_moody(model: Moody, *, progress: Progress) -> MoodyEngine:
    return MoodyEngine(model)


def run_of(experiment: Experiment, store: Store) -> Run:
    return Run(Plan(experiment, "lamps"), store, SilentProgress(), Engines(SilentProgress()))


def floors(experiment: Experiment, store: Store) -> Any:
    work = run_of(experiment, store)
    system = work.plan.baselines[0]
    return noise_floor(work, system, answered(work, system, experiment.task, Split.DEV, Round()))


def test_a_table_has_no_noise_whatever_the_circumstances(make_experiment: Maker, store: Store) -> None:
    (floor,) = floors(make_experiment(), store)

    assert (floor.metric, floor.system, floor.unit, floor.floor, floor.holdout) == (
        "exact_match",
        "zero-shot",
        "%",
        0.0,
        200,
    )
    assert [(again.circumstance, again.samples, again.changed) for again in floor.reruns] == [
        ("in reversed order", 40, 0),
        ("one at a time", 16, 0),
    ]


def moody(make_experiment: Maker, **changes: Any) -> Experiment:
    experiment = make_experiment(base=1.0, **changes)
    assert isinstance(experiment.model, Scripted)
    return replace(experiment, model=Moody(answers=experiment.model.answers))


def test_answers_that_change_when_asked_alone_are_the_floor(make_experiment: Maker, store: Store) -> None:
    (floor,) = floors(moody(make_experiment), store)

    # Of 16 right answers, spread over 40, 8 are lost: their mean is larger than 1.96 * sqrt(0.5 / 200).
    alone = floor.reruns[1]
    assert (alone.circumstance, alone.changed, alone.mean) == ("one at a time", 8, -0.5)
    assert floor.reruns[0].changed == 0
    assert floor.floor == 0.5


def test_what_was_asked_again_is_stored_and_not_asked_a_third_time(make_experiment: Maker, store: Store) -> None:
    experiment = moody(make_experiment)
    first = floors(experiment, store)
    MoodyEngine.asked.clear()

    assert floors(experiment, store) == first
    assert MoodyEngine.asked == []
    work = run_of(experiment, store)
    system = work.plan.baselines[0]
    stages = noise_stages(work, system, answered(work, system, experiment.task, Split.DEV, Round()))
    assert [stage.kind for stage in stages] == ["noise", "noise"]
    rows = [store.stage(stage.key) for stage in stages]
    assert [row.kind for row in rows if row] == ["noise", "noise"]
    assert [len(store.answers(stage.key)) for stage in stages] == [40, 16]


def test_an_interrupted_rerun_goes_on_where_it_was(
    make_experiment: Maker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = moody(make_experiment)
    calls = iter(range(1000))

    class Interrupted(MoodyEngine):
        def generate(self, prompts, decoding, *, done=frozenset()):  # type: ignore[no-untyped-def]
            if next(calls) == 10:
                raise KeyboardInterrupt
            yield from super().generate(prompts, decoding, done=done)

    with monkeypatch.context() as patched:
        patched.setattr(f"{__name__}.MoodyEngine", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            floors(experiment, store)
    MoodyEngine.asked.clear()

    (floor,) = floors(experiment, store)

    assert floor.reruns[1].changed == 8
    assert len(MoodyEngine.asked) == 16 - 8  # two calls were batches, eight were answered one at a time


def asked_again_after(seconds: float, experiment: Experiment, store: Store) -> dict[str, int]:
    """Return how many samples are asked again by circumstance, where the answers to DEV took `seconds`."""
    work = run_of(experiment, store)
    system = work.plan.baselines[0]
    seen = answered(work, system, experiment.task, Split.DEV, Round())
    slow = tuple(replace(answer, seconds=seconds / len(seen.answers)) for answer in seen.answers)
    (floor,) = noise_floor(work, system, replace(seen, answers=slow))
    return {again.circumstance: again.samples for again in floor.reruns}


def test_asking_again_takes_a_tenth_of_the_time_of_the_answers(
    make_experiment: Maker, store: Store, lamps: Any
) -> None:
    samples = lamps.samples(Split.DEV)
    many = tuple(replace(s, id=f"{s.id}-{n}", input=f"{s.input} {n}") for n in range(10) for s in samples)  # 400

    # 400 answers in 800 s: 80 s buy 2 samples alone, at 16 s each, and 11 together, at 3 s after a beginning of 13 s.
    assert asked_again_after(800.0, make_experiment(task=lamps.with_rows(Split.DEV, many)), store) == {
        "in reversed order": 11,
        "one at a time": 2,
    }


@pytest.mark.parametrize(("seconds", "asked"), [(0.9, {"in reversed order": 40, "one at a time": 16}), (40.0, {})])
def test_answers_that_took_no_time_are_asked_again_and_few_slow_ones_are_not(
    make_experiment: Maker, store: Store, lamps: Any, seconds: float, asked: dict[str, int]
) -> None:
    count = 40 if asked else 20
    task = lamps.with_rows(Split.DEV, lamps.samples(Split.DEV)[:count])

    assert asked_again_after(seconds, make_experiment(task=task), store) == asked


def test_floors_that_time_does_not_allow_say_so(make_experiment: Maker, store: Store, lamps: Any) -> None:
    experiment = make_experiment(task=lamps.with_rows(Split.DEV, lamps.samples(Split.DEV)[:8]))
    work = run_of(experiment, store)
    seen = answered(work, work.plan.baselines[0], experiment.task, Split.DEV, Round())
    slow = tuple(replace(answer, seconds=8.0) for answer in seen.answers)

    (floor,) = noise_floor(work, seen.system, replace(seen, answers=slow))

    assert floor.sentence == (
        "The noise of exact_match was not measured: a tenth of the time that 8 DEV answers took buys too few answers."
    )


def test_likelihoods_are_weighed_again_and_a_metric_of_the_set_has_a_floor(
    make_experiment: Maker, store: Store
) -> None:
    changes = {
        "metrics": [Perplexity(), MacroF1(), Latency()],
        "go_if": [Gain(Perplexity(), at_least=0.1), Gain(MacroF1(), at_least=0.1), Gain(Latency(), at_least=0.1)],
    }
    perplexity, macro_f1 = floors(moody(make_experiment, **changes), store)

    assert (perplexity.metric, perplexity.floor) == ("perplexity", 0.0)
    assert macro_f1.metric == "macro_f1"
    # 8 of 16 are lost when asked alone: F1 of their lamps falls, and the jackknife's mean is about that fall.
    assert macro_f1.reruns[1].mean < -0.05


def test_a_fresh_run_asks_again_what_it_asks_anew(make_experiment: Maker, store: Store) -> None:
    experiment = moody(make_experiment)
    run_plan(experiment, name="lamps", store=store)
    MoodyEngine.asked.clear()
    run_plan(experiment, name="lamps", store=store)
    resumed = list(MoodyEngine.asked)

    run_plan(experiment, name="lamps", store=store, options=Options(fresh=True))

    assert resumed == []
    assert sum(len(prompts) == 1 for prompts in MoodyEngine.asked) == 16


def test_a_server_with_a_price_is_not_asked_again(make_experiment: Maker, store: Store) -> None:
    experiment = make_experiment()
    work = run_of(experiment, store)
    seen = answered(work, work.plan.baselines[0], experiment.task, Split.DEV, Round())
    paid = replace(work.plan.baselines[0], model=Endpoint("http://127.0.0.1:9", "big", price_in=1.0, price_out=2.0))

    (floor,) = noise_floor(work, paid, replace(seen, system=paid))

    assert (floor.floor, floor.reruns) == (0.0, ())
    assert floor.sentence == "The noise of exact_match was not measured: each answer of big costs money."
    assert noise_stages(work, paid, seen) == ()


def test_a_local_model_is_asked_in_the_other_dtype_too(
    make_experiment: Maker, store: Store, tiny_model: Any, lamps: Any
) -> None:
    model = Model(str(tiny_model), dtype="float32")
    task = lamps.with_rows(Split.DEV, lamps.samples(Split.DEV)[:5])
    experiment = make_experiment(task=task, metrics=[Perplexity()], go_if=[Gain(Perplexity(), at_least=0.1)])

    (floor,) = floors(replace(experiment, model=model, recipes=[ScriptedTuning()]), store)

    circumstances = {again.circumstance: again for again in floor.reruns}
    assert list(circumstances) == ["in reversed order", "one at a time", "in bfloat16"]
    assert abs(circumstances["one at a time"].mean) < 0.01
    assert circumstances["in bfloat16"].spread > circumstances["one at a time"].spread
    assert floor.floor > 0


def test_the_same_system_twice_is_never_go(make_experiment: Maker, store: Store) -> None:
    for base in (0.0, 0.5, 1.0):
        experiment = make_experiment(base=base, tuned=base, go_if=[Gain(ExactMatch(), at_least=0.0)])
        outcome = run_plan(experiment, name=f"twice-{base:g}", store=store)

        assert outcome.decision.verdict.value in ("NO_GO", "INCONCLUSIVE", "INVALID")
