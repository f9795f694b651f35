"""LLaMA-Factory's files and arguments."""

from collections.abc import Sequence

import yaml
from datasets import Dataset, DatasetDict, load_from_disk

from harness.recipes.yaml.llamafactory import to_config
from harness.training.external.tuner_files import Config, Prepared, TunerJob
from harness.training.rows import Collated, TokenizedRow


def prepare(order: TunerJob, rows: Sequence[TokenizedRow], dev: Sequence[TokenizedRow]) -> Prepared:
    """Write settings and rows. The rows are token ids already: no template of LLaMA-Factory's touches them."""
    exported = to_config(order.recipe)
    ready = order.folder / "tokenized"
    parts = {"train": rows, **({"validation": dev} if order.evaluates else {})}
    DatasetDict(
        {name: Dataset.from_list([_features(row) for row in part]) for name, part in parts.items()}
    ).save_to_disk(ready)
    settings = order.folder / "train.yaml"
    config = exported.config | _of_this_run(order) | {"tokenized_path": str(ready)}
    for key in ("warmup_ratio", "max_samples", *(() if order.evaluates else _EVALUATION)):
        config.pop(key, None)
    settings.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def read() -> list[Collated]:
        return [Collated(tuple(row["input_ids"]), tuple(row["labels"])) for row in load_from_disk(ready)["train"]]

    return Prepared(
        arguments=("train", str(settings)),
        settings=settings,
        unmapped=tuple(one.key for one in exported.unmapped if not one.key.startswith(_DONE_HERE)),
        read=read,
        log=order.output / "trainer_log.jsonl",
    )


_EVALUATION = ("eval_strategy", "eval_steps", "load_best_model_at_end", "early_stopping_steps")
# Rows are chosen, rendered and measured before the tuner sees them.
_DONE_HERE = ("max_length", "prompt", "evaluate_on", "limit", "learn")


def _features(row: TokenizedRow) -> dict[str, list[int]]:
    return {**row.features(), "attention_mask": [1] * row.tokens}


def _of_this_run(order: TunerJob) -> Config:
    """Return where things are and how this machine computes. The data names are asked for, and not read."""
    config: Config = {
        "model_name_or_path": str(order.model),
        "template": "empty",
        "dataset": "tokenized",
        "cutoff_len": order.longest,
        "output_dir": str(order.output),
        "overwrite_output_dir": True,
        "eval_steps": order.every,
        "save_steps": order.every,
        "save_total_limit": 3,
        "per_device_eval_batch_size": order.recipe.micro_batch_size or order.recipe.batch_size,
        "warmup_steps": round(order.recipe.warmup * order.steps),
        "logging_steps": 1,
        "report_to": "none",
        "seed": order.seed,
        "bf16": order.half,
        "use_cpu": order.cpu,
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
        "disable_gradient_checkpointing": True,
    }
    return config | {"eval_dataset": "tokenized"} if order.evaluates else config
