"""What recipes of preferences are taught: their file's rows or the task's own, put as they will be served."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness import DPO, KTO, ORPO, SFT, InvalidData, Message, RewardModel, Sample, Split
from harness.runner.preference_data import PreferencePairs, pairs_of, taught, votes_of
from harness.types.protocols import Recipe
from harness.types.samples import Messages, Pair, Vote


def asked(split: Split, number: int) -> Sample:
    return Sample(
        id=f"{split.value}-{number}",
        input=f"{split.value} question {number * 7919}",
        reference="good",
        rejected="bad" if number % 2 == 0 else None,
        tags={"shelf": str(number)},
    )


@dataclass(frozen=True)
class Shop:
    """A task whose prompt reads a sample's tag."""

    name: str = "shop"

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return tuple(asked(split, number) for number in range(4))

    def prompt(self, sample: Sample) -> Messages:
        return (Message("user", f"{sample.tags['shelf']}: {sample.input}"),)

    def read(self, text: str) -> object | None:
        return text


SHOP = Shop()


def teach(recipe: Recipe, task: Shop = SHOP) -> PreferencePairs:
    return taught(task, recipe, task.prompt, task.samples(Split.TRAIN), task.samples(Split.DEV))


def written(path: Path, *rows: Mapping[str, object]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("recipe", [DPO(), ORPO(), RewardModel()], ids=lambda recipe: recipe.method)
def test_without_a_file_pairs_are_the_samples_that_have_a_worse_answer(recipe: Recipe) -> None:
    found = teach(recipe)

    assert found.pairs == (
        Pair(id="train-0", prompt=(Message("user", "0: train question 0"),), chosen="good", rejected="bad"),
        Pair(id="train-2", prompt=(Message("user", "2: train question 15838"),), chosen="good", rejected="bad"),
    )
    assert [pair.id for pair in found.dev_pairs] == ["dev-0", "dev-2"]
    assert (found.votes, found.checks) == ((), ())


def test_without_a_file_votes_are_both_answers() -> None:
    found = teach(KTO())

    prompt = (Message("user", "0: train question 0"),)
    assert found.votes[:2] == (
        Vote(id="train-0 chosen", prompt=prompt, answer="good", good=True),
        Vote(id="train-0 rejected", prompt=prompt, answer="bad", good=False),
    )
    assert len(found.dev_votes) == 4


def test_a_recipe_of_answers_is_taught_no_preferences() -> None:
    assert teach(SFT()) == PreferencePairs()


def test_a_files_prompts_are_put_as_the_task_puts_them(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "As it is."}]
    file = written(
        tmp_path / "p.jsonl",
        {"id": "train-1", "prompt": "train question 7919", "chosen": "a", "rejected": "b"},
        {"prompt": turns, "chosen": "c", "rejected": "d"},
    )

    found = teach(DPO(pairs=file))

    assert {pair.chosen: pair.prompt for pair in (*found.pairs, *found.dev_pairs)} == {
        "a": (Message("user", "1: train question 7919"),),
        "c": (Message("user", "As it is."),),
    }
    assert found.checks[0].status == "ok"


def test_a_question_that_the_task_cannot_put_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "p.jsonl", {"prompt": "another", "chosen": "a", "rejected": "b"})

    with pytest.raises(InvalidData, match=r"p\.jsonl, row 1: the task cannot put the question 'another' \(KeyError"):
        teach(DPO(pairs=file))


def test_a_tenth_of_the_prompts_is_held_out_and_none_is_in_both(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": f"question {number}"}] for number in range(400)]
    rows = [{"prompt": turn, "chosen": text, "rejected": "b"} for turn in turns for text in ("a", "c")]
    recipe = DPO(pairs=written(tmp_path / "p.jsonl", *rows))

    train, dev = (pairs_of(SHOP, recipe, SHOP.prompt, split, ()) for split in (Split.TRAIN, Split.DEV))

    assert len(train) + len(dev) == 800
    assert 50 <= len(dev) <= 110
    assert not {pair.prompt for pair in train} & {pair.prompt for pair in dev}


def test_a_file_of_votes_or_of_pairs_teaches_kto(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi."}]
    votes = written(tmp_path / "v.jsonl", {"prompt": turns, "completion": "a", "label": False})
    pairs = written(tmp_path / "p.jsonl", {"prompt": turns, "chosen": "a", "rejected": "b"})

    def said(file: str) -> list[tuple[str, bool]]:
        found = [votes_of(SHOP, KTO(votes=file), SHOP.prompt, split, ()) for split in (Split.TRAIN, Split.DEV)]
        return [(vote.answer, vote.good) for part in found for vote in part]

    assert said(votes) == [("a", False)]
    assert said(pairs) == [("a", True), ("b", False)]


@pytest.mark.parametrize(("split", "status"), [(Split.HOLDOUT, "invalid"), (Split.DEV, "warning"), (Split.TRAIN, "ok")])
def test_a_file_that_asks_what_a_split_asks_is_found(tmp_path: Path, split: Split, status: str) -> None:
    task = replace(SHOP)
    sample = task.samples(split)[1]
    row = {"id": sample.id, "prompt": sample.input, "chosen": "a", "rejected": "b", "source": "web"}
    file = written(tmp_path / "p.jsonl", row)

    check, read, not_read = teach(DPO(pairs=file), task).checks

    assert (check.name, check.status) == ("preference prompts across splits", status)
    assert read.detail == "1 rows 'prompt' -> 'chosen' over 'rejected'"
    assert (not_read.name, not_read.detail) == (f"columns not read of {file}", "no reader uses 'source'")
