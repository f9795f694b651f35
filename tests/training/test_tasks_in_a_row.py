"""Steps on real weights: what one leaves, the next goes on from."""

from dataclasses import replace

import pytest
from peft import OSFConfig

from harness import EWC, PEFT, SFT, LoRA
from harness.fingerprint import file_sha256
from harness.training.sft import fit


def dev_losses(result):
    return [point.value for point in result.log if point.name == "dev_loss"]


def test_osf_goes_on_in_the_directions_that_the_last_task_left_free(job, heard, tmp_path):
    """Each task freezes more of the weights' largest directions, so that its config is another one."""

    def step(name, frozen, **changed):
        adapter = PEFT(OSFConfig(effective_rank=frozen, target_modules=["q_proj", "v_proj"]))
        recipe = SFT(adapter=adapter, epochs=1, learning_rate=2e-3)
        return fit(job(recipe, folder=tmp_path / name, **changed), progress=heard)

    first = step("first", 8)
    second = step("second", 16, start=first.folder)

    # Measured: 6.32 before training, 5.6 after the first step, 5.1 after the second.
    assert dev_losses(second)[-1] < dev_losses(first)[-1] - 0.1 < dev_losses(first)[0]
    assert (second.folder / "model.safetensors").is_file()  # two updates are served as one model
    assert {check.status for check in second.checks} == {"ok"}


class Interrupting:
    """A progress that stops the run at one step, as Ctrl-C does."""

    def __init__(self, heard, *, at):
        self._heard, self._left = heard, at

    def say(self, line):
        self._heard.say(line)

    def advance(self, amount=1, *, note=""):
        self._left -= amount
        if self._left <= 0:
            raise KeyboardInterrupt

    def meter(self, label, *, total, unit, done=0):
        self.total = total
        return _Self(self)


class _Self:
    def __init__(self, meter):
        self._meter = meter

    def __enter__(self):
        return self._meter

    def __exit__(self, *_):
        return None


def test_a_step_that_keeps_and_was_interrupted_ends_with_the_same_weights(job, heard, tmp_path):
    """The Fisher information is estimated again where the step began, not where it was interrupted."""
    first = fit(job(SFT(adapter=LoRA(rank=2), epochs=1), folder=tmp_path / "first"), progress=heard)
    made = job(
        SFT(adapter=LoRA(rank=2), epochs=2, learning_rate=3e-3, evaluate_every=2, keep=EWC(samples=8)),
        start=first.folder,
        folder=tmp_path / "whole",
    )
    made = replace(made, earlier=made.train, replay=made.train[:4])
    whole = fit(made, progress=heard)

    stopped = replace(made, folder=tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, progress=Interrupting(heard, at=5))
    resumed = fit(stopped, progress=heard)

    assert resumed.environment["resumed_from"] == "checkpoint-4"
    files = [result.folder / "adapter_model.safetensors" for result in (whole, resumed)]
    assert file_sha256(files[0]) == file_sha256(files[1])
    told = [
        [(point.step, point.name, point.value) for point in result.log if point.name in ("loss", "dev_loss", "penalty")]
        for result in (whole, resumed)
    ]
    assert told[0] == told[1]
