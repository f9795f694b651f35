"""A loaded task of lm-eval: its documents as samples, its prompts, its requests, its scores. Imports lm-eval.

Names of lm-eval tasks -> loaded tasks, configured as lm-eval's evaluator does it. Imports lm-eval.

The documents of a loaded lm-eval task, and which of them are TRAIN, DEV and HOLDOUT. Imports lm-eval.
"""

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lm_eval.api.task import ConfigurableTask
from lm_eval.api.utils import ends_with_whitespace, requires_delimiter
from lm_eval.tasks import TaskManager

from harness.data.lm_eval.task import LmEvalRequest, LmEvalTask
from harness.errors import InvalidData, InvalidExperiment
from harness.types.samples import Answer, Message, Messages, Sample, Split

# What lm-eval's evaluator sets before it loads a task, whose files may draw.
_SEED, _NUMPY_SEED = 0, 1234
_advice = logging.getLogger("lm_eval")


def load_lm_eval_task(name: str, *, include_path: str | Path | None, num_fewshot: int | None, seed: int) -> Any:
    """Return the `ConfigurableTask` called `name`, told how many shots to show and how to draw them.

    Raises:
        InvalidExperiment: If there is no such task, or it needs what is not given here.
        InvalidData: If its file or documents cannot be loaded.
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


@dataclass(frozen=True, slots=True)
class Document:
    """One document. part: the data set's split it is in, and its place there."""

    part: str
    place: int
    content: Any

    @property
    def id(self) -> str:
        return f"{self.part}-{self.place}"


class DocumentSource:
    """The documents of one task."""

    def __init__(self, task: Any, declared: LmEvalTask) -> None:
        self._task, self._declared = task, declared
        self._parts: dict[str, list[Any]] = {}

    def splits(self) -> dict[Split, list[Document]]:
        """Return the documents of each split, by the rules of `LmEvalTask`.

        Raises:
            InvalidData: If the task names no split to be judged on, or the data set lacks one.
        """
        declared, config = self._declared, self._task.config
        holdout = declared.holdout or config.test_split or config.validation_split
        if holdout is None:
            raise InvalidData(f"lm-eval task {declared.task!r} names no test or validation split; give holdout=")
        train = declared.train or (config.training_split if config.training_split != holdout else None)
        dev = declared.dev or (config.validation_split if config.validation_split not in (holdout, train) else None)
        splits = {
            Split.TRAIN: self._part(train) if train else [],
            Split.DEV: self._part(dev) if dev else [],
            Split.HOLDOUT: self._part(holdout),
        }
        if dev is None:
            source = Split.TRAIN if train else Split.HOLDOUT
            splits[source], splits[Split.DEV] = self._cut(splits[source])
        for split in (Split.DEV, Split.HOLDOUT):
            splits[split] = splits[split][: declared.limit]
        return splits

    def up_to(self, documents: Sequence[Document]) -> Iterator[Document]:
        """Yield all documents of the split that `documents` are of, from its first to the last of them."""
        if documents:
            part, last = documents[0].part, max(document.place for document in documents)
            yield from (Document(part, place, self._parts[part][place]) for place in range(last + 1))

    def _part(self, name: str) -> list[Document]:
        """Return the documents of one of the data set's splits, as the task processes them."""
        task, config = self._task, self._task.config
        if name not in task.dataset:
            known = ", ".join(map(str, task.dataset))
            raise InvalidData(f"lm-eval task {self._declared.task!r} has no split {name!r}; its data set has {known}")
        if name not in self._parts:
            with loading():
                found = task.dataset[name]
                self._parts[name] = list(config.process_docs(found) if config.process_docs is not None else found)
        return [Document(name, place, content) for place, content in enumerate(self._parts[name])]

    def _cut(self, documents: list[Document]) -> tuple[list[Document], list[Document]]:
        """Return (what is left, a share drawn by seed), both in the order of the documents."""
        count = round(len(documents) * self._declared.dev_share)
        drawn = set(random.Random(self._declared.seed).sample(range(len(documents)), count))  # noqa: S311 - to repeat
        cut: tuple[list[Document], list[Document]] = ([], [])
        for place, document in enumerate(documents):
            cut[place in drawn].append(document)
        return cut


@contextmanager
def other_shots(task: Any, content: Any) -> Iterator[None]:
    """Within it, a document is never shown as a shot of itself."""
    sampler = getattr(task, "sampler", None)
    if sampler is None:
        yield
        return
    task.sampler = _Others(sampler, content)
    try:
        yield
    finally:
        task.sampler = sampler


class _Others:
    """A sampler of shots without one document."""

    def __init__(self, sampler: Any, content: Any) -> None:
        self._sampler, self._content = sampler, content

    def sample(self, n: int, eval_doc: Any = None, **options: Any) -> Any:
        return self._sampler.sample(n, eval_doc=self._content, **options)


class Documents:
    """The loaded task of one `LmEvalTask`."""

    def __init__(self, declared: LmEvalTask) -> None:
        self._declared = declared
        self._task = load_lm_eval_task(
            declared.task, include_path=declared.include_path, num_fewshot=declared.num_fewshot, seed=declared.seed
        )
        self._source = DocumentSource(self._task, declared)
        self._samples: dict[Split, tuple[Sample, ...]] = {}
        self._by_id: dict[str, Document] = {}
        self._prompts: dict[str, Messages] = {}

    def samples(self, split: Split) -> tuple[Sample, ...]:
        """Return the samples of one split, with their prompts made."""
        if split not in self._samples:
            documents = self._splits[split]
            self._write_prompts(documents, own_shots=split is Split.TRAIN)
            found = tuple(self._sample(document) for document in documents)
            # A document without a right answer can be asked, but not learned from.
            self._samples[split] = tuple(one for one in found if one.reference) if split is Split.TRAIN else found
        return self._samples[split]

    @property
    def metric_names(self) -> tuple[str, ...]:
        return tuple(self._task.aggregation())

    def aggregation(self, metric: str) -> Callable[[list[Any]], Any]:
        """Return what makes a metric of the values of a set; raise InvalidExperiment if the task has no such metric."""
        return self._known(metric, self._task.aggregation())  # type: ignore[no-any-return]

    def higher_is_better(self, metric: str) -> bool:
        """Return which way is better; raise InvalidExperiment if the task has no such metric."""
        return bool(self._known(metric, self._task.higher_is_better()))

    def prompt(self, sample: Sample) -> Messages:
        self._document(sample)
        return self._prompts[sample.id]

    def shot(self, sample: Sample) -> Messages:
        """Return the document with its answer as a few-shot example."""
        content, task, config = self._document(sample).content, self._task, self._task.fewshot_cfg
        question = task.doc_to_text(content, config.doc_to_text)
        choices = self._choices(content) if config.doc_to_choice else None
        if task.multiple_input:
            question, choices = self._choices(content)[question], None
        turns = task.build_qa_turn(
            q=question,
            c=choices,
            a=task.doc_to_target(content, config.doc_to_target),
            gen_prefix=task.resolve_field(content, config.gen_prefix),
            tgt_delim=config.target_delimiter,
            few_delim=config.fewshot_delimiter,
        )
        if self._declared.chat:
            return tuple(Message(turn.role, turn.content) for turn in turns)
        return tuple(Message(turn.role, turn.to_text(), verbatim=True) for turn in turns)

    def content(self, sample: Sample) -> object:
        """Return what is asked about the sample, its context apart."""
        content = self._document(sample).content
        asked = [[instance.request_type, *instance.args] for instance in self._instances(sample, "")]
        return [asked, self._choices(content) if self._task.multiple_input else None]

    def requests(self, sample: Sample, prompt: Messages, render: Callable[[Messages], str]) -> list[LmEvalRequest]:
        """Return lm-eval's requests under `prompt`, in its order.

        Raises:
            InvalidExperiment: If they are of several rounds, or a prompt would go unused.
        """
        contexts = [render(messages) for messages in self._contexts(sample, prompt)]
        instances = self._instances(sample, contexts if self._task.multiple_input else contexts[0])
        found = [_request(instance) for instance in instances]
        said = f"lm-eval task {self._declared.task!r}"
        if sum(request.kind == "write" for request in found) > 1:
            raise InvalidExperiment(f"{said} asks for several answers to one document, which is not done here")
        if contexts[0] and any(request.kind == "read" for request in found):
            raise InvalidExperiment(
                f"{said} reads whole texts, which have no prompt; use ZeroShot() without instruction"
            )
        return found

    def said(self, sample: Sample, likelihoods: Sequence[float], *, greedy: bool) -> str:
        """Return the answer that likelihoods stand for: the likeliest choice, or the text if it was greedy."""
        kind = self._task.OUTPUT_TYPE
        if kind == "multiple_choice":
            choices = self._choices(self._document(sample).content)
            places = range(min(len(choices), len(likelihoods)))
            return str(choices[max(places, key=lambda place: likelihoods[place])])
        return sample.reference if kind == "loglikelihood" and greedy else ""

    def values(self, sample: Sample, answer: Answer, filter_name: str | None) -> Mapping[str, Any]:
        """Return lm-eval's value of each metric for one answer.

        Raises:
            InvalidExperiment: If the task has no such filter.
            InvalidData: If the answer is no such task's.
        """
        instances, likelihoods = self._instances(sample, ""), iter(answer.likelihoods)
        for instance in instances:
            found: Any = answer.text
            if instance.request_type != "generate_until":
                weighed = next(likelihoods, None)
                if weighed is None:
                    raise InvalidData(f"sample {sample.id!r}: its answer has no likelihoods, which lm-eval scores by")
                rolling = instance.request_type == "loglikelihood_rolling"
                found = weighed.logprob if rolling else (weighed.logprob, weighed.greedy)
            instance.resps = [found] * instance.repeats  # greedy answers repeat
        pipeline = self._filter(filter_name)
        pipeline.apply(instances)
        results = [instance.filtered_resps[pipeline.name] for instance in instances]
        values: Mapping[str, Any] = self._task.process_results(self._document(sample).content, results)
        return values

    @cached_property
    def _splits(self) -> Mapping[Split, list[Document]]:
        return self._source.splits()

    def _write_prompts(self, documents: Sequence[Document], *, own_shots: bool) -> None:
        """Make the prompts in lm-eval's order: each draw of shots depends on those before it.

        Args:
            own_shots: The documents may be among the shots, which are then to show others.
        """
        wanted = {document.id for document in documents}
        self._task.set_fewshot_seed(seed=self._declared.seed)
        drawn = bool(self._task.get_config("num_fewshot"))
        for document in self._source.up_to(documents) if drawn else documents:
            messages = self._turns(document.content, own_shots=own_shots)
            if document.id in wanted:
                self._by_id[document.id], self._prompts[document.id] = document, messages

    def _turns(self, content: Any, *, own_shots: bool) -> Messages:
        task, declared = self._task, self._declared
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            return (Message("user", "", verbatim=True),)
        turns: list[list[dict[str, str]]] = []

        def keep(conversation: list[dict[str, str]], **_: object) -> str:
            turns.append(conversation)
            return ""

        try:
            with other_shots(task, content) if own_shots else nullcontext():
                context = task.fewshot_context(
                    content,
                    num_fewshot=task.get_config("num_fewshot"),
                    apply_chat_template=declared.chat,
                    fewshot_as_multiturn=declared.multiturn,
                    chat_template=keep if declared.chat else None,
                    gen_prefix=task.doc_to_prefix(content),
                )
        except AssertionError as error:
            raise InvalidData(f"lm-eval task {declared.task!r}: {error}") from error
        if declared.chat:
            return self._conversation(turns, content)
        text = self._gold_context(content, context)
        description = task.resolve_field(content, task.config.description) or ""
        if not description or not text.startswith(description):
            return (Message("user", text, verbatim=True),)
        rest = Message("user", text[len(description) :], verbatim=True)
        return (Message("system", description, verbatim=True), rest)

    def _conversation(self, turns: list[list[dict[str, str]]], content: Any) -> Messages:
        if not turns:
            raise InvalidExperiment(
                f"lm-eval task {self._declared.task!r} writes its prompts without a chat template; use chat=False"
            )
        chosen = turns[self._gold_place(content)] if self._task.multiple_input else turns[0]
        return tuple(Message(turn["role"], turn["content"]) for turn in chosen)  # type: ignore[arg-type]

    def _gold_context(self, content: Any, context: str | list[str]) -> str:
        return context if isinstance(context, str) else context[self._gold_place(content)]

    def _gold_place(self, content: Any) -> int:
        """Return which of several inputs is the right one; if nobody knows, the first."""
        gold = self._task.doc_to_text(content)
        return gold if isinstance(gold, int) and 0 <= gold < len(self._choices(content)) else 0

    def _contexts(self, sample: Sample, prompt: Messages) -> list[Messages]:
        """Return the prompts to ask with: one, or with each of several inputs in the place of the right one."""
        if not self._task.multiple_input:
            return [prompt]
        content = self._document(sample).content
        choices = self._choices(content)
        right = choices[self._gold_place(content)]
        place = max(place for place, message in enumerate(prompt) if message.content.endswith(right))
        before, turn, after = prompt[:place], prompt[place], prompt[place + 1 :]
        begun = turn.content[: len(turn.content) - len(right)]
        return [(*before, Message(turn.role, begun + text, verbatim=turn.verbatim), *after) for text in choices]

    def _instances(self, sample: Sample, context: str | list[str]) -> list[Any]:
        document, task = self._document(sample), self._task
        if task.multiple_input and isinstance(context, str):
            context = [context] * len(self._choices(document.content))
        metadata = (task.config.task, document.place, task.config.repeats)
        found = task.construct_requests(
            doc=document.content,
            ctx=context,
            metadata=metadata,
            apply_chat_template=self._declared.chat,
            chat_template=None,
        )
        return list(found) if isinstance(found, list) else [found]

    def _sample(self, document: Document) -> Sample:
        content, task = document.content, self._task
        reference = self._reference(content)
        if task.multiple_input:
            choices = self._choices(content)
            expected = str(choices[self._gold_place(content)]).strip()
            return Sample(id=document.id, input="\n".join(choices), reference=reference, expected=expected)
        question = str(task.doc_to_text(content))
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            question = reference
        elif task.OUTPUT_TYPE == "multiple_choice":
            question = "\n".join([question, *map(str, self._choices(content))])
        return Sample(id=document.id, input=question, reference=reference)

    def _reference(self, content: Any) -> str:
        """Return the right answer as it continues the prompt; '' if the document gives none."""
        task, kind = self._task, self._task.OUTPUT_TYPE
        gold = task.doc_to_target(content)
        gold = (gold[0] if gold else "") if isinstance(gold, list) else gold
        if isinstance(gold, int) and task.config.doc_to_choice is not None and not task.multiple_input:
            choices = self._choices(content)
            gold = choices[gold] if 0 <= gold < len(choices) else ""
        text = str(gold)
        return text if not text or kind.startswith("loglikelihood") else self._delimiter(content, text) + text

    def _delimiter(self, content: Any, text: str) -> str:
        """Return what stands between prompt and answer, as lm-eval's requests and shots have it."""
        config, prefix = self._task.config, self._task.doc_to_prefix(content)
        if self._task.OUTPUT_TYPE == "generate_until" and prefix:
            return " " if requires_delimiter(prefix, text) else ""
        within = self._declared.chat and not (config.gen_prefix and not ends_with_whitespace(config.gen_prefix))
        return "" if within else str(config.target_delimiter)

    def _choices(self, content: Any) -> list[str]:
        return self._task.doc_to_choice(content)  # type: ignore[no-any-return]

    def _filter(self, name: str | None) -> Any:
        pipelines = {pipeline.name: pipeline for pipeline in self._task._filters}
        if name is None:
            return next(iter(pipelines.values()))
        return self._known(name, pipelines, noun="filter")

    def _known(self, name: str, known: Mapping[str, Any], *, noun: str = "metric") -> Any:
        if name not in known:
            has = ", ".join(known) or "none"
            raise InvalidExperiment(f"lm-eval task {self._declared.task!r} has no {noun} {name!r}; it has {has}")
        return known[name]

    def _document(self, sample: Sample) -> Document:
        if sample.id not in self._by_id:
            for split in Split:
                self.samples(split)
        if sample.id not in self._by_id:
            raise InvalidExperiment(f"sample {sample.id!r} is none of lm-eval task {self._declared.task!r}")
        return self._by_id[sample.id]


def _request(instance: Any) -> LmEvalRequest:
    if instance.request_type == "loglikelihood_rolling":
        return LmEvalRequest("read", "", instance.args[0])
    if instance.request_type == "generate_until":
        return LmEvalRequest("write", instance.args[0], "", instance.args[1])
    return LmEvalRequest("weigh", *instance.args)
