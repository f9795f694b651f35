"""What goes into a key: samples, rendered prompts, models, the packages that training runs on.

Rendered messages stand for token ids, since the model's content key covers its tokenizer and chat template.

What is registered before the holdout opens: the rule that will judge it, and what the holdout holds.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from importlib import metadata
from typing import TypeVar, cast

from harness.data.leakage.equal_inputs import as_asked, clusters_of
from harness.data.task_part import whole_of
from harness.errors import NotFingerprintable
from harness.experiment.experiment import Experiment
from harness.fingerprint import fingerprint
from harness.types.chat_templates import Dressed, dress
from harness.types.dotted_paths import former
from harness.types.model_files import content_key, stored_template
from harness.types.models import ENGINES, AnyModel, Endpoint, Model, as_model
from harness.types.protocols import HasCorpus, Strategy, Task
from harness.types.samples import Messages, Passage, Split, plain_message

Made = TypeVar("Made")

# What decides the numbers of a training run besides its inputs.
TRAINING_STACK = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes")


@dataclass(frozen=True)
class Contents:
    """Keys of contents, each made once: by identity, so that what they are of must live as long as they do."""

    _memo: dict[tuple[object, ...], object] = field(default_factory=dict, repr=False, compare=False)

    def kept(self, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        """Return `tasks`, kept alive: a later object may have the identity of one that is gone."""
        self._memo[("kept", *map(id, tasks))] = tasks
        return tasks

    def clusters(self, task: Task, split: Split) -> Mapping[str, str | None]:
        """Return the cluster of each sample of a split by its id, of a part of a task as in the whole."""
        whole = whole_of(task)

        def made() -> dict[str, str | None]:
            asked = as_asked(whole, (split,))[split]
            return {sample.id: cluster for sample, cluster in zip(asked, clusters_of(asked), strict=True)}

        return self._made(("clusters", id(whole), split), made)

    def of_data(self, task: Task, split: Split | None) -> str:
        """Hash ids, inputs, rendered prompts, references and groups of one split."""

        def content() -> object:
            samples = task.samples(split) if split else ()
            return [[s.id, s.input, plain_messages(task.prompt(s)), s.reference, s.group] for s in samples]

        return self._remember(("data", task.name, id(task), split), content)

    def of_rejected(self, task: Task, split: Split) -> str:
        """Hash the worse answers of one split: a part of the key of what learns from them alone."""
        return self._remember(
            ("rejected", task.name, id(task), split), lambda: [[s.id, s.rejected] for s in task.samples(split)]
        )

    def of_corpus(self, task: Task) -> str:
        def content() -> object:
            passages: Sequence[Passage] = task.corpus() if isinstance(task, HasCorpus) else ()
            return [[p.id, p.text, p.sample_id, p.group] for p in passages]

        return self._remember(("corpus", task.name, id(task)), content)

    def of_prompts(self, strategy: Strategy, task: Task, split: Split) -> str:
        def content() -> object:
            reads = getattr(strategy, "reads", None)
            if reads is not None:
                return [fingerprint(reads(task)), self.of_data(task, split)]
            return [[s.id, plain_messages(strategy.messages(task, s))] for s in task.samples(split)]

        return self._remember(("prompts", id(strategy), id(task), split), content)

    def of_model(self, model: AnyModel) -> str:
        return self._remember(("model", id(model)), lambda: model_key(model))

    def of_trained(self, model: AnyModel) -> str:
        """Training runs in transformers whatever answers: another engine, or answers in 4 bits, train nothing anew."""
        plain = replace(model, engine=ENGINES["transformers"], quantize=None) if isinstance(model, Model) else model
        return self._remember(("trained", id(model)), lambda: model_key(plain))

    @cached_property
    def training_stack(self) -> list[list[str]]:
        return [[package, _version(package)] for package in TRAINING_STACK]

    def _made(self, name: tuple[object, ...], content: Callable[[], Made]) -> Made:
        if name not in self._memo:
            self._memo[name] = content()
        return cast("Made", self._memo[name])

    def _remember(self, name: tuple[object, ...], content: Callable[[], object]) -> str:
        if name not in self._memo:
            text = json.dumps(content(), ensure_ascii=True, separators=(",", ":"))
            self._memo[name] = hashlib.sha256(text.encode()).hexdigest()
        return str(self._memo[name])


def model_key(model: AnyModel) -> str:
    """Return what identifies the model's content: files of a local model, declared fields of any other."""
    if isinstance(model, Model):
        # The engines' answers differ where two tokens are nearly as likely; transformers' keys are those of old.
        other: list[object] = [] if model.engine == ENGINES["transformers"] else [former(model.engine)]
        other += [] if model.quantize is None else [{"quantize": model.quantize}]
        # Only where a prompt is rendered otherwise than the model's own template would.
        rendered = rendering_of(model)
        facts = _declared_rendering(model) if rendered is None else rendered.facts
        other += [{"template": facts}] if facts else []
        return fingerprint([content_key(model), model.dtype, model.trust_remote_code, *other])
    if isinstance(model, Endpoint) and model.tokenizer is not None:
        return fingerprint([model, model_key(as_model(model.tokenizer))])
    return fingerprint(model)


def rendering_of(model: Model) -> Dressed | None:
    """Return how prompts are rendered for `model`, None if its files bring no chat template.

    Raises:
        InvalidExperiment: If an option is none that the template reads.
    """
    template = stored_template(model)
    if template is None:
        return None
    return dress(template, options=model.template_options or {}, system=model.system, name=model.name)


def _declared_rendering(model: Model) -> dict[str, object]:
    """Return what is declared of a template that cannot be looked at yet."""
    found: dict[str, object] = {"options": model.template_options} if model.template_options else {}
    return found | ({} if model.system == "auto" else {"system": model.system})


def plain_messages(messages: Messages) -> list[list[object]]:
    """Return messages as JSON values."""
    return [[*plain_message(message), *(["verbatim"] if message.verbatim else [])] for message in messages]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def rule_key(experiment: Experiment) -> str:
    """Identify the criteria, margins, guards, metrics and splits."""
    guards = [[guard.comparison_name, guard.by_at_most, _rule(guard.metric)] for guard in experiment.guards]
    return fingerprint(
        [
            [_rule(item) for item in experiment.go_if],
            [_rule(item) for item in experiment.stop_if],
            guards,
            [_rule(metric) for metric in experiment.metrics],
            [sorted(sample_keys(experiment, split)) for split in (Split.DEV, Split.HOLDOUT)],
            [experiment.stop_early, experiment.leaks],
        ]
    )


def sample_keys(experiment: Experiment, split: Split) -> tuple[str, ...]:
    """Return what identifies each sample of a split by content, whichever experiment, task and prompt uses it."""
    samples = experiment.task.samples(split)
    return tuple(hashlib.sha256(json.dumps([s.input, s.reference]).encode()).hexdigest() for s in samples)


def _rule(item: object) -> object:
    """Return a criterion or metric as a fingerprintable value; a user's own class falls back to what it shows."""
    try:
        return fingerprint(item)
    except NotFingerprintable:
        if is_dataclass(item) and not isinstance(item, type):
            return [type(item).__qualname__, {f.name: repr(getattr(item, f.name)) for f in fields(item)}]
        return [type(item).__qualname__, getattr(item, "name", "")]
