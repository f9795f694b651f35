"""Names of lm-eval tasks -> loaded tasks, configured as lm-eval's evaluator does it. Imports lm-eval."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from harness.errors import InvalidData, InvalidExperiment

# What lm-eval's evaluator sets before it loads a task, whose files may draw.
_SEED, _NUMPY_SEED = 0, 1234
_advice = logging.getLogger("lm_eval")


def load(name: str, *, include_path: str | Path | None, num_fewshot: int | None, seed: int) -> Any:
    """Return the `ConfigurableTask` called `name`, told how many shots to show and how to draw them.

    Raises InvalidExperiment where there is no such task, or it needs what is not given here, and InvalidData where
    its file or documents cannot be loaded.
    """
    manager = _manager_of(name, include_path)
    try:
        with loading():
            found = manager.load([name])
    except Exception as error:
        raise InvalidData(
            f"lm-eval task {name!r} could not be loaded: {type(error).__name__}: {error}; mend its file, or bring its "
            "data set (a built-in task loads it from the Hugging Face hub unless it is in the cache)"
        ) from error
    tasks = list(found["tasks"].values())
    if found.get("groups") or len(tasks) != 1:
        names = sorted(found["tasks"])
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InvalidExperiment(f"{name!r} is a group of {len(names)} lm-eval tasks ({shown}); use one task of it each")
    task = tasks[0]
    _refuse(name, task)
    shots = task.get_config("num_fewshot")
    if num_fewshot is not None and shots == 0 != num_fewshot:
        raise InvalidExperiment(f"lm-eval task {name!r} says num_fewshot: 0, which is final; leave num_fewshot out")
    task.set_config(key="num_fewshot", value=(shots or 0) if num_fewshot is None else num_fewshot)
    task.set_fewshot_seed(seed=seed)
    return task


@contextmanager
def loading() -> Iterator[None]:
    """Draw as lm-eval's evaluator does, and leave the process's own draws as they were; no bars and no advice."""
    state, numpy_state, bars = random.getstate(), np.random.get_state(), not datasets.are_progress_bars_disabled()
    level = _advice.level
    random.seed(_SEED)
    np.random.seed(_NUMPY_SEED)
    datasets.disable_progress_bars()
    _advice.setLevel(logging.ERROR)  # on what a task's file leaves to its defaults
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
        _advice.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


def _manager_of(name: str, include_path: str | Path | None) -> TaskManager:
    """Return the index that knows `name`: the user's folder first, for lm-eval's own takes ten seconds to read."""
    if include_path is not None:
        if not Path(include_path).is_dir():
            raise InvalidExperiment(f"LmEvalTask({name!r}): include_path={str(include_path)!r} is no folder")
        own = TaskManager(include_path=str(include_path), include_defaults=False)
        if name in own.task_index:
            return own
    manager = _defaults() if include_path is None else TaskManager(include_path=str(include_path))
    if name not in manager.task_index:
        where = "" if include_path is None else f", and {include_path} has no file of that name either"
        raise InvalidExperiment(
            f"lm-eval has no task {name!r}{where}; `lm_eval ls tasks` lists its own, include_path= adds a folder"
        )
    return manager


@cache
def _defaults() -> TaskManager:
    return TaskManager()


def _refuse(name: str, task: Any) -> None:
    said = f"lm-eval task {name!r}"
    if not isinstance(task, ConfigurableTask):
        raise InvalidExperiment(f"{said} is a Python class of its own kind; only tasks with a YAML file can be used")
    if getattr(task, "UNSAFE_CODE", False):
        raise InvalidExperiment(
            f"{said} runs code that the model writes, which is not done here; use lm-eval in a sandbox"
        )
    if getattr(task, "MULTIMODAL", False):
        raise InvalidExperiment(f"{said} shows images or sound, which a text model cannot take")
