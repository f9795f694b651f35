"""A run that is killed in the middle ends as an undisturbed one does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.fingerprint import file_sha256
from harness.jobs import TuneJob
from harness.recipes import SFT, LoRA
from harness.tuning.sft import fit

_RECIPE = "SFT(adapter=LoRA(rank=4, dropout=0.1), epochs=8, learning_rate=1e-2, batch_size=4, evaluate_every=4)"
_CHILD = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import Heard, colours
from harness.models import Model
from harness.jobs import TuneJob
from harness.recipes import SFT, LoRA
from harness.tuning.sft import fit

class Loud(Heard):
    def advance(self, amount=1, *, note=""):
        print("step", flush=True)
        if len(sys.argv) > 3:
            sys.stdin.readline()  # waits for the parent, who kills in between

fit(TuneJob(recipe={_RECIPE}, model=Model(sys.argv[1], dtype="float32"), train=colours(24, prefix="t"),
            dev=colours(8, prefix="d"), seed=1, folder=Path(sys.argv[2])), progress=Loud())
"""


def killed_at(step: int, *, model: Path, folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(model), str(folder), "wait"],
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
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert seen == step


def test_a_killed_run_resumes_to_the_same_weights_and_the_same_log(
    job: Callable[..., TuneJob], tiny_model: Path, heard, tmp_path: Path
) -> None:
    recipe = SFT(adapter=LoRA(rank=4, dropout=0.1), epochs=8, learning_rate=1e-2, batch_size=4, evaluate_every=4)
    undisturbed = fit(job(recipe, folder=tmp_path / "undisturbed"), progress=heard)
    killed_at(22, model=tiny_model, folder=tmp_path / "killed")
    # Torn as by a full disk: the newest checkpoint is stepped over, and training goes on from the one before.
    (tmp_path / "killed" / "checkpoints" / "checkpoint-20" / "optimizer.pt").write_bytes(b"torn")
    resumed = fit(job(recipe, folder=tmp_path / "killed"), progress=heard)

    assert resumed.environment["resumed_from"] == "checkpoint-16"
    assert file_sha256(resumed.folder / "adapter_model.safetensors") == file_sha256(
        undisturbed.folder / "adapter_model.safetensors"
    )
    assert resumed.log == undisturbed.log
    assert resumed.tokens == undisturbed.tokens
    assert "stepped over a torn checkpoint, checkpoint-20: optimizer.pt is damaged" in heard.lines
