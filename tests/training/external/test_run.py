"""Recipes carried out by other tuners, on what those really left behind."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from harness.errors import MissingPackage, StageFailed
from harness.recipes import SFT, LoRA, QLoRA
from harness.recipes.sft import Backend
from harness.training.external.run import loss_check
from harness.training.sft import fit
from harness.types.jobs import TuneJob, TuneResult

Jobs = Callable[..., TuneJob]
# The recipe of the recorded runs.
RECIPE = SFT(adapter=LoRA(rank=4), epochs=2, learning_rate=1e-2)


def found(result: TuneResult) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, check.detail) for check in result.checks}


@pytest.mark.parametrize(
    ("backend", "shown", "loss"), [("llamafactory", "LLaMA-Factory", "4.391"), ("axolotl", "Axolotl", "4.616")]
)
def test_a_tuners_adapter_comes_back_and_has_here_the_loss_it_told(
    job: Jobs, heard, replayed, backend: Backend, shown: str, loss: str
) -> None:
    replayed(backend)
    made = job(replace(RECIPE, backend=backend))
    result = fit(made, progress=heard)

    assert found(result)["dev loss as told"] == (
        "ok",
        f"{shown} tells a dev loss of {loss}; its weights have {loss} here",
    )
    assert found(result)["prompt parity"][0] == "ok"
    assert found(result)["adapter changes the model"][0] == "ok"
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "harness.json",
    ]
    config = json.loads((result.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == made.model.source
    assert result.trainable_parameters == sum(
        tensor.numel() for tensor in load_file(result.folder / "adapter_model.safetensors").values()
    )
    assert [point.step for point in result.log if point.name == "loss"] == [1, 2, 3, 4, 5, 6]
    assert heard.meters == [(f"train {made.recipe.name} with {shown}", 6, 0)]
    assert len(heard.notes) == 6
    assert result.environment["backend"] == backend
    assert result.environment["best_step"] == 6
    assert sorted(path.name for path in (made.folder / backend).iterdir()) == ["train.log", "train.yaml"]


@pytest.mark.parametrize("backend", ["llamafactory", "axolotl"])
def test_the_settings_are_those_of_the_recipe_and_the_rows_the_served_tokens(
    job: Jobs, heard, replayed, tmp_path: Path, backend: Backend
) -> None:
    kept = tmp_path / "kept"
    replayed(backend, before=f"shutil.copytree(Path(sys.argv[2]).parent, {str(kept)!r}, symlinks=True)")
    recipe = replace(RECIPE, backend=backend, batch_size=8, micro_batch_size=4, limit=10, patience=2)
    fit(job(recipe), progress=heard)

    config = yaml.safe_load((kept / "train.yaml").read_text())
    expected = {
        "llamafactory": {
            "finetuning_type": "lora",
            "lora_rank": 4,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "early_stopping_steps": 2,
            "use_cpu": True,
            "report_to": "none",
            "template": "empty",
            "seed": 1,
        },
        "axolotl": {
            "adapter": "lora",
            "lora_r": 4,
            "micro_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "early_stopping_patience": 2,
            "lora_mlp_kernel": False,
            "bf16": False,
            "seed": 1,
        },
    }[backend]
    assert {key: config[key] for key in expected} == expected
    assert "max_samples" not in config  # it would limit the dev rows too; the rows are drawn before
    if backend == "axolotl":
        rows = [json.loads(line) for line in (kept / "train.jsonl").read_text().splitlines()]
        assert len(rows) == 10
        assert set(rows[0]) == {"input_ids", "labels", "attention_mask"}


def test_bfloat16_on_a_cpu_is_not_asked_of_axolotl_which_refuses_it(job: Jobs, heard, replayed, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    replayed("axolotl", before=f"shutil.copytree(Path(sys.argv[2]).parent, {str(kept)!r}, symlinks=True)")
    made = job(replace(RECIPE, backend="axolotl"))
    result = fit(replace(made, model=replace(made.model, dtype="bfloat16")), progress=heard)

    assert yaml.safe_load((kept / "train.yaml").read_text())["bf16"] is False
    status, detail = found(result)["recipe as declared"]
    assert status == "warning"
    assert detail.endswith("products in bfloat16 (on a CPU it computes in float32)")


def test_the_model_folder_is_written_for_older_versions_of_transformers(
    job: Jobs, heard, replayed, tmp_path: Path, tiny
) -> None:
    kept = tmp_path / "kept"
    replayed("axolotl", before=f"shutil.copytree(Path(sys.argv[2]).parent / 'model', {str(kept)!r})")
    fit(job(replace(RECIPE, backend="axolotl")), progress=heard)

    config, ours = (json.loads((folder / "config.json").read_text()) for folder in (kept, Path(tiny.source)))
    assert config["rope_theta"] == ours["rope_parameters"]["rope_theta"]
    assert config["torch_dtype"] == "float32"
    tokenizer = json.loads((kept / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (kept / "model.safetensors").read_bytes() == (Path(tiny.source) / "model.safetensors").read_bytes()


def test_a_tuner_that_fails_is_told_by_its_last_error_and_its_log(job: Jobs, heard, replayed) -> None:
    replayed("llamafactory", before="raise ValueError('Some specified arguments are not used')")
    made = job(replace(RECIPE, backend="llamafactory"))

    with pytest.raises(StageFailed) as raised:
        fit(made, progress=heard)
    log = made.folder / "llamafactory" / "train.log"
    assert str(raised.value) == (
        f"LLaMA-Factory ended with code 1: ValueError: Some specified arguments are not used; its log is {log}"
    )


def test_a_loss_that_is_no_number_ends_the_tuner(job: Jobs, heard, replayed) -> None:
    replayed("axolotl", before="print(\"{'loss': 'nan', 'epoch': '1'}\", flush=True); import time; time.sleep(60)")

    with pytest.raises(StageFailed, match=r"Axolotl: the loss is nan; lower learning_rate"):
        fit(job(replace(RECIPE, backend="axolotl")), progress=heard)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("(output / 'adapter_model.safetensors').rename(output / 'adapter_model.bin')", "left no safetensors weights"),
        ("[path.unlink() for path in output.rglob('trainer_state.json')]", "left no trainer_state.json"),
    ],
)
def test_what_a_tuner_did_not_leave_is_named(job: Jobs, heard, replayed, after: str, message: str) -> None:
    replayed("llamafactory", after=after)
    with pytest.raises(StageFailed, match=message):
        fit(job(replace(RECIPE, backend="llamafactory")), progress=heard)


def test_weights_that_have_another_loss_here_are_a_warning(job: Jobs, heard, replayed) -> None:
    # What another rope_theta or other tokens would do: the told loss is not that of the weights.
    replayed(
        "llamafactory",
        after="path = output / 'trainer_state.json'\nstate = json.loads(path.read_text())\n"
        "[entry.update(eval_loss=entry['eval_loss'] / 2) for entry in state['log_history'] if 'eval_loss' in entry]\n"
        "path.write_text(json.dumps(state))",
    )
    check = found(fit(job(replace(RECIPE, backend="llamafactory")), progress=heard))["dev loss as told"]
    assert check[0] == "warning"
    assert (
        "LLaMA-Factory tells a dev loss of 2.195; its weights have 4.391 here: it trained on other tokens" in check[1]
    )
    assert "the evaluation here is what counts" in check[1]


def test_losses_a_tenth_apart_are_the_same() -> None:
    assert loss_check(1.00, 1.09, shown="Axolotl").status == "ok"
    assert loss_check(1.00, 1.20, shown="Axolotl").status == "warning"
    assert loss_check(0.01, 0.04, shown="Axolotl").status == "ok"


def test_a_tuner_that_is_not_installed_names_its_command(
    job: Jobs, heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    with pytest.raises(MissingPackage, match="make it with: harness tuner install axolotl"):
        fit(job(replace(RECIPE, backend="axolotl")), progress=heard)


def test_a_later_step_and_a_missing_gpu_are_refused(job: Jobs, heard, replayed, tmp_path: Path) -> None:
    replayed("axolotl")
    with pytest.raises(StageFailed, match="this step goes on from an earlier one"):
        fit(job(replace(RECIPE, backend="axolotl"), start=tmp_path), progress=heard)
    replayed("unsloth")
    if not torch.cuda.is_available():
        with pytest.raises(StageFailed, match="Unsloth trains on a GPU only"):
            fit(job(replace(RECIPE, backend="unsloth", adapter=QLoRA(rank=4))), progress=heard)
