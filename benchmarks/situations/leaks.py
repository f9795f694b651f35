"""Holdout samples that can be known beforehand."""

from dataclasses import replace

from benchmarks.situations.situation import Situation, once
from benchmarks.situations.world import Knowledge, Words, World, words_task
from harness import RAG, Experiment, Passage, Sample, Split, ZeroShot
from harness.inference.scripted import Scripted

_GROUP = "Leaks"
_LEAKED = 40


def _experiment(task: Words, **changes: object) -> Experiment:
    return World(task).experiment(**changes)


def _planted_in_train(sample: Sample) -> Experiment:
    task = words_task()
    return _experiment(task.with_rows(Split.TRAIN, (*task.samples(Split.TRAIN), replace(sample, id="planted"))))


def _copy() -> Experiment:
    return _planted_in_train(words_task().samples(Split.HOLDOUT)[17])


def _shouted() -> Experiment:
    sample = words_task().samples(Split.HOLDOUT)[17]
    return _planted_in_train(replace(sample, input=f"{sample.input.upper()}!!"))


def _mistyped() -> Experiment:
    sample = words_task().samples(Split.HOLDOUT)[17]
    words = sample.input.split()
    return _planted_in_train(replace(sample, input=" ".join([words[0] + "e", *words[1:]])))


def _copy_in_dev() -> Experiment:
    task = words_task()
    sample = replace(task.samples(Split.HOLDOUT)[3], id="planted")
    return _experiment(task.with_rows(Split.DEV, (*task.samples(Split.DEV), sample)))


def _same_id() -> Experiment:
    task = words_task()
    twice = replace(task.samples(Split.TRAIN)[0], id="holdout-5")
    return _experiment(task.with_rows(Split.TRAIN, (twice, *task.samples(Split.TRAIN)[1:])))


def _group() -> Experiment:
    """One customer's messages on both sides."""
    task = words_task()
    for split in (Split.TRAIN, Split.HOLDOUT):
        task = task.with_rows(
            split,
            [
                replace(s, group="customer 7" if place < 3 else f"{split.value} {place}")
                for place, s in enumerate(task.samples(split))
            ],
        )
    return _experiment(task)


def _corpus(passage: Passage) -> Experiment:
    task = words_task()
    known = [Passage(s.id, f"{s.input}: {s.reference}", s.id) for s in task.samples(Split.TRAIN)]
    return _experiment(replace(task, passages=(*known, passage)), baselines=[ZeroShot(), RAG(passages=2)])


def _answer_in_corpus() -> Experiment:
    sample = words_task().samples(Split.HOLDOUT)[9]
    return _corpus(Passage("manual", f"{sample.input} is {sample.reference} since last year", None))


def _passage_of_a_holdout_sample() -> Experiment:
    sample = words_task().samples(Split.HOLDOUT)[9]
    return _corpus(Passage("made", "a summary in other words", sample.id))


def _leaky(tuned_elsewhere: float, *, leaks: str) -> Experiment:
    """Forty holdout samples are in the training data, and the tuned model knows them all."""
    task = words_task(240)
    stolen = task.samples(Split.HOLDOUT)[:_LEAKED]
    copies = [replace(sample, id=f"copy-{sample.id}") for sample in stolen]
    task = task.with_rows(Split.TRAIN, (*task.samples(Split.TRAIN), *copies))
    experiment = World(task, Knowledge(base=0.4, tuned=tuned_elsewhere)).experiment(leaks=leaks)
    assert isinstance(experiment.model, Scripted)
    asked = {task.prompt(sample)[-1].content: sample.reference for sample in stolen}
    model = replace(experiment.model, after_tuning=tuple((dict(experiment.model.after_tuning) | asked).items()))
    return replace(experiment, model=model)


def _situation(name: str, planted: str, expected: str, says: str, make: object) -> Situation:
    return Situation(group=_GROUP, name=name, planted=planted, expected=expected, says=says, play=once(make))  # type: ignore[arg-type]


SITUATIONS = (
    _situation("copy in train", "one holdout sample is a train sample", "INVALID", "holdout-17", _copy),
    _situation(
        "copy in capitals", "the same with capitals and two exclamation marks", "INVALID", "holdout-17", _shouted
    ),
    _situation("copy with a typo", "the same with one letter more", "INVALID", "holdout-17", _mistyped),
    _situation("copy in dev", "one holdout sample is a dev sample", "INVALID", "holdout-3", _copy_in_dev),
    _situation("one id twice", "a train sample bears the id of a holdout sample", "error", "holdout-5", _same_id),
    _situation(
        "one group on both sides", "one customer's messages in train and holdout", "INVALID", "customer 7", _group
    ),
    _situation(
        "answer in the corpus",
        "a retrievable passage holds a holdout input",
        "INVALID",
        "passage manual",
        _answer_in_corpus,
    ),
    _situation(
        "passage of a holdout sample",
        "a passage says that it was made from a holdout sample",
        "INVALID",
        "passage made",
        _passage_of_a_holdout_sample,
    ),
    _situation(
        "leak refused",
        "40 of 240 holdout samples are in train, and all of the gain is theirs",
        "INVALID",
        "same text",
        lambda: _leaky(0.4, leaks="refuse"),
    ),
    _situation(
        "leak left out, nothing left",
        'the same, with leaks="exclude"',
        "NO_GO",
        "n = 200",
        lambda: _leaky(0.4, leaks="exclude"),
    ),
    _situation(
        "leak left out, gain left",
        '40 of 240 leak, and the gain of 40 points is not theirs alone, with leaks="exclude"',
        "GO",
        "n = 200",
        lambda: _leaky(0.8, leaks="exclude"),
    ),
    _situation(
        "leak taken out of train",
        'the same, with leaks="drop_train": the copies leave the training data, and all are judged',
        "GO",
        "n = 240",
        lambda: _leaky(0.8, leaks="drop_train"),
    ),
    _situation(
        "leak refused, with a way out",
        "40 of 240 holdout samples are in train: the reason names both ways out",
        "INVALID",
        'leaks="drop_train"',
        lambda: _leaky(0.8, leaks="refuse"),
    ),
)
