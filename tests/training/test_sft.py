import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from harness.errors import StageFailed
from harness.inference.models.loading import load_model, load_tokenizer
from harness.inference.models.rendering import prompt_ids
from harness.recipes import SFT, Full, LoRA, QLoRA
from harness.training import sft as packing
from harness.training.sft import fit
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.samples import Example, Message

Jobs = Callable[..., TuneJob]


def losses(result: TuneResult, name: str = "loss") -> list[float]:
    return [point.value for point in result.log if point.name == name]


def statuses(result: TuneResult) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


@pytest.mark.parametrize(
    ("adapter", "rate", "fall"),
    [(Full(), 5e-3, 1.0), (LoRA(rank=8), 1e-2, 0.5), (QLoRA(rank=8), 1e-2, 0.5)],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_loss_falls(job: Jobs, heard, adapter: Full | LoRA | QLoRA, rate: float, fall: float) -> None:
    result = fit(job(SFT(adapter=adapter, epochs=6, learning_rate=rate)), progress=heard)

    assert losses(result)[0] - losses(result)[-1] > fall
    assert losses(result, "dev_loss")[0] > losses(result, "dev_loss")[-1]
    assert statuses(result)["prompt parity"] == "ok"
    assert statuses(result)["adapter changes the model"] == "ok"
    assert heard.meters == [(f"train {job(SFT(adapter=adapter, epochs=6, learning_rate=rate)).recipe.name}", 18, 0)]
    assert len(heard.notes) == 18


def test_the_log_has_each_value_of_each_step_once(job: Jobs, heard) -> None:
    result = fit(job(SFT(epochs=2, evaluate_every=4)), progress=heard)

    for name in ("loss", "learning_rate", "grad_norm", "tokens"):
        assert [point.step for point in result.log if point.name == name] == [1, 2, 3, 4, 5, 6]
    assert [point.step for point in result.log if point.name == "dev_loss"] == [4, 6]
    assert [point.epoch for point in result.log if point.name == "loss"] == pytest.approx(
        [1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2]
    )
    assert losses(result, "tokens")[-1] == result.tokens


def test_only_the_tuned_system_is_left(job: Jobs, heard) -> None:
    made = job(SFT(epochs=1))
    result = fit(made, progress=heard)

    assert [path.name for path in made.folder.iterdir()] == ["adapter"]
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "harness.json",
    ]
    assert (
        json.loads((result.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == made.model.source
    )


def test_the_dev_loss_is_of_the_saved_adapter_loaded_afresh(job: Jobs, heard, tiny: Model) -> None:
    made = job(SFT(adapter=LoRA(rank=8), epochs=3, learning_rate=1e-2))
    result = fit(made, progress=heard)

    tuned = PeftModel.from_pretrained(load_model(tiny, dtype=torch.float32), str(result.folder)).eval()
    tokenizer = load_tokenizer(tiny)
    total, tokens = 0.0, 0
    for example in made.dev:
        prompt = prompt_ids(tokenizer, example.prompt)
        answer = [*tokenizer(example.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = tuned(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum").item()
        tokens += len(answer)
    assert total / tokens == pytest.approx(min(losses(result, "dev_loss")), abs=1e-5)


def test_lora_parameters_are_those_of_the_closed_form(job: Jobs, heard) -> None:
    result = fit(job(SFT(adapter=LoRA(rank=4), epochs=1)), progress=heard)

    # rank * (in + out) of q, k, v, o, gate, up, down in each of two layers; hidden 64, key and value 32, MLP 128.
    a_layer = 4 * ((64 + 64) + 2 * (64 + 32) + (64 + 64) + 2 * (64 + 128) + (128 + 64))
    assert result.trainable_parameters == 2 * a_layer
    assert (
        sum(tensor.numel() for tensor in load_file(result.folder / "adapter_model.safetensors").values()) == 2 * a_layer
    )


@pytest.mark.parametrize("adapter", [LoRA(), Full()], ids=["lora", "full"])
def test_a_learning_rate_of_zero_is_invalid_evidence(job: Jobs, heard, adapter: LoRA | Full) -> None:
    result = fit(job(SFT(adapter=adapter, epochs=1, learning_rate=0)), progress=heard)

    check = {check.name: check for check in result.checks}["adapter changes the model"]
    assert check.status == "invalid"
    assert "changes no logit" in check.detail


@pytest.mark.parametrize("adapter", [LoRA(), Full()], ids=["lora", "full"])
def test_a_learning_rate_of_a_thousand_ends_with_the_step_and_the_way_out(
    job: Jobs, heard, adapter: LoRA | Full
) -> None:
    with pytest.raises(
        StageFailed, match=r"^step \d+ of 24: .* \(learning rate 1000\); .*good checkpoint.*Lower learning_rate"
    ):
        fit(job(SFT(adapter=adapter, epochs=8, learning_rate=1e3)), progress=heard)


def test_weights_that_are_no_numbers_end_the_run_at_the_first_step(
    job: Jobs, heard, tiny: Model, tmp_path: Path
) -> None:
    broken = load_model(tiny, dtype=torch.float32)
    with torch.no_grad():
        broken.model.layers[0].mlp.down_proj.weight[0, 0] = math.nan
    broken.save_pretrained(tmp_path / "broken")
    load_tokenizer(tiny).save_pretrained(tmp_path / "broken")

    with pytest.raises(StageFailed, match=r"step 1 of 3: the loss is nan .* there is no good checkpoint yet"):
        fit(job(SFT(epochs=1), model=Model(str(tmp_path / "broken"), dtype="float32")), progress=heard)


def test_training_stops_when_patience_is_exhausted_and_keeps_the_best_weights(job: Jobs, heard) -> None:
    # A dev set of other answers: what is learned on train makes it worse.
    dev = tuple(replace(example, answer="zzzz#") for example in job(SFT()).dev)
    result = fit(
        job(SFT(adapter=Full(), epochs=20, learning_rate=5e-3, evaluate_every=5, patience=2), dev=dev), progress=heard
    )

    dev_losses = [(point.step, point.value) for point in result.log if point.name == "dev_loss"]
    best = min(dev_losses, key=lambda point: point[1])[0]
    assert result.environment["stopped_early"] is True
    assert result.environment["best_step"] == best
    assert result.environment["steps"] == best + 2 * 5


def test_without_dev_examples_the_run_says_so(job: Jobs, heard) -> None:
    result = fit(job(SFT(epochs=1), dev=()), progress=heard)

    assert losses(result, "dev_loss") == []
    assert statuses(result)["dev rows that fit"] == "warning"


def test_rows_too_long_are_left_out_and_named(job: Jobs, heard) -> None:
    long = Example(id="long", prompt=(Message("user", "#" * 200),), answer="red")
    made = job(SFT(epochs=1, max_length=100))
    result = fit(replace(made, train=(*made.train, long)), progress=heard)

    check = {check.name: check for check in result.checks}["train rows that fit"]
    assert (check.status, check.items) == ("warning", ("long",))
    assert result.environment["train_rows"] == 24


def test_gradients_still_flow_through_four_bits_after_an_evaluation(job: Jobs, heard) -> None:
    bfloat16 = Model(job(SFT()).model.source, dtype="bfloat16")
    result = fit(
        job(SFT(adapter=QLoRA(rank=4), epochs=2, learning_rate=1e-2, evaluate_every=1), model=bfloat16), progress=heard
    )

    assert result.environment["quantization"] == "nf4"
    assert min(losses(result, "grad_norm")) > 0
    assert losses(result)[-1] < losses(result)[0]
    assert json.loads((result.folder / "harness.json").read_text())["quantization"] == "nf4"


def test_micro_batches_learn_what_whole_batches_learn(job: Jobs, heard, tmp_path: Path) -> None:
    whole = fit(job(SFT(epochs=1, learning_rate=1e-2), folder=tmp_path / "a"), progress=heard)
    parts = fit(job(SFT(epochs=1, learning_rate=1e-2, micro_batch_size=2), folder=tmp_path / "b"), progress=heard)

    assert losses(parts) == pytest.approx(losses(whole), abs=1e-4)


def test_the_callers_random_states_are_given_back(job: Jobs, heard) -> None:
    before = torch.get_rng_state()
    fit(job(SFT(epochs=1)), progress=heard)

    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_cannot_hide_row_from_row_trains_on_padded_batches(job: Jobs, heard, monkeypatch) -> None:
    """A model whose attention is its own sees one long row: found out on the first batch."""
    recipe = SFT(adapter=LoRA(rank=4), epochs=1, batch_size=4)
    plain = fit(job(recipe), progress=heard)
    monkeypatch.setattr(packing, "attention_as", lambda *_: nullcontext())
    blind = fit(job(recipe, folder=plain.folder / "blind"), progress=heard)
    assert plain.environment["packed"] is True
    assert blind.environment["packed"] is False
    assert losses(blind) == pytest.approx(losses(plain), abs=1e-4)
