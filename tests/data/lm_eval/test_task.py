"""LmEvalTask as a task: its splits, its prompts, its key, and what it refuses."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import FewShot, InvalidData, InvalidExperiment, LmEvalTask, MissingPackage, Sample, Split
from harness.inference.lm_eval_requests import ask
from harness.inference.scripted import Scripted, open_engine
from harness.prompting.messages import with_last_user
from harness.runner.context import SilentProgress


def ids(task: LmEvalTask) -> dict[str, list[str]]:
    return {split.value: [sample.id for sample in task.samples(split)] for split in Split}


def test_splits_are_those_of_the_task(folder: Path) -> None:
    found = ids(LmEvalTask("lamps_choice", include_path=folder, limit=2))

    assert len(found["train"]) == 12
    assert found["dev"] == ["validation-0", "validation-1"]
    assert found["holdout"] == ["test-0", "test-1"]


def test_without_validation_dev_is_a_share_of_train(tmp_path: Path, write: Callable[..., Path]) -> None:
    found = ids(LmEvalTask("lamps_choice", include_path=write(tmp_path, splits=("train", "test"))))

    assert len(found["holdout"]) == 8
    assert len(found["dev"]) == 2
    assert sorted(found["train"] + found["dev"]) == sorted(f"train-{place}" for place in range(12))


def test_of_one_split_dev_is_a_share_unless_a_guard_wants_it_whole(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(tmp_path, splits=("test",))
    cut, whole = (ids(LmEvalTask("lamps_choice", include_path=folder, dev_share=share)) for share in (0.25, 0))

    assert (len(cut["train"]), len(cut["dev"]), len(cut["holdout"])) == (0, 2, 6)
    assert not set(cut["dev"]) & set(cut["holdout"])
    assert (whole["dev"], whole["holdout"]) == ([], [f"test-{place}" for place in range(8)])


def test_splits_can_be_named(folder: Path) -> None:
    task = LmEvalTask("lamps_choice", include_path=folder, train="test", dev="train", holdout="validation")

    assert [len(task.samples(split)) for split in Split] == [8, 12, 6]


def test_a_prompt_is_plain_text_and_its_reference_continues_it(folder: Path) -> None:
    task = LmEvalTask("lamps_choice", include_path=folder)
    sample = task.samples(Split.HOLDOUT)[0]
    question = "What of lamp 142542 in the hall, and why?"

    assert [(turn.role, turn.content, turn.verbatim) for turn in task.prompt(sample)] == [
        ("system", "Lamps of a house.\n\n", True),
        ("user", f"Question: {question}\nAnswer:", True),
    ]
    assert sample.reference == " dim the light"
    assert sample.input.splitlines()[:2] == [f"Question: {question}", "Answer:"]


def test_shots_of_a_strategy_are_written_as_lm_eval_writes_shots(folder: Path) -> None:
    task = LmEvalTask("lamps_choice", include_path=folder)
    sample = task.samples(Split.HOLDOUT)[0]
    text = "".join(turn.content for turn in FewShot(shots=1).messages(task, sample))

    assert text == (
        "Lamps of a house.\n\n"
        "Question: What of lamp 0 in the kitchen, and why?\nAnswer: on\n\n"
        "Question: What of lamp 142542 in the hall, and why?\nAnswer:"
    )


def test_no_training_prompt_shows_its_own_answer(folder: Path) -> None:
    task = LmEvalTask("lamps_answer", include_path=folder, num_fewshot=11)

    for sample in task.samples(Split.TRAIN):
        (turn,) = task.prompt(sample)
        assert turn.content.count(sample.input) == 1


def test_the_key_is_that_of_the_questions_not_of_the_metrics(tmp_path: Path, write: Callable[..., Path]) -> None:
    def key(**changed: object) -> str:
        folder = write(tmp_path, **changed)
        return LmEvalTask("lamps_choice", include_path=folder).content_key(Split.HOLDOUT)

    first = key()
    assert key() == first
    assert key(metric_list=[{"metric": "acc_mutual_info"}]) == first
    assert key(doc_to_choice="{{choices[:4]}}") != first


@pytest.mark.parametrize(
    ("name", "changed", "kind", "words"),
    [
        ("lamps", {}, InvalidExperiment, "group of 5 lm-eval tasks"),
        ("lamps_answer", {"unsafe_code": True}, InvalidExperiment, "runs code"),
        ("lamps_answer", {"doc_to_image": "question"}, InvalidExperiment, "images"),
        ("lamps_answer", {"test_split": "absent"}, InvalidData, "could not be loaded"),
        ("lamps_answer", {"num_fewshot": 0}, InvalidExperiment, "num_fewshot: 0, which is final"),
    ],
)
def test_what_cannot_be_given_is_refused(
    tmp_path: Path,
    write: Callable[..., Path],
    name: str,
    changed: dict[str, object],
    kind: type[Exception],
    words: str,
) -> None:
    task = LmEvalTask(name, include_path=write(tmp_path, **changed), num_fewshot=1)

    with pytest.raises(kind, match=words):
        task.samples(Split.HOLDOUT)


def test_a_metric_or_filter_that_the_task_lacks_is_named(folder: Path) -> None:
    task = LmEvalTask("lamps_answer", include_path=folder)

    with pytest.raises(InvalidExperiment, match="no metric 'bleu'; it has exact_match"):
        task.metric("bleu")
    with pytest.raises(InvalidExperiment, match="no filter 'last'; it has first-letter, whole"):
        task.metric("exact_match", filter="last").score(task.samples(Split.HOLDOUT)[0], _answer("x"))


def _answer(text: str):  # type: ignore[no-untyped-def]
    from harness import Answer

    return Answer(sample_id="test-0", text=text)


def test_loading_prints_nothing(
    tmp_path: Path,
    write: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    LmEvalTask("lamps_choice", include_path=write(tmp_path), num_fewshot=1).samples(Split.HOLDOUT)

    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_retrieval_keeps_a_plain_prompt_plain(folder: Path) -> None:
    task = LmEvalTask("lamps_answer", include_path=folder)
    turns = with_last_user(task.prompt(task.samples(Split.HOLDOUT)[0]), "Facts. {}".format, owner="test")

    assert [turn.verbatim for turn in turns] == [True]


def test_a_strange_sample_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidExperiment, match="is none of lm-eval task"):
        LmEvalTask("lamps_choice", include_path=folder).prompt(Sample(id="x", input="x", reference="x"))


def test_only_a_local_model_can_be_asked(folder: Path) -> None:
    task = LmEvalTask("lamps_choice", include_path=folder)
    engine = open_engine(Scripted(answers={}), progress=SilentProgress())

    with pytest.raises(InvalidExperiment, match="give a local model"):
        list(ask(task, engine, []))


def test_without_lm_eval_the_command_that_brings_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("lm_eval", "harness.data.lm_eval.documents"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)

    with pytest.raises(MissingPackage, match=r"^LmEvalTask\('lamps_choice'\) needs the package 'lm_eval.*pip install"):
        LmEvalTask("lamps_choice", include_path=folder).samples(Split.HOLDOUT)
