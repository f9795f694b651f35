"""Carries out `HFMetric`: loads a metric of the evaluate library and computes it sample by sample."""

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from harness.errors import InvalidEvidence, InvalidExperiment, MissingPackage
from harness.metrics.model_based import HFMetric
from harness.types.samples import Answer, Sample, Score


def score_all(metric: HFMetric, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[Score]:
    """Return one score an answer, in order; detail is the whole result that the metric gave for the sample.

    Raises:
        MissingPackage: If evaluate or a package of the metric is absent.
        InvalidExperiment: If the metric cannot be loaded, or its result holds no single number under `key`.
    """
    module = _load(metric)
    return [_score(metric, module, sample, answer) for sample, answer in zip(samples, answers, strict=True)]


def _load(metric: HFMetric) -> Any:
    if find_spec("evaluate") is None:
        raise MissingPackage(f"HFMetric({metric.source!r}) needs the package evaluate: pip install evaluate==0.4.6")
    import evaluate  # five seconds; only a metric of this library needs it

    try:
        module = evaluate.load(metric.source, metric.config, revision=metric.revision, keep_in_memory=True)
    except ImportError as error:
        raise MissingPackage(f"HFMetric({metric.source!r}) lacks a package: {error}") from error
    except OSError as error:  # FileNotFoundError and ConnectionError among them
        raise InvalidExperiment(
            f"HFMetric({metric.source!r}): there is no such folder or script here, and the hub did not give it "
            f"({type(error).__name__}: {error}); copy its folder from huggingface.co/spaces/evaluate-metric "
            "to this machine and give the path"
        ) from error
    module.seed = 0  # its default is drawn from numpy's state, and a score must be the same every time
    return module


def _score(metric: HFMetric, module: Any, sample: Sample, answer: Answer) -> Score:
    if metric.inputs == "value" and answer.value is None:
        return Score(metric.unreadable, detail={"unreadable": True})
    prediction, reference = (
        (answer.text, sample.reference) if metric.inputs == "text" else (answer.value, sample.expected)
    )
    references = [[reference]] if metric.references == "list" else [reference]
    result = module.compute(predictions=[prediction], references=references, **metric.options)
    value = _number(metric, result)
    if not math.isfinite(value):
        raise InvalidEvidence(
            f"HFMetric({metric.source!r}) gives {value} for sample {sample.id!r}; "
            "a metric of the whole set cannot be computed sample by sample"
        )
    return Score(value, detail={name: _plain(item) for name, item in result.items()})


def _number(metric: HFMetric, result: object) -> float:
    """Return the one number under the metric's key; metrics of samples give a list of one."""
    if not isinstance(result, Mapping) or not result:
        raise InvalidExperiment(f"HFMetric({metric.source!r}) gives {result!r}, not a mapping with a number")
    if metric.key is None and len(result) > 1:
        raise InvalidExperiment(f"HFMetric({metric.source!r}) gives {', '.join(result)}; choose one with key=")
    key = metric.key if metric.key is not None else next(iter(result))
    if key not in result:
        raise InvalidExperiment(f"HFMetric({metric.source!r}, key={key!r}): it gives {', '.join(result)}; choose one")
    value = _plain(result[key])
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, bool | int | float):
        raise InvalidExperiment(f"HFMetric({metric.source!r}): {key} is {value!r} for one sample, not a number")
    return float(value)


def _plain(value: object) -> object:
    """Return numpy numbers and arrays as Python's own, which JSON can hold."""
    return value.tolist() if hasattr(value, "tolist") else value
