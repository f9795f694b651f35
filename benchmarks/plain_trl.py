"""A fine-tuning run with TRL's own SFTTrainer, as its documentation has it: what our `fit` is held against."""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import Sampler
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from harness.recipes import SFT, LoRA

# The recipe of experiments/home_commands.py.
RECIPE = SFT(adapter=LoRA(rank=16), epochs=1, batch_size=4, learning_rate=2e-3)
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class Trained:
    """A run, one entry a step. tokens, seconds: from the start of training; padding is not counted."""

    losses: tuple[float, ...]
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Notes when each step was logged."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
        if "loss" in logs:
            self.at.append(time.perf_counter())


class _Ordered(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that takes its rows in a given order."""

    order: Sampler[int] | None = None

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return super()._get_train_sampler(train_dataset) if self.order is None else self.order


def train_plainly(
    model: Path,
    rows: Sequence[dict[str, list[int]]],
    recipe: SFT,
    *,
    dtype: torch.dtype,
    seed: int,
    folder: Path,
    order: Sampler[int] | None = None,
    checkpointing: bool = True,
) -> Trained:
    """Train `recipe`, a LoRA, on `rows` of input_ids and labels, and save the adapter to `folder / "adapter"`.

    order: of the rows; None is the trainer's own shuffle. checkpointing: TRL's default is to compute the forward pass
    twice.
    """
    adapter = recipe.adapter
    assert isinstance(adapter, LoRA)
    set_seed(seed)
    steps = math.ceil(recipe.epochs * math.ceil(len(rows) / recipe.batch_size))
    trainer = _Ordered(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=dtype),
        args=SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=recipe.batch_size,
            num_train_epochs=recipe.epochs,
            learning_rate=recipe.rate,
            lr_scheduler_type=_SCHEDULES[recipe.schedule],
            warmup_steps=round(recipe.warmup * steps),
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.max_grad_norm,
            seed=seed,
            bf16=dtype is torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=checkpointing,
            include_num_input_tokens_seen="non_padding",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.scale,
            lora_dropout=adapter.dropout,
            target_modules=adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets),
            task_type="CAUSAL_LM",
        ),
    )
    trainer.order = order
    trainer.remove_callback(PrinterCallback)
    clock = _Clock()
    trainer.add_callback(clock)
    began = time.perf_counter()
    trainer.train()
    trainer.save_model(str(folder / "adapter"))
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Trained(
        losses=tuple(float(entry["loss"]) for entry in logged),
        tokens=tuple(int(entry["num_input_tokens_seen"]) for entry in logged),
        seconds=tuple(at - began for at in clock.at),
    )


def main(model: Path, data: Path, folder: Path) -> None:
    """Tune on a file of {"messages", "output"} rows, in bfloat16, as the script of a user would."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = []
    for line in data.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        prompt = tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True)
        asked, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, row["output"]))
        answer.append(tokenizer.eos_token_id)
        rows.append({"input_ids": asked + answer, "labels": [-100] * len(asked) + answer})
    train_plainly(model, rows, RECIPE, dtype=torch.bfloat16, seed=1, folder=folder, checkpointing=False)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
