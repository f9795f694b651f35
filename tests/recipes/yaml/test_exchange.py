"""Recipes as other tuners' settings, and back."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from harness.errors import InvalidExperiment
from harness.prompting import ZeroShot
from harness.recipes import SFT, Full, LoRA, QLoRA
from harness.recipes.adapters import Adapter
from harness.recipes.yaml import TOOLS, Imported, parse_recipe, recognise, write_recipe

_YAML = Path(__file__).with_name("yaml")


def read(name: str) -> Imported:
    config = yaml.safe_load((_YAML / name).read_text(encoding="utf-8"))
    return recognise(config).from_config(config)


def keys(imported: Imported) -> list[str]:
    return [one.key for one in imported.unmapped]


_LOW_RANK = {
    "rank": some.integers(1, 256),
    "alpha": some.none() | some.integers(1, 512).map(float),
    "dropout": some.sampled_from([0.0, 0.05, 0.5]),
    "targets": some.just("all-linear") | some.just(("q_proj", "v_proj")),
}
_ADAPTERS = (
    some.just(Full())
    | some.builds(LoRA, **_LOW_RANK, dora=some.booleans())
    | some.builds(LoRA, **{**_LOW_RANK, "alpha": some.integers(1, 512).map(float)}, rslora=some.just(True))
    | some.builds(QLoRA, **_LOW_RANK)
)
_EVERYWHERE = {
    "adapter": _ADAPTERS,
    "learning_rate": some.floats(1e-7, 1.0),
    "max_length": some.integers(8, 100_000),
    "weight_decay": some.floats(0, 1),
}
_SCHEDULED = {
    **_EVERYWHERE,
    "epochs": some.floats(0.1, 20),
    "warmup": some.floats(0, 0.99),
    "schedule": some.sampled_from(["cosine", "linear", "constant"]),
    "max_grad_norm": some.floats(0.1, 10),
    "patience": some.none() | some.integers(1, 20),
    "evaluate_every": some.none() | some.integers(1, 1000),
}
_MAPPABLE = {
    "llamafactory": {**_SCHEDULED, "limit": some.none() | some.integers(1, 10_000)},
    "axolotl": _SCHEDULED,
    "unsloth": {
        **_EVERYWHERE,
        "epochs": some.integers(1, 20),
        "warmup": some.just(0.0),
        "schedule": some.just("linear"),
        "patience": some.none(),
    },
}


@pytest.mark.parametrize("tool", TOOLS)
@given(data=some.data(), micro=some.integers(1, 8), steps=some.integers(1, 8))
def test_what_maps_comes_back_as_it_was(tool: str, data: some.DataObject, micro: int, steps: int) -> None:
    declared = data.draw(some.builds(SFT, **_MAPPABLE[tool]))
    recipe = replace(declared, batch_size=micro * steps, micro_batch_size=None if steps == 1 else micro)
    exported = TOOLS[tool].to_config(recipe)
    written = yaml.safe_load(yaml.safe_dump(dict(exported.config)))
    imported = TOOLS[tool].from_config(written)

    assert exported.unmapped == ()
    assert imported.unmapped == ()
    assert write_recipe(_plain(imported.recipe)) == write_recipe(_plain(recipe))
    assert recognise({**written, TOOLS[tool].model: "a model"}) is TOOLS[tool]


def _plain(recipe: SFT) -> SFT:
    """Return the recipe with an alpha that is the default left out, which is the same adapter."""
    adapter: Adapter = recipe.adapter
    if isinstance(adapter, LoRA | QLoRA) and replace(adapter, alpha=None).scale == adapter.scale:
        adapter = replace(adapter, alpha=None)
    return replace(recipe, adapter=adapter, epochs=float(recipe.epochs))


def test_an_example_of_llamafactory_is_read_with_what_does_not_map() -> None:
    imported = read("llamafactory_lora.yaml")

    assert imported.recipe == SFT(
        adapter=LoRA(rank=8),
        epochs=3.0,
        learning_rate=1e-4,
        batch_size=8,
        micro_batch_size=1,
        max_length=2048,
        warmup=0.1,
        patience=None,
        evaluate_every=500,
        limit=1000,
    )
    assert keys(imported) == [
        "model_name_or_path",
        "trust_remote_code",
        "dataset",
        "template",
        "overwrite_cache",
        "preprocessing_num_workers",
        "dataloader_num_workers",
        "output_dir",
        "logging_steps",
        "plot_loss",
        "overwrite_output_dir",
        "save_only_model",
        "bf16",
        "ddp_timeout",
        "val_size",
        "per_device_eval_batch_size",
    ]
    assert {one.key: one.why for one in imported.unmapped}["val_size"] == "is the task's Split.DEV"


def test_a_schedule_and_a_warmup_that_no_recipe_has_are_listed() -> None:
    imported = read("llamafactory_full.yaml")

    assert imported.recipe.adapter == Full()
    assert imported.recipe.rate == 1e-5  # YAML 1.1 reads 1e-5 as a text
    assert {"lr_scheduler_type", "warmup_steps", "deepspeed"} <= set(keys(imported))


def test_an_example_of_axolotl_is_read_with_what_does_not_map() -> None:
    imported = read("axolotl_qlora.yaml")

    targets = ("gate_proj", "down_proj", "up_proj", "q_proj", "v_proj", "k_proj", "o_proj")
    assert imported.recipe == SFT(
        adapter=QLoRA(rank=32, alpha=16, dropout=0.05, targets=targets),
        epochs=1.0,
        learning_rate=2e-4,
        batch_size=8,
        micro_batch_size=2,
        max_length=2048,
        warmup=0.1,
        patience=None,
    )
    assert {"sample_packing", "optimizer", "evals_per_epoch", "special_tokens"} <= set(keys(imported))
    assert "load_in_8bit" not in keys(imported)


def test_an_example_of_unsloth_is_read_with_what_does_not_map() -> None:
    imported = read("unsloth_lora.yaml")

    assert imported.recipe == SFT(
        adapter=QLoRA(rank=64, alpha=16),
        epochs=1,
        learning_rate=2e-4,
        batch_size=8,
        micro_batch_size=2,
        max_length=2048,
        warmup=0.0,
        schedule="linear",
        weight_decay=0.001,
        patience=None,
    )
    assert keys(imported) == [
        "model",
        "data.dataset",
        "data.format_type",
        "training.output_dir",
        "training.warmup_steps",
        "training.random_seed",
        "training.train_on_completions",
        "training.gradient_checkpointing",
        "logging.wandb_project",
    ]


def test_fields_without_a_counterpart_are_listed_at_export() -> None:
    adapter = LoRA(rank=8, alpha=4.5, init="pissa")
    recipe = SFT(prompt=ZeroShot(), evaluate_on=None, limit=50, max_length=None, adapter=adapter)

    said = {tool: [one.key for one in TOOLS[tool].to_config(recipe).unmapped] for tool in TOOLS}
    common = ["evaluate_on=None", "prompt='zero-shot'", "adapter.init='pissa'"]
    assert said["llamafactory"] == ["adapter.alpha=4.5", "max_length=None", *common]
    assert sorted(said["axolotl"]) == sorted(["adapter.alpha=4.5", "max_length=None", "limit=50", *common])
    assert {"schedule='cosine'", "warmup=0.03", "patience=3", "limit=50", *common} <= set(said["unsloth"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"stage": "ppo"}, "LLaMA-Factory settings: stage: 'ppo': only supervised fine-tuning can be read"),
        ({"stage": "sft", "finetuning_type": "freeze"}, "finetuning_type: 'freeze': has no counterpart"),
        ({"stage": "sft", "learning_rate": "fast"}, "learning_rate: 'fast': give a number"),
        ({"stage": "sft", "lora_rank": 7.5}, "lora_rank: 7.5: give a whole number"),
        ({"stage": "sft", "use_dora": "yes"}, "use_dora: 'yes': give true or false"),
        ({"base_model": "m", "rl": "grpo"}, "Axolotl settings: rl: 'grpo': only supervised"),
        ({"base_model": "m", "adapter": "lora"}, "lora_target_linear: False: give true, or lora_target_modules"),
        ({"training": {"training_type": "raw"}}, 'training.training_type: \'raw\': give "lora" or "full"'),
        ({"epochs": 3}, "the settings of no known tuner"),
        ({"stage": "sft", "num_train_epochs": 0}, "SFT(epochs=0.0): trains nothing"),
    ],
)
def test_settings_of_no_use_are_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidExperiment) as raised:
        recognise(config).from_config(config)
    assert message in str(raised.value)


def test_an_expression_makes_the_recipe_that_wrote_it() -> None:
    recipe = SFT(adapter=QLoRA(rank=4, targets=("q_proj",)), epochs=0.5, patience=None, limit=10)

    text = "SFT(adapter=QLoRA(rank=4, targets=('q_proj',)), epochs=0.5, patience=None, limit=10)"
    assert write_recipe(recipe) == text
    assert parse_recipe(text) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SFT(", "is no expression"),
        ("__import__('os').system('true')", "is not read here"),
        ("SFT(rank=8)", "its fields are adapter, epochs"),
        ("SFT(epochs=EPOCHS)", "names and computations are not read here"),
        ("LoRA()", "is no SFT"),
        ("SFT(epochs=-1)", "trains nothing"),
    ],
)
def test_no_code_of_an_expression_is_run(text: str, message: str) -> None:
    with pytest.raises(InvalidExperiment, match=message.replace("(", r"\(")):
        parse_recipe(text)
