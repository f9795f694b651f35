"""A search over a recipe's fields."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InvalidExperiment, StageFailed
from harness.recipes import SFT, LoRA
from harness.training import search
from harness.training.sft import fit
from harness.types.jobs import TuneJob

Jobs = Callable[..., TuneJob]
_SPACE = {"learning_rate": (1e-6, 2e-2), "rank": (2, 4)}


def trials_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_better_of_two_rates_is_found_and_kept(job: Jobs, heard) -> None:
    recipe = SFT(
        adapter=LoRA(rank=4), epochs=1, evaluate_every=3, trials=4, search={"learning_rate": (1e-9, 1e-2, 1e-8)}
    )
    made = job(recipe)
    result = fit(made, progress=heard)

    rows = trials_of(made.folder)
    by_value = min((row for row in rows if row["state"] == "complete"), key=lambda row: float(row["value"]))
    assert by_value["learning_rate"] == "0.01"
    assert result.environment["chosen_learning_rate"] == 0.01
    assert result.environment["learning_rate"] == 0.01
    assert result.environment["trials"] == 3  # there is nothing else to try
    dev = [point.value for point in result.log if point.name == "dev_loss"]
    assert min(dev) == float(by_value["value"])
    assert sorted(path.name for path in made.folder.iterdir()) == ["adapter", "trials.csv"]
    check = {check.name: check for check in result.checks}["search"]
    assert check.status == "warning"
    assert "judged on DEV only" in check.detail
    assert "learning_rate=0.01 is the highest that was searched: a wider range may hold a better one" in check.detail
    assert len(check.items) == 3
    assert result.tokens == sum(int(row["tokens"]) for row in rows)


def test_a_killed_search_goes_on_and_ends_as_an_undisturbed_one(job: Jobs, heard, tmp_path: Path, monkeypatch) -> None:
    recipe = SFT(adapter=LoRA(rank=4), epochs=1, trials=3, search=_SPACE)
    whole = fit(job(recipe, folder=tmp_path / "whole"), progress=heard)

    original, stored = search._store, []

    def killed(folder, one):
        original(folder, one)
        stored.append(one.number)
        if len(stored) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(search, "_store", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(job(recipe, folder=tmp_path / "killed"), progress=heard)
    monkeypatch.setattr(search, "_store", original)
    again = fit(job(recipe, folder=tmp_path / "killed"), progress=heard)

    # The same seed proposes the same recipes, and finds the same values.
    tried = trials_of(tmp_path / "killed")
    seconds = [float(row.pop("seconds")) for row in tried]
    assert tried == [row for row in trials_of(tmp_path / "whole") if row.pop("seconds")]
    # What two trials took before the kill is not forgotten.
    assert again.seconds_before == pytest.approx(sum(seconds[:2]), rel=0.5)
    assert min(seconds) > 0
    assert whole.seconds_before == 0
    assert [point for point in again.log if point.name == "dev_loss"] == [
        point for point in whole.log if point.name == "dev_loss"
    ]


def test_a_trial_that_diverges_is_counted(job: Jobs, heard) -> None:
    recipe = SFT(
        adapter=LoRA(rank=4), epochs=2, evaluate_every=3, trials=8, search={"learning_rate": (1e-2, 1e3, 1e-9, 2e-2)}
    )
    made = job(recipe)
    result = fit(made, progress=heard)

    rows = trials_of(made.folder)
    assert {row["state"] for row in rows if row["learning_rate"] == "1000.0"} <= {"failed"}
    assert all("learning rate 1000" in row["note"] for row in rows if row["state"] == "failed")
    assert result.environment["chosen_learning_rate"] in (0.01, 0.02)
    assert result.environment["trials_pruned"] == sum(row["state"] == "pruned" for row in rows)


def test_a_search_without_dev_examples_has_nothing_to_judge_by(job: Jobs, heard) -> None:
    with pytest.raises(StageFailed, match="a search is judged on dev examples, and there are none"):
        fit(job(SFT(epochs=1, trials=2, search=_SPACE), dev=()), progress=heard)


@pytest.mark.parametrize(
    ("fields", "fact"),
    [
        ({"search": {"width": (1, 2)}}, "'width' is no field of the recipe or its adapter; give one of alpha, "),
        ({"search": {"rank": (8,)}}, r"rank has 1 value\(s\) to try"),
        (
            {"search": {"learning_rate": (1e-3, 1e-5)}},
            r"is no range, which is \(lowest, highest\): write \(1e-05, 0.001\), or a list, \[0.001, 1e-05\]",
        ),
        ({"search": {}}, "tries nothing"),
        ({"search": {"rank": 8}}, r"is neither a list of values to choose from, such as \[4, 8\], nor a tuple"),
        ({"search": {"rank": {4, 8}}}, r"rank=\{8, 4\} is neither a list of values to choose from"),
        ({"search": {"rank": {4: 1, 8: 1}}}, "is neither a list of values to choose from"),
        ({"search": {"rank": iter([4, 8])}}, "is neither a list of values to choose from"),
        ({"search": {"schedule": "cosine"}}, "is neither a list of values to choose from"),
        ({"search": {"rank": [4, 8, 4]}}, "rank has 4 more than once"),
        ({"search": _SPACE, "trials": 1}, "one trial compares nothing"),
        ({"search": _SPACE, "learning_rate": "find"}, "give one of the two"),
        ({"trials": 4}, "there is nothing to try"),
    ],
)
def test_a_search_that_cannot_be_is_refused(fields: dict[str, object], fact: str) -> None:
    with pytest.raises(InvalidExperiment, match=fact):
        SFT(**fields)  # type: ignore[arg-type]


def test_two_searches_never_share_a_name() -> None:
    names = {SFT(search=_SPACE).name, SFT(search=_SPACE, trials=4).name, SFT(search={"rank": (2, 4)}).name, SFT().name}
    assert len(names) == 4
    assert json.dumps(sorted(names))
    assert hash(SFT(search=_SPACE)) == hash(SFT(search=dict(_SPACE)))
