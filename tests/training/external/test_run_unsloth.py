"""Unsloth's script and settings, run against a stand-in of its interface: the real one needs a GPU."""

import json
import subprocess
import sys
from pathlib import Path

from harness.recipes import SFT, Full, QLoRA
from harness.training.external.run_unsloth import prepare
from harness.training.external.tuner_files import TunerJob
from harness.training.rows import TokenizedRow
from harness.types.samples import Example, Message

_STAND_IN = """
import json
from pathlib import Path
calls = []
class Model:
    def save_pretrained(self, folder): Path(folder, "calls.json").write_text(json.dumps(calls))
class FastLanguageModel:
    def from_pretrained(**words): calls.append(["from_pretrained", words]); return Model(), "tokenizer"
    def get_peft_model(model, **words): calls.append(["get_peft_model", words]); return model
def load_dataset(kind, data_files): calls.append(["load_dataset", data_files]); return {"train": [], "dev": []}
def DataCollatorForSeq2Seq(tokenizer, **words): return words
EarlyStoppingCallback = int
SFTConfig = dict
class State:
    def save_to_json(self, path): Path(path).write_text("{}")
class SFTTrainer:
    state = State()
    def __init__(self, **words):
        kept = ("args", "callbacks", "eval_dataset", "data_collator")
        calls.append(["SFTTrainer", {key: words[key] for key in kept}])
    def train(self): calls.append(["train", {}]); Path(calls[-2][1]["args"]["output_dir"]).mkdir()
"""


def rows(count: int) -> list[TokenizedRow]:
    example = Example(id="a", prompt=(Message("user", "?"),), answer="!")
    return [TokenizedRow(example=example, prompt=(1, 2), answer=(3, 4)) for _ in range(count)]


def order(folder: Path, recipe: SFT) -> TunerJob:
    model = folder / "model"
    return TunerJob(
        recipe=recipe, folder=folder, model=model, seed=7, steps=100, every=10, longest=4, evaluates=True, half=True,
        cpu=False,
    )  # fmt: skip


def test_the_script_asks_unsloth_for_what_the_recipe_says(tmp_path: Path) -> None:
    for name in ("unsloth", "datasets", "transformers", "trl"):
        source = _STAND_IN if name == "unsloth" else "from unsloth import *\n"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    recipe = SFT(adapter=QLoRA(rank=4), batch_size=8, micro_batch_size=2, patience=5)
    prepared = prepare(order(tmp_path, recipe), rows(3), rows(2))
    script = tmp_path / "unsloth_train.py"

    assert prepared.arguments == (str(script), str(tmp_path / "settings.json"))
    assert [row.ids for row in prepared.read()] == [(1, 2, 3, 4)] * 3
    subprocess.run([sys.executable, *prepared.arguments], cwd=tmp_path, check=True)
    calls = dict(json.loads((tmp_path / "output" / "calls.json").read_text()))
    assert calls["from_pretrained"] == {
        "model_name": str(tmp_path / "model"),
        "max_seq_length": 4,
        "load_in_4bit": True,
        "full_finetuning": False,
    }
    assert calls["get_peft_model"] == {
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "bias": "none",
        "use_gradient_checkpointing": False,
        "random_state": 7,
    }
    trainer = calls["SFTTrainer"]
    assert trainer["callbacks"] == [5]
    assert trainer["data_collator"] == {"label_pad_token_id": -100}
    assert (trainer["args"]["per_device_train_batch_size"], trainer["args"]["gradient_accumulation_steps"]) == (2, 4)
    assert trainer["args"]["warmup_steps"] == 3
    assert "train" in calls


def test_all_weights_are_trained_without_an_adapter(tmp_path: Path) -> None:
    prepare(order(tmp_path, SFT(adapter=Full())), rows(1), rows(1))

    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["adapter"] is None
    assert settings["model"]["full_finetuning"] is True
