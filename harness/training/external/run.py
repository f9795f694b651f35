"""Supervised tuning by another tuner: files written, its process run, its weights brought back and looked at.

A second look at what another tuner made: its weights, computed with by us.

What another tuner left: its log, and its weights as a tuned system of ours.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.functional import cross_entropy

from harness.environments import TUNERS, Tool, clean_environment
from harness.errors import StageFailed
from harness.inference.models.adapters import attach, is_adapter
from harness.inference.models.loading import (
    describe_hardware,
    load_model,
    load_tokenizer,
    model_of,
    no_bars,
    weights_folder,
)
from harness.recipes import SFT
from harness.recipes.sft import Backend
from harness.training.callbacks import log_points
from harness.training.config import Precision, choose_precision
from harness.training.external import run_axolotl, run_llamafactory, run_unsloth
from harness.training.external.process import TrainingLogs, run_process
from harness.training.external.tuner_files import Prepared, TunerJob, write_model
from harness.training.network import adapter_key, change_check, in_memory, write_facts
from harness.training.rows import TokenizedRow, check_parity, draw_rows, make_rows, rows_that_fit, with_earlier_turns
from harness.training.session import steps_of
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.protocols import Progress
from harness.types.samples import Check

# Theirs is a mean over batches, some in half precision; another model or other tokens move it by more than this.
_SAME_LOSS = 0.1


def look(model: Model, folder: Path, data: "Data", state: Mapping[str, Any], *, shown: str) -> tuple[Check, ...]:
    """Return what the weights in `folder` do when we compute with them: they change the model, and have the loss told.

    Args:
        data: Trained and evaluated on.
        state: The trainer's, with its log history.
        shown: The tuner's name.
    """
    base = load_model(model, dtype=torch.float32)
    before = in_memory(base, data.rows)
    whole = not is_adapter(folder)
    tuned = model_of(folder, device=base.device, dtype=torch.float32) if whole else attach(base, folder)
    changed = change_check(before, in_memory(tuned, data.rows))
    told = [float(entry["eval_loss"]) for entry in state["log_history"] if "eval_loss" in entry]
    if not told:
        return (changed,)
    return changed, loss_check(min(told), _dev_loss(tuned, data.dev), shown=shown)


def loss_check(told: float, found: float, *, shown: str) -> Check:
    """Return the check that the dev loss a tuner tells is what its weights have here, on the same tokens."""
    apart = abs(told - found) / max(told, found, 1e-6)
    facts = f"{shown} tells a dev loss of {told:.3f}; its weights have {found:.3f} here"
    if apart <= _SAME_LOSS or abs(told - found) <= _SAME_LOSS / 2:
        return Check(name="dev loss as told", status="ok", detail=facts)
    detail = f"{facts}: it trained on other tokens, or read the model otherwise; the evaluation here is what counts"
    return Check(name="dev loss as told", status="warning", detail=detail)


@torch.inference_mode()
def _dev_loss(network: Any, rows: Sequence[TokenizedRow]) -> float:
    """Return the mean loss of an answer token."""
    total, tokens = 0.0, 0
    for row in rows:
        ids = torch.tensor([[*row.prompt, *row.answer]], device=network.device)
        logits = network(input_ids=ids, use_cache=False, logits_to_keep=len(row.answer) + 1).logits[0, :-1].float()
        total += float(cross_entropy(logits, ids[0, len(row.prompt) :], reduction="sum"))
        tokens += len(row.answer)
    return total / tokens


_STATE = "trainer_state.json"
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_MODEL = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json")


def read_state(output: Path, *, shown: str) -> dict[str, Any]:
    """Return the trainer's state at the end of training, its log history in it.

    Raises:
        StageFailed: If the tuner left none.
    """
    checkpoints = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    newest = sorted(checkpoints, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)
    states = []
    for folder in (output, *newest):
        try:
            states.append(json.loads((folder / _STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    if not states:
        raise StageFailed(f"{shown} left no {_STATE} in {output}, so nothing is known of its training; run again")
    last: dict[str, Any] = max(states, key=lambda state: int(state["global_step"]))
    return last


def bring_back(
    order: TunerJob, folder: Path, model: Model, *, tokenizer: Any, about: dict[str, str | int | None]
) -> None:
    """Make `folder` the tuned system out of what a tuner left: an adapter, or a whole model with our tokenizer.

    Args:
        model: Whose name an adapter gives its base. Only safetensors come back: other formats can run code.

    Raises:
        StageFailed: If the tuner left neither.
    """
    assert order.recipe.backend is not None
    output, shown = order.output, TUNERS[order.recipe.backend].shown
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    if (output / _ADAPTER[0]).is_file():
        _take(output, unfinished, _ADAPTER, shown)
        path = unfinished / _ADAPTER[0]
        config = json.loads(path.read_text(encoding="utf-8"))
        # The folder that the tuner was given is gone after the run.
        path.write_text(
            json.dumps({**config, "base_model_name_or_path": model.source}, indent=2) + "\n", encoding="utf-8"
        )
    else:
        _take(output, unfinished, _MODEL, shown)
        tokenizer.save_pretrained(unfinished)
    write_facts(unfinished, about)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def count_saved(folder: Path) -> int:
    """Return how many parameters the safetensors files of a folder hold."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dict
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                total += size
    return total


def _take(output: Path, folder: Path, patterns: tuple[str, ...], shown: str) -> None:
    for pattern in patterns:
        for path in output.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    if not any(folder.glob("*.safetensors")):
        raise StageFailed(
            f"{shown} left no safetensors weights in {output} (it has "
            f"{', '.join(sorted(path.name for path in output.iterdir())) if output.is_dir() else 'nothing'}); run again"
        )


_PREPARE: Mapping[Backend, Callable[[TunerJob, Sequence[TokenizedRow], Sequence[TokenizedRow]], Prepared]] = (
    MappingProxyType(
        {"llamafactory": run_llamafactory.prepare, "axolotl": run_axolotl.prepare, "unsloth": run_unsloth.prepare}
    )
)


@dataclass(frozen=True, slots=True)
class Data:
    """What is trained and evaluated on, measured and rendered by us; checks say what was left out."""

    rows: list[TokenizedRow]
    dev: list[TokenizedRow]
    checks: tuple[Check, ...]


def fit_outside(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` by the tuner that it names, and return what it made as a tuned system.

    The tuner's settings and log stay in `job.folder / backend`; an interrupted run begins anew.

    Raises:
        MissingPackage: If the tuner is not installed.
        StageFailed: If it fails or cannot do what is asked.
    """
    recipe, model = job.recipe, job.model
    assert isinstance(recipe, SFT)
    assert recipe.backend is not None
    assert isinstance(model, Model)
    tuner = TUNERS[recipe.backend]
    command = tuner.executable()
    precision = choose_precision(model, recipe.adapter)
    _check_possible(job, tuner, on_cpu=precision.device.type == "cpu")
    tokenizer = load_tokenizer(model, progress=progress)
    data = _data(job, recipe, tokenizer)
    order = _order(job, recipe, tuner, data, precision)
    write_model(weights_folder(model), order.model)
    with no_bars():
        prepared = _PREPARE[recipe.backend](order, data.rows, data.dev)
    examples = [row.example for row in data.rows]
    parity = check_parity(prepared.read(), examples, tokenizer, turns=recipe.learn == "assistant")
    with progress.meter(f"train {recipe.name} with {tuner.shown}", total=order.steps, unit="steps") as meter:
        run_process(
            [str(command), *prepared.arguments],
            TrainingLogs(order.folder / "train.log", prepared.log),
            shown=tuner.shown,
            meter=meter,
            environment=clean_environment(_variables(order)),
        )
    state = read_state(order.output, shown=tuner.shown)
    about = _about(recipe, model, state)
    bring_back(order, job.folder / "adapter", model, tokenizer=tokenizer, about=about)
    checks = (
        *data.checks,
        parity,
        *_said_checks(tuner, prepared),
        *look(model, job.folder / "adapter", data, state, shown=tuner.shown),
    )
    _clear(order, prepared)
    found = _result(job, order, data, state, checks)
    machine = describe_hardware(precision.device, precision.weights)
    return replace(found, environment={**machine, **found.environment})


def _check_possible(job: TuneJob, tuner: Tool, *, on_cpu: bool) -> None:
    if job.start is not None:
        raise StageFailed(
            f"backend={tuner.name!r} trains the model as it is, and this step goes on from an earlier one; "
            "leave backend out here"
        )
    if tuner.needs_gpu and on_cpu:
        raise StageFailed(
            f"{tuner.shown} trains on a GPU only, and this model computes on the CPU; "
            'leave backend out, or give "llamafactory" or "axolotl"'
        )


def _data(job: TuneJob, recipe: SFT, tokenizer: Any) -> Data:
    rows, fits = rows_that_fit(
        make_rows(tokenizer, draw_rows(job.train, recipe.limit, seed=job.seed)), longest=recipe.max_length, kind="train"
    )
    checks: tuple[Check, ...] = (fits,)
    if recipe.learn == "assistant":
        rows, turns = with_earlier_turns(tokenizer, rows)
        checks = (fits, turns)
    if not job.dev:
        detail = "there are no dev examples: no early stopping, and the last weights are kept, not the best"
        return Data(rows, [], (*checks, Check(name="dev rows that fit", status="warning", detail=detail)))
    dev, dev_fits = rows_that_fit(
        make_rows(tokenizer, draw_rows(job.dev, recipe.evaluate_on, seed=job.seed)),
        longest=recipe.max_length,
        kind="dev",
    )
    return Data(rows, dev, (*checks, dev_fits))


def _order(job: TuneJob, recipe: SFT, tuner: Tool, data: Data, precision: Precision) -> TunerJob:
    steps = steps_of(recipe, len(data.rows))
    return TunerJob(
        recipe=recipe,
        folder=_fresh(job.folder / tuner.name),
        model=job.folder / tuner.name / "model",
        seed=job.seed,
        steps=steps,
        every=recipe.evaluate_every or math.ceil(steps / 10),
        longest=max(row.tokens for row in (*data.rows, *data.dev)),
        evaluates=bool(data.dev),
        half=precision.autocast is torch.bfloat16,
        cpu=precision.device.type == "cpu",
    )


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _variables(order: TunerJob) -> dict[str, str]:
    """Return what keeps the tuner to itself: nothing sent, nothing fetched, its caches among its files."""
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"), "1")
    silent = dict.fromkeys(("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "AXOLOTL_DO_NOT_TRACK"), "1")
    return {
        **offline,
        **silent,
        "WANDB_MODE": "disabled",
        "HF_DATASETS_CACHE": str(order.folder / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONUNBUFFERED": "1",
        **({"CUDA_VISIBLE_DEVICES": ""} if order.cpu else {}),
    }


def _about(recipe: SFT, model: Model, state: Mapping[str, Any]) -> dict[str, str | int | None]:
    return {
        "recipe": recipe.name,
        "adapter": recipe.adapter.name,
        "adapter_key": adapter_key(recipe.adapter),
        "base": model.name,
        "step": state.get("best_global_step") or state["global_step"],
        "quantization": recipe.adapter.quantization,
        "backend": recipe.backend,
    }


def _said_checks(tuner: Tool, prepared: Prepared) -> tuple[Check, ...]:
    if not prepared.unmapped:
        return ()
    detail = f"{tuner.shown} does not do all that the recipe says: {', '.join(prepared.unmapped)}"
    return (Check(name="recipe as declared", status="warning", detail=detail, items=prepared.unmapped),)


def _clear(order: TunerJob, prepared: Prepared) -> None:
    """Delete all of the tuner's files but its settings and its log."""
    kept = {prepared.settings, order.folder / "train.log"}
    for path in order.folder.iterdir():
        if path in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _result(
    job: TuneJob, order: TunerJob, data: Data, state: Mapping[str, Any], checks: tuple[Check, ...]
) -> TuneResult:
    folder, recipe, history = job.folder / "adapter", order.recipe, state["log_history"]
    assert isinstance(job.model, Model)
    assert recipe.backend is not None
    weights = count_saved(weights_folder(job.model))
    trained = count_saved(folder)
    adapter = is_adapter(folder)
    seconds = next((entry["train_runtime"] for entry in reversed(history) if "train_runtime" in entry), None)
    return TuneResult(
        folder=folder,
        log=log_points(history),
        checks=checks,
        tokens=round(sum(row.tokens for row in data.rows) * float(state["epoch"])),
        trainable_parameters=trained,
        total_parameters=weights + trained if adapter else trained,
        environment={
            "backend": recipe.backend,
            "backend_version": TUNERS[recipe.backend].version,
            "learning_rate": recipe.rate,
            "steps": int(state["global_step"]),
            "steps_planned": order.steps,
            "best_step": int(state.get("best_global_step") or state["global_step"]),
            "stopped_early": int(state["global_step"]) < order.steps,
            "training_seconds": None if seconds is None else round(float(seconds), 2),
            "train_rows": len(data.rows),
            "dev_rows": len(data.dev),
        },
    )
