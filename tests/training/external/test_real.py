"""The tuners themselves: installed, and a recipe trained by them. Minutes and gigabytes: left out of a default run."""

from collections.abc import Callable

import pytest

from harness.environments import TUNERS, install
from harness.recipes import SFT, Full, LoRA
from harness.recipes.adapters import Adapter
from harness.recipes.sft import Backend
from harness.training.sft import fit
from harness.types.jobs import TuneJob

Jobs = Callable[..., TuneJob]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["llamafactory", "axolotl"])
@pytest.mark.parametrize("adapter", [LoRA(rank=4), Full()], ids=["lora", "full"])
def test_a_tuner_is_installed_and_trains(job: Jobs, heard, backend: Backend, adapter: Adapter) -> None:
    """Kept in the user's cache folder, so that a second run need not install again."""
    install(TUNERS[backend], say=heard.say)
    rate = 5e-3 if isinstance(adapter, Full) else 1e-2
    recipe = SFT(adapter=adapter, epochs=4, learning_rate=rate, backend=backend)
    result = fit(job(recipe), progress=heard)

    losses = [point.value for point in result.log if point.name == "loss"]
    assert len(losses) == 12
    assert losses[0] - losses[-1] > 1.5
    statuses = {check.name: check.status for check in result.checks}
    assert statuses["dev loss as told"] == "ok"
    assert statuses["prompt parity"] == "ok"
    assert statuses["adapter changes the model"] == "ok"
