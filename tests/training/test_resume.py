"""A run that is killed in the middle ends as an undisturbed one does."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.fingerprint import file_sha256
from harness.recipes import SFT
from harness.recipes.parse import read_recipe
from harness.training.sft import fit
from harness.types.jobs import LogPoint, TuneJob, TuneResult

_SAME = "epochs=8, learning_rate=1e-2, batch_size=4, evaluate_every=4, patience=None"
# Another seed kills at another step; a failure prints the one it met.
_SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
_CHILD = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import Heard, colours
from harness.types.models import Model
from harness.types.jobs import TuneJob
from harness.recipes import SFT, Full, LoRA
from harness.training.sft import fit

class Loud(Heard):
    def advance(self, amount=1, *, note=""):
        print("step", flush=True)
        sys.stdin.readline()  # waits for the parent, who kills in between

fit(TuneJob(recipe=SFT(adapter={{}}, {_SAME}), model=Model(sys.argv[1], dtype="float32"), train=colours(24, prefix="t"),
            dev=colours(8, prefix="d"), seed=1, folder=Path(sys.argv[2])), progress=Loud())
"""


def killed_at(step: int, *, adapter: str, model: Path, folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD.replace("{}", adapter), str(model), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "HF_HUB_OFFLINE": "1"}, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    seen = 0
    for line in child.stdout:
        seen += line.strip() == "step"
        if seen == step:
            break
        if line.strip() == "step":
            child.stdin.write("\n")
            child.stdin.flush()
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert seen == step


def computed(result: TuneResult) -> list[LogPoint]:
    """Return the log without what a clock and the machine's memory say."""
    return [point for point in result.log if point.name not in ("seconds", "memory")]


@pytest.mark.parametrize(
    ("adapter", "weights", "torn"),
    [
        ("LoRA(rank=4, dropout=0.1)", "adapter_model.safetensors", True),
        ("Full()", "model.safetensors", False),
    ],
    ids=["lora", "full"],
)
def test_a_run_killed_at_any_step_resumes_to_the_same_weights_and_the_same_log(
    job: Callable[..., TuneJob], tiny_model: Path, heard, tmp_path: Path, adapter: str, weights: str, torn: bool
) -> None:
    step = random.Random(f"{_SEED}{adapter}").randrange(10, 47)
    print(f"KILL_SEED={_SEED}: killed at step {step}")
    recipe = SFT(
        adapter=read_recipe(f"SFT(adapter={adapter})").adapter,
        epochs=8,
        learning_rate=1e-2,
        batch_size=4,
        evaluate_every=4,
        patience=None,
    )
    undisturbed = fit(job(recipe, folder=tmp_path / "undisturbed"), progress=heard)
    killed_at(step, adapter=adapter, model=tiny_model, folder=tmp_path / "killed")
    # A step is heard of before its checkpoint is written, so the newest is of an earlier one.
    newest = (step - 1) // 4 * 4
    if torn:
        # As by a full disk: the newest checkpoint is stepped over, and training goes on from the one before.
        (tmp_path / "killed" / "checkpoints" / f"checkpoint-{newest}" / "optimizer.pt").write_bytes(b"torn")
    resumed = fit(job(recipe, folder=tmp_path / "killed"), progress=heard)

    assert resumed.environment["resumed_from"] == f"checkpoint-{newest - 4 if torn else newest}"
    assert file_sha256(resumed.folder / weights) == file_sha256(undisturbed.folder / weights)
    assert computed(resumed) == computed(undisturbed)
    assert resumed.tokens == undisturbed.tokens
    assert undisturbed.seconds_before == 0
    assert 0 < resumed.seconds_before < float(resumed.environment["training_seconds"] or 0)
    said = f"stepped over a torn checkpoint, checkpoint-{newest}: optimizer.pt is damaged"
    assert (said in heard.lines) == torn
