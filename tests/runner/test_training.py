"""A training run that cannot fit is refused before it starts."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import StageFailed
from harness.inference.local.engine import open_engine
from harness.inference.scripted import Scripted
from harness.recipes import SFT, Full, LoRA
from harness.resources.machine import GIB, Machine
from harness.runner import training
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Example, Message


@pytest.fixture
def job(tiny_model: Path, tmp_path: Path) -> Callable[..., TuneJob]:
    def make(recipe: SFT) -> TuneJob:
        example = Example(id="a", prompt=(Message("user", "x" * 900),), answer="y" * 30)
        return TuneJob(
            recipe=recipe, model=Model(str(tiny_model)), train=(example,) * 64, dev=(), seed=1, folder=tmp_path
        )

    return make


def free(monkeypatch, gib: float) -> None:
    """Let this machine have `gib` GiB of memory free."""
    found = Machine(kind="cpu", name="CPU", free=round(gib * GIB), total=8 * GIB, disk=8 * GIB, bfloat16=False)
    monkeypatch.setattr(training, "this_machine", lambda folder, device: found)
    monkeypatch.setattr(training, "measured_rate", lambda: 1e11)


def test_what_fits_is_said_and_trained(job, said, monkeypatch) -> None:
    free(monkeypatch, 4)
    training.check_room(job(SFT(adapter=LoRA(rank=4))), progress=said, ignore=False)
    (line,) = said.lines
    assert line.startswith("sft lora-r4: about 1.")
    assert "4.0 GiB of 8.0 GiB free (CPU)" in line


def test_what_cannot_fit_is_refused_with_the_recipe_that_would(job, said, monkeypatch) -> None:
    free(monkeypatch, 1.1)
    huge = SFT(adapter=Full(), batch_size=64)
    with pytest.raises(StageFailed) as refused:
        training.check_room(job(huge), progress=said, ignore=False)
    message = str(refused.value)
    assert message.startswith("sft full batch=64 needs about ")
    assert "1.1 GiB and 8.0 GiB are free (CPU)" in message
    assert "for 64 rows of up to " in message
    assert "this would fit, in " in message
    assert ": SFT(adapter=Full(), batch_size=64, micro_batch_size=" in message
    assert message.endswith("To train all the same: pytest --ignore-memory")

    training.check_room(job(huge), progress=said, ignore=True)
    free(monkeypatch, 0.1)
    with pytest.raises(StageFailed, match=r"even 1 at once, answered in 4 bits, takes .*: take a smaller model"):
        training.check_room(job(huge), progress=said, ignore=False)


def test_nothing_is_said_of_models_that_are_not_files(job, said) -> None:
    training.check_room(replace(job(SFT()), model=Scripted()), progress=said, ignore=False)
    assert said.lines == []


def test_a_model_whose_config_says_too_little_is_trained_without_an_estimate(job, said, tiny_model, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_model.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "config.json").write_text('{"model_type": "strange"}')
    training.check_room(replace(job(SFT()), model=Model(str(other))), progress=said, ignore=False)
    assert said.lines == [
        "the memory of sft lora-r16 cannot be estimated: the config of a strange model says hidden_size=None, where a "
        "number of 1 or more is needed; its memory cannot be estimated"
    ]


def test_looking_ahead_opens_no_database() -> None:
    import subprocess

    code = "import harness.api, sys; print([name for name in ('duckdb', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_loaded_model_reads_some_rows_and_the_range_is_narrower(job, said, monkeypatch) -> None:
    free(monkeypatch, 4)
    made = job(SFT(adapter=LoRA(rank=4)))
    short = tuple(replace(one, prompt=(Message("user", f"Which {place}?"),)) for place, one in enumerate(made.train))
    made = replace(made, train=short)
    engine = open_engine(made.model, progress=said)
    read = []
    reads = engine.likelihoods

    def counted(rows):
        read.append(len(rows))
        return reads(rows)

    monkeypatch.setattr(engine, "likelihoods", counted)
    reading = training.timed(engine, made)
    assert reading is not None
    assert (reading.rows, read) == (8, [8, 8])
    training.check_room(made, progress=said, ignore=False, reading=training.ForwardPassTime(rows=8, seconds=16.0))
    # 64 rows, three epochs, 2 s to read one and twice that to learn from it.
    assert said.lines[-1].endswith("11 min to 32 min")


def test_what_cannot_be_read_leaves_the_range_as_wide_as_it_is(job, said, monkeypatch) -> None:
    made = job(SFT())
    long = replace(made.train[0], prompt=(Message("user", "x y " * 900),))
    engine = open_engine(made.model, progress=said)
    assert training.timed(engine, replace(made, train=(long,))) is None
    assert training.timed(engine, replace(made, train=())) is None
