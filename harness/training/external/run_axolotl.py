"""Axolotl's files and arguments."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from harness.recipes.yaml.axolotl import to_config
from harness.training.external.tuner_files import Config, Prepared, TunerJob, read_tuner_rows, write_rows
from harness.training.rows import TokenizedRow

_EVALUATION = ("eval_steps", "load_best_model_at_end", "early_stopping_patience")
# Rows are chosen, rendered and measured before the tuner sees them.
_DONE_HERE = ("max_length", "prompt", "evaluate_on", "limit", "learn")
# Triton kernels, which ask for CUDA as soon as they are imported.
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")


def prepare(order: TunerJob, rows: Sequence[TokenizedRow], dev: Sequence[TokenizedRow]) -> Prepared:
    """Write settings and rows. The rows are token ids already: no template of Axolotl's touches them."""
    exported = to_config(order.recipe)
    write_rows(order.train, rows)
    if order.evaluates:
        write_rows(order.dev, dev)
    settings = order.folder / "train.yaml"
    config = exported.config | _of_this_run(order)
    if not order.evaluates:
        config = {key: value for key, value in config.items() if key not in _EVALUATION}
    settings.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    unmapped = [one.key for one in exported.unmapped if not one.key.startswith(_DONE_HERE)]
    if order.half and order.cpu:
        unmapped.append("products in bfloat16 (on a CPU it computes in float32)")
    return Prepared(
        arguments=("train", str(settings), "--launcher", "python"),
        settings=settings,
        unmapped=tuple(unmapped),
        read=lambda: read_tuner_rows(order.train),
    )


def _of_this_run(order: TunerJob) -> Config:
    """Return where things are and how this machine computes."""
    config: Config = {
        "base_model": str(order.model),
        "datasets": [_tokenized(order.train)],
        "dataset_prepared_path": str(order.folder / "prepared"),
        "val_set_size": 0.0,
        "sequence_len": order.longest,
        "sample_packing": False,
        "pad_to_sequence_len": False,
        "output_dir": str(order.output),
        "eval_steps": order.every,
        "save_steps": order.every,
        "save_total_limit": 3,
        "eval_batch_size": order.recipe.micro_batch_size or order.recipe.batch_size,
        "logging_steps": 1,
        "seed": order.seed,
        # It has no way to say that bfloat16 is meant for a CPU, and refuses it there.
        "bf16": order.half and not order.cpu,
        "fp16": False,
        "tf32": False,
        "gradient_checkpointing": False,
        "flash_attention": False,
        "dataloader_num_workers": 0,
    }
    if order.cpu:
        config |= dict.fromkeys(_KERNELS, False)
    return config | {"test_datasets": [_tokenized(order.dev)]} if order.evaluates else config


def _tokenized(path: Path) -> Config:
    """Return a data set of token ids and labels, which is what no type means."""
    return {"path": str(path), "ds_type": "json", "split": "train", "type": None}
