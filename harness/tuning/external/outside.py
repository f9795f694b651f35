"""Supervised tuning by another tuner: files written, its process run, its weights brought back and looked at."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.models import Model
from harness.protocols import Progress
from harness.recipes import SFT, QLoRA
from harness.recipes.carriers import Backend
from harness.samples import Check
from harness.tuning.course import steps_of
from harness.tuning.earlier_turns import with_earlier_turns
from harness.tuning.external import axolotl, llamafactory, unsloth
from harness.tuning.external.environment import TUNERS, Tuner, clean_environment, executable
from harness.tuning.external.look import look
from harness.tuning.external.order import Order, Prepared, write_model
from harness.tuning.external.outcome import bring_back, count_saved, read_state
from harness.tuning.ground import adapter_key
from harness.tuning.history import log_points
from harness.tuning.parity import check_parity
from harness.tuning.precision import Precision, choose_precision
from harness.tuning.process import run
from harness.tuning.rows import Row, draw, fitting, make_rows
from harness.weights.adapted import is_adapter
from harness.weights.bars import no_bars
from harness.weights.hardware import describe
from harness.weights.loading import load_tokenizer, weights_folder

_PREPARE: Mapping[Backend, Callable[[Order, Sequence[Row], Sequence[Row]], Prepared]] = MappingProxyType(
    {"llamafactory": llamafactory.prepare, "axolotl": axolotl.prepare, "unsloth": unsloth.prepare}
)


@dataclass(frozen=True, slots=True)
class Data:
    """What is trained and evaluated on, measured and rendered by us; checks say what was left out."""

    rows: list[Row]
    dev: list[Row]
    checks: tuple[Check, ...]


def fit_outside(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` by the tuner that it names, and return what it made as a tuned system.

    The tuner's settings and log stay in `job.folder / backend`; an interrupted run begins anew.

    Raises MissingPackage where the tuner is not installed, StageFailed where it fails or cannot do what is asked.
    """
    recipe, model = job.recipe, job.model
    assert isinstance(recipe, SFT)
    assert recipe.backend is not None
    assert isinstance(model, Model)
    tuner = TUNERS[recipe.backend]
    command = executable(tuner)
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
        run(
            [str(command), *prepared.arguments],
            shown=tuner.shown,
            log=order.folder / "train.log",
            progress_log=prepared.log,
            meter=meter,
            environment=clean_environment(_variables(order)),
        )
    state = read_state(order.output, shown=tuner.shown)
    about = _about(recipe, model, state)
    bring_back(
        order.output, job.folder / "adapter", base=model.source, tokenizer=tokenizer, about=about, shown=tuner.shown
    )
    checks = (
        *data.checks,
        parity,
        *_said_checks(tuner, prepared),
        *look(model, job.folder / "adapter", data.rows, data.dev, state, shown=tuner.shown),
    )
    _clear(order, prepared)
    return _result(job, order, data, state, checks, describe(precision.device, precision.weights))


def _check_possible(job: TuneJob, tuner: Tuner, *, on_cpu: bool) -> None:
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
    rows, fits = fitting(
        make_rows(tokenizer, draw(job.train, recipe.limit, seed=job.seed)), longest=recipe.max_length, kind="train"
    )
    checks: tuple[Check, ...] = (fits,)
    if recipe.learn == "assistant":
        rows, turns = with_earlier_turns(tokenizer, rows)
        checks = (fits, turns)
    if not job.dev:
        detail = "there are no dev examples: no early stopping, and the last weights are kept, not the best"
        return Data(rows, [], (*checks, Check(name="dev rows that fit", status="warning", detail=detail)))
    dev, dev_fits = fitting(
        make_rows(tokenizer, draw(job.dev, recipe.evaluate_on, seed=job.seed)), longest=recipe.max_length, kind="dev"
    )
    return Data(rows, dev, (*checks, dev_fits))


def _order(job: TuneJob, recipe: SFT, tuner: Tuner, data: Data, precision: Precision) -> Order:
    steps = steps_of(recipe, len(data.rows))
    return Order(
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


def _variables(order: Order) -> dict[str, str]:
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
        "quantization": recipe.adapter.quantization if isinstance(recipe.adapter, QLoRA) else None,
        "backend": recipe.backend,
    }


def _said_checks(tuner: Tuner, prepared: Prepared) -> tuple[Check, ...]:
    if not prepared.unmapped:
        return ()
    detail = f"{tuner.shown} does not do all that the recipe says: {', '.join(prepared.unmapped)}"
    return (Check(name="recipe as declared", status="warning", detail=detail, items=prepared.unmapped),)


def _clear(order: Order, prepared: Prepared) -> None:
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
    job: TuneJob,
    order: Order,
    data: Data,
    state: Mapping[str, Any],
    checks: tuple[Check, ...],
    machine: dict[str, str | int | float | bool | None],
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
            **machine,
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
