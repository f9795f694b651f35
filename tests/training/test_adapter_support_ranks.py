"""AdaLoRA: ranks change while it trains, the penalty counts in the gradient, and the budget is kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.inference.models.loading import load_model
from harness.recipes import SFT, AdaLoRA
from harness.training import adapter_support
from harness.training.adapter_support import Allocation, orthogonality, ranks_checks
from harness.training.network import add_adapter
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model

Jobs = Callable[..., TuneJob]
ADAPTER = AdaLoRA(rank=2, initial_rank=4, warm=0.2, settled=0.3)
MODULES = 14


def left(model: Any) -> int:
    """Return how many singular values are not zero."""
    return sum(int((values != 0).sum()) for name, values in model.named_parameters() if ".lora_E." in name)


def test_ranks_fall_from_the_first_pruning_to_the_last_and_then_stay(job: Jobs, heard, monkeypatch) -> None:
    seen: list[int] = []

    class Counting(Allocation):
        def on_optimizer_step(self, *given: Any, model: Any = None, **rest: Any) -> None:
            super().on_optimizer_step(*given, model=model, **rest)
            seen.append(left(model))

    monkeypatch.setattr(adapter_support, "Allocation", Counting)
    result = fit(job(SFT(adapter=ADAPTER, epochs=7, learning_rate=5e-2, patience=None)), progress=heard)

    steps, warm, settled = 21, 4, 6
    assert len(seen) == steps
    assert set(seen[1:warm]) == {4 * MODULES}  # the values start at 0, and the first step has no rate yet
    assert seen[warm : steps - settled] == sorted(seen[warm : steps - settled], reverse=True)
    assert len(set(seen[warm : steps - settled])) > 3
    assert set(seen[steps - settled - 1 :]) == {2 * MODULES}
    check = {check.name: check for check in result.checks}["ranks handed out"]
    assert check.status == "ok"
    assert check.detail.startswith("28 of 56 ranks are left on 14 modules, ")


def test_the_saved_ranks_are_those_that_are_left(job: Jobs, heard) -> None:
    result = fit(job(SFT(adapter=ADAPTER, epochs=7, learning_rate=5e-2)), progress=heard)
    kept = json.loads((result.folder / "adapter_config.json").read_text())["rank_pattern"]
    tensors = load_file(result.folder / "adapter_model.safetensors")
    ranks = [len(tensor) for name, tensor in tensors.items() if "lora_A" in name]
    assert sorted(ranks) == sorted(sum(values) for values in kept.values())
    assert len(set(ranks)) > 1
    assert {check.name: check.status for check in result.checks}["saved system answers as trained"] == "ok"


def test_weights_from_before_the_last_pruning_are_over_the_budget(tmp_path) -> None:
    pattern = {"rank_pattern": {"a.lora_E": [True] * 4, "b.lora_E": [True, False, False, False]}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(pattern))
    (check,) = ranks_checks(tmp_path, ADAPTER)
    assert check.status == "warning"
    assert check.detail.startswith("5 of 8 ranks are left on 2 modules, 1 to 4 each, more than the budget of 4")
    assert ranks_checks(tmp_path / "merged", ADAPTER) == ()


def stepped(tiny: Model, adapter: AdaLoRA) -> dict[str, torch.Tensor]:
    """Return the gradients of a step without any loss: those of the penalty."""
    torch.manual_seed(0)
    network = add_adapter(load_model(tiny, dtype=torch.float32), adapter)
    for weights in network.parameters():
        weights.grad = torch.zeros_like(weights) if weights.requires_grad else None
    Allocation(adapter).on_pre_optimizer_step(
        TrainingArguments(use_cpu=True), TrainerState(), TrainerControl(), model=network
    )
    return {name: weights.grad for name, weights in network.named_parameters() if weights.grad is not None}


def test_the_penalty_changes_the_gradient_of_the_singular_vectors_alone(tiny: Model) -> None:
    gradients = stepped(tiny, ADAPTER)
    assert len(gradients) == 3 * MODULES
    for name, gradient in gradients.items():
        assert bool(gradient.any()) is (".lora_E." not in name), name
    assert not any(gradient.any() for gradient in stepped(tiny, replace(ADAPTER, orthogonality=0)).values())


def test_the_penalty_is_that_of_peft(tiny: Model) -> None:
    network = add_adapter(load_model(tiny, dtype=torch.float32), replace(ADAPTER, orthogonality=0.25))
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        found = network(input_ids=ids, labels=ids)
        own = network.get_base_model().loss_function(found.logits, ids, vocab_size=network.config.vocab_size)
    # PEFT adds it to the loss that a model computes from labels, in evaluation too.
    assert float(found.loss - own) == pytest.approx(0.25 * float(orthogonality(network).detach()), abs=1e-5)


def test_the_dev_loss_has_no_penalty_in_it(job: Jobs, heard, tmp_path) -> None:
    """With a learning rate of nearly nothing the dev loss is the base's, however large the penalty."""
    results = [
        fit(
            job(
                SFT(adapter=replace(ADAPTER, orthogonality=weight), epochs=1, learning_rate=1e-9),
                folder=tmp_path / str(weight),
            ),
            progress=heard,
        )
        for weight in (0.0, 1000.0)
    ]
    dev = [[point.value for point in result.log if point.name == "dev_loss"] for result in results]
    assert dev[0] == pytest.approx(dev[1], abs=1e-4)


def test_the_penalty_keeps_the_singular_vectors_more_orthogonal(job: Jobs, heard, tmp_path) -> None:
    apart = []
    for weight in (0.0, 10.0):
        recipe = SFT(adapter=replace(ADAPTER, orthogonality=weight), epochs=4, learning_rate=5e-2)
        network: list[Any] = []

        class Keep(TrainerCallback):  # type: ignore[misc]
            def on_train_end(self, *_: Any, model: Any = None, **__: Any) -> None:
                network.append(float(orthogonality(model).detach()))  # noqa: B023 - called in this round

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(adapter_support, "keep_whole", lambda trainer, keep=Keep: trainer.add_callback(keep()))
            fit(job(replace(recipe, evaluate_on=1), dev=(), folder=tmp_path / str(weight)), progress=heard)
        apart += network
    assert apart[1] < 0.9 * apart[0]
