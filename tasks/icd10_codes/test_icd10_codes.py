"""The ICD-10-CM look-up: the book holds every answer and no question."""

from collections import Counter

import pytest

from harness.types.protocols import HasCorpus, Task
from harness.types.samples import Split
from tasks.icd10_codes import Icd10Codes
from tasks.icd10_codes.build import MOST_ALIKE, TextIndex, build_rows, normal
from tasks.stored_rows import package_folder

TASK = Icd10Codes()


def test_it_is_a_task_with_a_corpus() -> None:
    assert isinstance(TASK, Task)
    assert isinstance(TASK, HasCorpus)


def test_the_splits_and_the_book_have_their_sizes() -> None:
    sizes = {split.value: len(TASK.samples(split)) for split in Split} | {"book": len(TASK.corpus())}
    assert sizes == {"train": 1000, "dev": 64, "holdout": 208, "book": 867}


@pytest.mark.parametrize("one", [Split.TRAIN, Split.DEV])
def test_no_group_text_or_id_is_in_the_holdout_too(one: Split) -> None:
    ours, holdout = TASK.samples(one), TASK.samples(Split.HOLDOUT)
    for field in ("group", "input", "id"):
        assert {getattr(sample, field) for sample in ours}.isdisjoint(getattr(sample, field) for sample in holdout)


def test_no_text_is_asked_twice() -> None:
    texts = Counter(normal(sample.input) for split in Split for sample in TASK.samples(split))
    assert [text for text, times in texts.items() if times > 1] == []


def test_every_answer_stands_in_the_book_and_is_taught() -> None:
    book = {passage.id for passage in TASK.corpus()}
    taught = {sample.reference for sample in TASK.samples(Split.TRAIN)}
    for split in (Split.DEV, Split.HOLDOUT):
        asked = {sample.reference for sample in TASK.samples(split)}
        assert asked <= book
        assert asked <= taught


@pytest.mark.parametrize("split", [Split.DEV, Split.HOLDOUT])
def test_no_question_is_nearly_a_text_of_the_book_or_of_train(split: Split) -> None:
    texts = TextIndex([sample.input for sample in TASK.samples(Split.TRAIN)])
    assert {s.input for s in TASK.samples(split) if texts.most_alike(s.input) > MOST_ALIKE} == set()


def test_every_reference_reads_as_itself() -> None:
    for split in Split:
        for sample in TASK.samples(split):
            assert TASK.read(sample.reference) == sample.reference


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A00.0", "A00.0"),
        ("The code is k22.6.", "K22.6"),
        ("J45.909: Unspecified asthma", "J45.909"),
        ("B99 or A00.1", "B99"),
        ("ICD-10-CM", "ICD-10-CM"),
        ("no code ", "no"),
        ("one two three four five six seven A00.0", "A00.0"),
        ("one two three four five six seven eight A00.0", "one"),
        ("", None),
    ],
)
def test_an_answer_is_read(text: str, value: object) -> None:
    assert TASK.read(text) == value


def test_prompts_fit_the_context_of_the_default_model() -> None:
    # A byte is at most one token of a byte-level tokenizer, so this bound holds without loading one.
    longest = max(
        sum(len(message.content.encode()) for message in TASK.prompt(sample))
        for split in Split
        for sample in TASK.samples(split)
    )
    assert longest + TASK.answer_tokens < 2048


def test_building_is_deterministic() -> None:
    package = package_folder("simple_icd_10_cm")
    assert list(build_rows(package)) == list(build_rows(package))
