"""Several processes that share the training of a recipe."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from harness.errors import InvalidExperiment, MissingPackage, StageFailed
from harness.recipes import SFT, Full, LoRA, QLoRA
from harness.recipes.sft import Sharing
from harness.training.distributed.sharding import Seen, check_sharding, share
from harness.training.rows import IGNORED
from harness.training.sft import fit
from harness.types.jobs import TuneJob, TuneResult

Jobs = Callable[..., TuneJob]
LOW_RANK = SFT(adapter=LoRA(rank=4), epochs=2, learning_rate=1e-2, patience=None)
WHOLE = SFT(adapter=Full(), epochs=2, learning_rate=5e-3, patience=None)


def values(result: TuneResult, name: str) -> list[float]:
    return [point.value for point in result.log if point.name == name]


def odd(job: Jobs, recipe: SFT, **changed: object) -> TuneJob:
    """Return a job of 17 rows: the last batch of an epoch has one, so that one process has nothing to learn of it."""
    made = job(recipe, **changed)
    return replace(made, train=made.train[:17])


def agree(job: Jobs, heard: Any, recipe: SFT, strategy: Sharing, tmp_path: Path, *, wrapper: str) -> None:
    alone = fit(odd(job, recipe, folder=tmp_path / "alone"), progress=heard)
    together = fit(
        odd(job, replace(recipe, devices=2, strategy=strategy), folder=tmp_path / "together"), progress=heard
    )

    for name in ("loss", "dev_loss", "grad_norm", "learning_rate", "tokens"):
        assert values(together, name) == pytest.approx(values(alone, name), rel=2e-4), name
    assert together.environment["world_size"] == 2
    assert together.environment["wrapper"] == wrapper
    assert together.environment["backend"] == "gloo"
    assert together.tokens == alone.tokens
    assert {check.name: check.status for check in together.checks}["saved system answers as trained"] == "ok"
    ours, theirs = (load_file(next(result.folder.glob("*.safetensors"))) for result in (together, alone))
    assert ours.keys() == theirs.keys()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-3


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(job: Jobs, heard, tmp_path: Path) -> None:
    agree(job, heard, LOW_RANK, "ddp", tmp_path, wrapper="DistributedDataParallel")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "recipe", "wrapper"),
    [
        ("ddp", WHOLE, "DistributedDataParallel"),
        ("fsdp2", LOW_RANK, "FSDPModule"),
        ("fsdp2", WHOLE, "FSDPModule"),
        ("zero2", LOW_RANK, "DeepSpeedEngine, stage 2"),
        ("zero3", LOW_RANK, "DeepSpeedEngine, stage 3"),
        ("zero3", WHOLE, "DeepSpeedEngine, stage 3"),
    ],
    ids=lambda value: value.adapter.name if isinstance(value, SFT) else str(value),
)
def test_each_strategy_has_the_losses_of_one_process(
    job: Jobs, heard, tmp_path: Path, strategy: Sharing, recipe: SFT, wrapper: str
) -> None:
    if strategy.startswith("zero"):
        pytest.importorskip("deepspeed")
    agree(job, heard, recipe, strategy, tmp_path, wrapper=wrapper)


class Interrupted(Exception):
    """What a user does who presses Ctrl-C."""


class Impatient:
    """A progress whose meter is interrupted at the fourth step."""

    def __init__(self, heard: Any) -> None:
        self._heard, self._steps = heard, 0

    def say(self, line: str) -> None:
        self._heard.say(line)

    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Any:
        self._heard.meters.append((label, total, done))
        return self

    def __enter__(self) -> "Impatient":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self._steps += amount
        if self._steps == 4:
            raise Interrupted


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "zero2"])
def test_an_interrupted_run_goes_on_and_ends_as_an_undisturbed_one(
    job: Jobs, heard, tmp_path: Path, strategy: Sharing
) -> None:
    if strategy.startswith("zero"):
        pytest.importorskip("deepspeed")
    recipe = replace(LOW_RANK, epochs=8, devices=2, strategy=strategy)
    whole = fit(odd(job, replace(LOW_RANK, epochs=8), folder=tmp_path / "alone"), progress=heard)
    with pytest.raises(Interrupted):
        fit(odd(job, recipe), progress=Impatient(heard))
    assert any((job(recipe).folder / "checkpoints").glob("checkpoint-*/seal.json"))
    gone_on = fit(odd(job, recipe), progress=heard)

    assert values(gone_on, "loss") == pytest.approx(values(whole, "loss"), rel=2e-4)
    assert gone_on.environment["steps"] == whole.environment["steps"]


@pytest.mark.slow
def test_a_fault_in_a_process_is_told_in_its_own_words(job: Jobs, heard) -> None:
    long = replace(job(LOW_RANK).train[0], answer="red " * 400)
    made = replace(job(replace(LOW_RANK, devices=2, max_length=8)), train=(long,))

    with pytest.raises(StageFailed, match=r"^none of the 1 train rows fits into 8 tokens"):
        fit(made, progress=heard)


def test_fallbacks_of_libraries_are_refused() -> None:
    check_sharding(Seen(2, "FSDPModule", "gloo"), devices=2, strategy="fsdp2")
    with pytest.raises(StageFailed) as raised:
        check_sharding(Seen(2, "DistributedDataParallel", "gloo"), devices=2, strategy="fsdp2")
    assert str(raised.value) == (
        "devices=2, strategy='fsdp2' asks for FSDPModule among 2 processes, and training runs as "
        "DistributedDataParallel among 2; give another strategy, or leave devices out"
    )
    with pytest.raises(StageFailed, match="training runs as DistributedDataParallel among 1"):
        check_sharding(Seen(1, "DistributedDataParallel", "gloo"), devices=2, strategy="ddp")
    with pytest.raises(StageFailed, match="asks for DeepSpeedEngine, stage 3 among 2"):
        check_sharding(Seen(2, "DeepSpeedEngine, stage 2", "gloo"), devices=2, strategy="zero3")


def test_processes_share_the_rows_of_a_batch() -> None:
    rows = [{"input_ids": [place], "labels": [place]} for place in range(3)]

    assert [row["labels"] for row in share(rows, 0, 2)] == [[0], [2]]
    assert [row["labels"] for row in share(rows, 1, 2)] == [[1]]
    assert share(rows, 3, 4) == [{"input_ids": [0], "labels": [IGNORED]}]


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
def test_deepspeed_that_is_not_installed_is_named(job: Jobs, heard) -> None:
    with pytest.raises(MissingPackage, match=r"pip install deepspeed==0\.19\.8"):
        fit(job(replace(LOW_RANK, devices=2, strategy="zero2")), progress=heard)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"devices": 0}, "SFT(devices=0): give 1 or more"),
        ({"strategy": "ddp"}, "shares among several devices; give devices=2 or more"),
        ({"devices": 2, "strategy": "ring"}, "SFT(strategy='ring'): give one of \"ddp\""),
        ({"devices": 4, "batch_size": 2}, "SFT(batch_size=2, devices=4): a device would have no row of it"),
        ({"devices": 2, "micro_batch_size": 1}, "give micro_batch_size=2 or more"),
        ({"devices": 2, "strategy": "fsdp2", "adapter": QLoRA()}, "have weights that can be split"),
        ({"devices": 2, "learning_rate": "find"}, "only training in one process"),
        ({"devices": 2, "backend": "axolotl"}, "devices are shared by our own trainer"),
        ({"backend": "axolotl", "adapter": LoRA(init="pissa")}, "its update starts at zero; leave init out"),
        ({"backend": "trl"}, 'give one of "llamafactory", "axolotl", "unsloth"'),
    ],
)
def test_what_cannot_be_shared_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidExperiment) as raised:
        SFT(**fields)
    assert message in str(raised.value)
