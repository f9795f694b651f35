"""Dotted paths that declarations name, such as "package.module:function": the only dynamic import of the package.

`MOVED` says where a function is that a store, a page or a user's file names by the module it was once in.
"""

import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from harness.errors import InvalidExperiment, MissingPackage

MOVED: Mapping[str, str] = MappingProxyType(
    {
        "harness.data.lm_eval_metric:LmEvalCorpusMetric": "harness.data.lm_eval.metric:LmEvalCorpusMetric",
        "harness.engine.bertscore:score_all": "harness.inference.bertscore:score_all",
        "harness.engine.endpoint:open_engine": "harness.inference.openai.endpoint:open_engine",
        "harness.engine.hf_metric:score_all": "harness.inference.hf_metric:score_all",
        "harness.engine.lm_eval_asking:ask": "harness.inference.lm_eval_requests:ask",
        "harness.engine.lm_eval_model:HarnessLM": "harness.inference.lm_eval_model:HarnessLM",
        "harness.engine.local:open_engine": "harness.inference.local.engine:open_engine",
        "harness.engine.scripted:fit": "harness.inference.scripted:fit",
        "harness.engine.scripted:open_engine": "harness.inference.scripted:open_engine",
        "harness.engine.vllm:open_engine": "harness.inference.vllm.engine:open_engine",
        "harness.tuning.dpo:fit": "harness.training.preferences.dpo:fit",
        "harness.tuning.grpo:fit": "harness.training.rl.grpo:fit",
        "harness.tuning.kto:fit": "harness.training.preferences.kto:fit",
        "harness.tuning.orpo:fit": "harness.training.preferences.dpo:fit_orpo",
        "harness.tuning.ppo.fit:fit": "harness.training.rl.ppo:fit",
        "harness.tuning.reward_model:fit": "harness.training.preferences.reward_model:fit",
        "harness.tuning.rloo:fit": "harness.training.rl.grpo:fit_rloo",
        "harness.tuning.sft:fit": "harness.training.sft:fit",
    }
)
_FORMER = {now: before for before, now in MOVED.items()}


def former(path: str) -> str:
    """Return the path under which keys know a function: if it was when the first keys were made."""
    return _FORMER.get(path, path)


def resolve(path: str, *, owner: str | None = None) -> Callable[..., Any]:
    """Return the function or class that "package.module:function" names.

    Args:
        path: Also one of another package, which need not be installed: "tokenizers:Tokenizer".
        owner: What needs it, if not the path itself.

    Raises:
        MissingPackage: If the import of a module fails; it is named.
        InvalidExperiment: If there is no such function.
    """
    try:
        found = pkgutil.resolve_name(MOVED.get(path, path))
    except ModuleNotFoundError as error:
        raise missing_package(owner or path, error) from error
    except (AttributeError, ValueError) as error:
        raise InvalidExperiment(f"{path!r} names no function ({error}); write it as package.module:function") from error
    if not callable(found):
        raise InvalidExperiment(f"{path!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def missing_package(owner: str, error: ModuleNotFoundError) -> MissingPackage:
    """Return the error that names what `owner` could not import, with the command that brings it."""
    return MissingPackage(
        f"{owner} needs the package {error.name!r}; bring it with: pip install -r requirements.lock "
        f"(or, where your own code asks for it, pip install {(error.name or '').partition('.')[0]})"
    )


def check_path(path: str, *, owner: str) -> None:
    """Refuse a dotted path whose module is not there, without importing it.

    Raises:
        InvalidExperiment: If it is not; `owner` is named.
    """
    module, _, function = MOVED.get(path, path).partition(":")
    try:
        present = bool(function) and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        present = False
    if not present:
        raise InvalidExperiment(f"{owner} names {path!r}, which is not there; write it as package.module:function")
