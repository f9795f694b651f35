"""The home commands: what is asked is new in the holdout, and each reference is what the grammar itself understands."""

import json
from collections import Counter

import pytest
from hassil.recognize import recognize_best

from harness.errors import InvalidExperiment
from harness.types.protocols import HasCorpus, Task
from harness.types.samples import Sample, Split
from tasks.home_commands import HomeCommands
from tasks.home_commands.build import build_rows, load_grammar, open_lists
from tasks.home_commands.homes import HOMES
from tasks.home_commands.schema import Language
from tasks.stored_rows import package_folder

LANGUAGES: tuple[Language, ...] = ("en", "zh")


@pytest.fixture(params=LANGUAGES)
def task(request: pytest.FixtureRequest) -> HomeCommands:
    return HomeCommands(language=request.param)


def test_it_is_a_task_with_a_corpus(task: HomeCommands) -> None:
    assert isinstance(task, Task)
    assert isinstance(task, HasCorpus)


def test_the_splits_have_their_sizes() -> None:
    sizes = {
        language: {split.value: len(HomeCommands(language).samples(split)) for split in Split} for language in LANGUAGES
    }
    assert sizes == {
        "en": {"train": 600, "dev": 48, "holdout": 204},
        "zh": {"train": 600, "dev": 42, "holdout": 220},
    }


@pytest.mark.parametrize("one", [Split.TRAIN, Split.DEV])
def test_no_group_text_or_id_is_in_the_holdout_too(task: HomeCommands, one: Split) -> None:
    ours, holdout = task.samples(one), task.samples(Split.HOLDOUT)
    for field in ("group", "input", "id"):
        assert {getattr(sample, field) for sample in ours}.isdisjoint(getattr(sample, field) for sample in holdout)


def test_no_text_is_asked_twice(task: HomeCommands) -> None:
    texts = Counter(sample.input for split in Split for sample in task.samples(split))
    assert [text for text, times in texts.items() if times > 1] == []


def test_every_intent_of_the_holdout_is_taught(task: HomeCommands) -> None:
    taught, asked = (
        {sample.tags["intent"] for sample in task.samples(split)} for split in (Split.TRAIN, Split.HOLDOUT)
    )
    assert asked <= taught


def test_no_name_of_a_home_means_two_things() -> None:
    for home in HOMES.values():
        devices = [name for names in home.devices.values() for name in names]
        names = Counter((*home.areas, *home.floors, *devices))
        assert [name for name, times in names.items() if times > 1] == []


def test_every_reference_reads_as_itself(task: HomeCommands) -> None:
    for split in Split:
        for sample in task.samples(split):
            assert task.read(sample.reference) == json.loads(sample.reference)


@pytest.mark.parametrize("split", [Split.DEV, Split.HOLDOUT])
def test_the_recogniser_of_the_grammar_gives_every_reference(task: HomeCommands, split: Split) -> None:
    grammar = load_grammar(task.language, package_folder("home_assistant_intents"))
    lists = open_lists(HOMES[task.language])

    def understood(sample: Sample) -> object:
        found = recognize_best(sample.input, grammar, slot_lists=lists, best_slot_name="name")
        slots = {name: entity.value for name, entity in found.entities.items()} if found else {}
        return task.read(json.dumps({"intent": found.intent.name if found else "", "slots": slots}))

    samples = task.samples(split)
    assert {s.input: understood(s) for s in samples} == {s.input: task.read(s.reference) for s in samples}


def test_the_corpus_is_train_and_nothing_else(task: HomeCommands) -> None:
    assert [passage.sample_id for passage in task.corpus()] == [sample.id for sample in task.samples(Split.TRAIN)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"slots": {"b": " Den ", "a": 5.0}, "intent": "X "}', {"intent": "X", "slots": {"a": 5, "b": "den"}}),
        ('Sure: {"intent":"X","slots":{}} and {"intent":"Y"}', {"intent": "X", "slots": {}}),
        ('{"intent":"X"}', {"intent": "X", "slots": {}}),
        ('{"intent":"X","slots":{"a":"5"}}', {"intent": "X", "slots": {"a": "5"}}),
        ('{"intent":"X","slots":["a"]}', None),
        ('{"intent":7,"slots":{}}', None),
        ('{"intent":"X","slots":{"a":', None),
        ("the lights are on", None),
        ("", None),
    ],
)
def test_an_answer_is_read(text: str, value: object) -> None:
    assert HomeCommands().read(text) == value


def test_prompts_fit_the_context_of_the_default_model(task: HomeCommands) -> None:
    # A byte is at most one token of a byte-level tokenizer, so this bound holds without loading one.
    longest = max(
        sum(len(message.content.encode()) for message in task.prompt(sample))
        for split in Split
        for sample in task.samples(split)
    )
    assert longest + task.answer_tokens < 2048


def test_building_is_deterministic() -> None:
    package = package_folder("home_assistant_intents")
    assert list(build_rows("en", package)) == list(build_rows("en", package))


def test_another_language_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match="en, zh"):
        HomeCommands(language="xx")  # type: ignore[arg-type]
