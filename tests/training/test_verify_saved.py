from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.inference.local.engine import open_engine
from harness.recipes import SFT, Full, LoRA, QLoRA
from harness.training import session
from harness.training.network import saved_check, unlearned
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Decoding

Jobs = Callable[..., TuneJob]
SAVED = "saved system answers as trained"


@pytest.mark.parametrize("adapter", [LoRA(), Full(), QLoRA()], ids=["lora", "full", "qlora"])
def test_the_saved_system_answers_as_the_trained_one(job: Jobs, heard, adapter: LoRA | Full | QLoRA) -> None:
    result = fit(job(SFT(adapter=adapter, epochs=2, learning_rate=1e-2)), progress=heard)

    check = {check.name: check for check in result.checks}[SAVED]
    assert check.status == "ok"
    assert "of the likeliest tokens agree" in check.detail


@pytest.mark.parametrize(("adapter", "file"), [(LoRA(), "adapter_model"), (Full(), "model")], ids=["lora", "full"])
def test_a_saved_file_with_other_weights_is_invalid(
    job: Jobs, heard, monkeypatch: pytest.MonkeyPatch, adapter: LoRA | Full, file: str
) -> None:
    save = session._POLICY.save

    def save_otherwise(network, begun, **facts) -> None:  # type: ignore[no-untyped-def]
        save(network, begun, **facts)
        path = begun.result / f"{file}.safetensors"
        weights = load_file(path)
        last = max(weights)
        save_file(weights | {last: weights[last] + 0.05}, path, metadata={"format": "pt"})

    monkeypatch.setattr(session, "_POLICY", replace(session._POLICY, save=save_otherwise))
    result = fit(job(SFT(adapter=adapter, epochs=2, learning_rate=1e-2)), progress=heard)

    check = {check.name: check for check in result.checks}[SAVED]
    assert check.status == "invalid"
    assert check.detail.startswith("what was saved is not what was trained: loaded from disk, on 4 training rows")


@pytest.mark.parametrize(
    ("noise", "exact", "status"),
    [
        (1e-6, True, "ok"),
        (1e-3, True, "invalid"),
        (0.03, False, "ok"),
        (0.3, False, "invalid"),
        (float("nan"), False, "invalid"),
    ],
)
def test_half_precision_is_allowed_its_rounding(noise: float, exact: bool, status: str) -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    moved = logits + noise * torch.randn(6, 50, generator=torch.Generator().manual_seed(1))

    assert saved_check([logits], [moved], exact=exact).status == status


def test_a_zero_learning_rate_gives_the_base_answers_to_every_sample(job: Jobs, heard, tiny: Model) -> None:
    made = job(SFT(epochs=1, learning_rate=0))
    result = fit(made, progress=heard)
    engine = open_engine(tiny, progress=heard)
    prompts = [example.prompt for example in made.dev]
    requests = [(example.prompt, example.answer) for example in made.dev]

    def answers() -> tuple[dict[int, str], dict[int, float]]:
        texts = {
            p: c.text
            for places, found in engine.generate(prompts, Decoding(max_tokens=8))
            for p, c in zip(places, found, strict=True)
        }
        sums = {
            p: w.logprob for places, found in engine.likelihoods(requests) for p, w in zip(places, found, strict=True)
        }
        return texts, sums

    base = answers()
    engine.use(result.folder)
    tuned = answers()
    engine.close()

    assert tuned[0] == base[0]
    assert {p: tuned[1][p] - base[1][p] for p in base[1]} == dict.fromkeys(range(len(made.dev)), 0.0)
    assert {check.name: check.status for check in result.checks}["adapter changes the model"] == "invalid"


def test_outputs_that_training_left_as_they_were_are_invalid_evidence() -> None:
    started = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])]
    (check,) = unlearned(started, [output.clone() for output in started])
    assert (check.name, check.status) == ("training changes the model", "invalid")
    assert check.detail.startswith("on 2 training rows the trained model's outputs are those it started with")
    assert unlearned(started, [started[0], started[1] + 1e-6]) == ()
    assert unlearned([], []) == ()  # no row to compare says nothing
