"""Any task of lm-eval as a task of an experiment."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from harness.data.lm_eval.metric import LmEvalCorpusMetric, LmEvalMetric, metric_of
from harness.errors import InvalidExperiment
from harness.types.dotted_paths import resolve
from harness.types.samples import Answer, Messages, Sample, Split


@dataclass(frozen=True, slots=True)
class LmEvalRequest:
    """One thing lm-eval asks: "weigh" text after context, "read" text whole, "write" after context as options say."""

    kind: Literal["weigh", "read", "write"]
    context: str
    text: str
    options: Mapping[str, Any] = field(default_factory=dict)


class LoadedTask(Protocol):
    """What `harness.data.lm_eval.documents.Documents` gives of a loaded task."""

    @property
    def metric_names(self) -> tuple[str, ...]: ...

    def samples(self, split: Split) -> Sequence[Sample]: ...

    def prompt(self, sample: Sample) -> Messages: ...

    def shot(self, sample: Sample) -> Messages: ...

    def content(self, sample: Sample) -> object: ...

    def said(self, sample: Sample, likelihoods: Sequence[float], *, greedy: bool) -> str: ...

    def aggregation(self, metric: str) -> Callable[[list[Any]], Any]: ...

    def higher_is_better(self, metric: str) -> bool: ...

    def requests(
        self, sample: Sample, prompt: Messages, render: Callable[[Messages], str]
    ) -> Sequence[LmEvalRequest]: ...

    def values(self, sample: Sample, answer: Answer, filter_name: str | None) -> Mapping[str, Any]: ...


# No slots: cached_property keeps the loaded task in the object's own __dict__, outside its fields.
@dataclass(frozen=True)
class LmEvalTask:
    """A task of lm-eval: documents, prompts, filters and metrics are lm-eval's own, only the computing is ours.

    By default HOLDOUT is the task's test split, else its validation split; TRAIN is its training split, if it has one;
    DEV is its validation split if that is not the holdout, else a share of TRAIN or, with one split only, of HOLDOUT. A
    guard needs no DEV: with `dev_share=0` it is judged on every document of a single split.

    Args:
        task: Its name, such as "hellaswag".
        include_path: A folder of the user's YAML files, looked into before lm-eval's own tasks.
        limit: Most documents of HOLDOUT and of DEV, the first ones as in lm-eval; None takes all.
        num_fewshot: Shots of the task's own prompt; None as the task says.
        chat: Use the model's chat template.
        multiturn: With `chat`, show the shots as turns of their own.
        train: The data set's split for TRAIN, in place of the default.
        dev: The same for DEV.
        holdout: The same for HOLDOUT.
        dev_share: What is cut for DEV if no split is left for it, drawn by seed; 0 or more, below 1.
        seed: Of lm-eval's draw of shots, and of the cut of DEV.
        label: The name on pages and in tables, if one task is used in two ways.

    Raises:
        InvalidExperiment: If a field is out of its range; when the samples are first asked for, if there is no such
            task.
        InvalidData: When the samples are first asked for, if its file or documents cannot be loaded.
        MissingPackage: When the samples are first asked for, if lm-eval is absent.

    Examples:
        >>> hellaswag = LmEvalTask("hellaswag", limit=200)
        >>> hellaswag.metric("acc_norm").better
        'higher'
    """

    task: str
    _: KW_ONLY
    include_path: str | Path | None = field(default=None, metadata={"key": False})
    limit: int | None = None
    num_fewshot: int | None = None
    chat: bool = False
    multiturn: bool = True
    train: str | None = None
    dev: str | None = None
    holdout: str | None = None
    dev_share: float = 0.2
    seed: int = 1234
    label: str | None = None

    asker: ClassVar[str] = "harness.inference.lm_eval_requests:ask"

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or not self.task.strip():
            raise InvalidExperiment(f"LmEvalTask({self.task!r}): give the name of one task, such as 'hellaswag'")
        for name, least in (("limit", 1), ("num_fewshot", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InvalidExperiment(f"{self._said}: {name}={value!r}; give a whole number from {least} up")
        if not 0 <= self.dev_share < 1:
            raise InvalidExperiment(f"{self._said}: dev_share={self.dev_share!r}; give a share from 0 to below 1")

    @property
    def name(self) -> str:
        return self.label or self.task

    def samples(self, split: Split) -> Sequence[Sample]:
        return self.documents.samples(split)

    def prompt(self, sample: Sample) -> Messages:
        """Return lm-eval's own prompt, its shots included; if a text is scored whole, nothing."""
        return self.documents.prompt(sample)

    def shot(self, sample: Sample) -> Messages:
        """Return the sample with its answer as lm-eval writes a few-shot example."""
        return self.documents.shot(sample)

    def read(self, text: str) -> object | None:
        return text.strip() or None

    def metric(self, name: str, *, filter: str | None = None) -> LmEvalMetric | LmEvalCorpusMetric:
        """Return one of the task's own metrics.

        The common ones are known by name; any other loads the task, to ask which way is better.

        Args:
            name: Such as "acc_norm".
            filter: The filter pipeline's name; None is the first.
        """
        return metric_of(self, name, filter)

    def metrics(self) -> tuple[LmEvalMetric | LmEvalCorpusMetric, ...]:
        """Return all the metrics that the task's file lists; this loads the task."""
        return tuple(self.metric(name) for name in self.documents.metric_names)

    def content_key(self, split: Split) -> str:
        """Return what identifies the requests of a split: a changed file is a changed question, a new metric is not."""
        asked = [[sample.id, self.documents.content(sample)] for sample in self.samples(split)]
        return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()

    def requests(self, sample: Sample, prompt: Messages, render: Callable[[Messages], str]) -> Sequence[LmEvalRequest]:
        """Return what lm-eval asks about a sample under `prompt`; `render` gives a conversation's text."""
        return self.documents.requests(sample, prompt, render)

    def values(self, sample: Sample, answer: Answer, filter_name: str | None) -> Mapping[str, Any]:
        """Return what lm-eval's filters and metrics make of an answer, by the metric's name."""
        return self.documents.values(sample, answer, filter_name)

    @cached_property
    def documents(self) -> LoadedTask:
        """The loaded task."""
        # Here: lm-eval imports torch.
        found: LoadedTask = resolve("harness.data.lm_eval.documents:Documents", owner=self._said)(self)
        return found

    @property
    def _said(self) -> str:
        return f"LmEvalTask({self.task!r})"
