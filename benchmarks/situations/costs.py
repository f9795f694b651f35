"""What a verdict costs, and what it must not gain by asking more often."""

from dataclasses import replace
from pathlib import Path

from benchmarks.situations.situation import Got, Situation, decide_once, once, one_after_another
from benchmarks.situations.world import scripted, world
from harness import RAG, BreakEven, Costs, ExactMatch, Experiment, Gain, Passage, Preference, Sampling, Split, ZeroShot
from harness.inference.scripted import ScriptedTuning

_GROUP = "Costs, repeats and stopping early"
_PRICES = Costs(training_hour=3.0, serving_hour=3.0)


def _paid_back(*, seconds: float) -> Experiment:
    """The baseline's model takes `seconds` for an answer, the tuned one a millisecond; training takes some as well."""
    built = world(0.3, 0.8)
    slow = replace(scripted(built.task, built.knowledge), name="slow", seconds_per_answer=seconds)
    fast = replace(scripted(built.task, built.knowledge), seconds_per_answer=0.001)
    return built.experiment(
        model=fast,
        baselines=[ZeroShot(model=slow)],
        go_if=[Gain(ExactMatch(), at_least=0.05), BreakEven(requests=1_000_000)],
        costs=_PRICES,
    )


def _drawn() -> Experiment:
    experiment = world(0.3, 0.8).experiment()
    return replace(experiment, sampling=Sampling(temperature=0.7, repeats=3))


def _early(base: float, tuned: float) -> Experiment:
    return world(base, tuned, holdout=600).experiment(stop_early=True)


def _votes_missing(folder: Path) -> Got:
    """People voted on all holdout samples but one."""
    built = world(0.3, 0.8)
    samples = built.task.samples(Split.HOLDOUT)
    votes = folder / "votes.csv"
    rows = [f"{sample.id},tuned" for sample in samples[1:]]
    votes.write_text("\n".join(["sample_id,winner", *rows]), encoding="utf-8")
    preference = Preference(votes=votes)
    return decide_once(
        built.experiment(metrics=[ExactMatch(), preference], go_if=[Gain(preference, at_least=0.05)]), folder
    )


def _reworded() -> list[tuple[str, Experiment]]:
    """The same narrow gain under other words, after a look at the same samples."""
    built = world(0.5, 0.53)
    any_gain = [Gain(ExactMatch(), at_least=0.0)]
    first = built.experiment(go_if=any_gain, recipes=[ScriptedTuning(name="first", learn=0.9)])
    other = replace(built, task=replace(built.task, wording="Name the colour of"))
    return [("first", first), ("second", other.experiment(go_if=any_gain))]


def _nothing_found() -> Experiment:
    """The passages share no word with any question, so that retrieval is the plain prompt under another name."""
    built = world(0.3, 0.8)
    passages = tuple(Passage(f"p{place}", f"琥珀色 {place}", None) for place in range(5))
    task = replace(built.task, passages=passages)
    return replace(built, task=task).experiment(baselines=[ZeroShot(), RAG(passages=2)])


def _wrong_and_cheap() -> Experiment:
    """The tuned model answers in a third of the time, and wrongly."""
    built = world(0.65, 0.0)
    slow = replace(scripted(built.task, built.knowledge), name="slow", seconds_per_answer=0.003)
    fast = replace(scripted(built.task, built.knowledge), seconds_per_answer=0.001)
    return built.experiment(
        model=fast,
        baselines=[ZeroShot(model=slow)],
        go_if=[BreakEven(requests=1_000_000)],
        costs=_PRICES,
    )


SITUATIONS = (
    Situation(
        group=_GROUP,
        name="pays for itself",
        planted="30 % to 80 %, and an answer takes a third of the time",
        expected="GO",
        says="1 more criterion is met",
        play=once(lambda: _paid_back(seconds=0.003)),
    ),
    Situation(
        group=_GROUP,
        name="never pays for itself",
        planted="30 % to 80 %, and an answer takes as long as before",
        expected="NO_GO",
        says="never pays for itself",
        play=once(lambda: _paid_back(seconds=0.0005)),
    ),
    Situation(
        group=_GROUP,
        name="cheap and wrong",
        planted="an answer takes a third of the time; right are 65 % before tuning and none after",
        expected="NO_GO",
        says="nothing is paid back by worse answers",
        play=once(_wrong_and_cheap),
    ),
    Situation(
        group=_GROUP,
        name="a retriever that returns nothing",
        planted="30 % to 80 %, beside retrieval from passages that share no word with any question",
        expected="INVALID",
        says="found nothing for 60 of 60",
        play=once(_nothing_found),
    ),
    Situation(
        group=_GROUP,
        name="three answers a sample",
        planted="each sample is asked three times: still 200 samples",
        expected="GO",
        says="n = 200",
        play=once(_drawn),
    ),
    Situation(
        group=_GROUP,
        name="stopped early, clear gain",
        planted="30 % to 80 % of 600, asked in random order until the confidence sequence decides",
        expected="GO",
        says="95 % interval shows",
        play=once(lambda: _early(0.3, 0.8)),
    ),
    Situation(
        group=_GROUP,
        name="stopped early, loss",
        planted="60 % to 30 % of 600, in random order",
        expected="NO_GO",
        says="misses a rise",
        play=once(lambda: _early(0.6, 0.3)),
    ),
    Situation(
        group=_GROUP,
        name="not stopped early, small gain",
        planted="50 % to 56 % of 600: the sequence never decides and all are asked",
        expected="INCONCLUSIVE",
        says="n = 600",
        play=once(lambda: _early(0.5, 0.56)),
    ),
    Situation(
        group=_GROUP,
        name="unequal sample sets",
        planted="people's votes lack one holdout sample",
        expected="error",
        says="no vote on 1 of 200",
        play=_votes_missing,
    ),
    Situation(
        group=_GROUP,
        name="same samples, other words",
        planted="6 won, none lost of 200, after another look at these samples under another prompt",
        expected="INCONCLUSIVE",
        says="97.5 % interval",
        play=one_after_another(_reworded),
    ),
)
