"""The documents of a loaded lm-eval task, and which of them are TRAIN, DEV and HOLDOUT. Imports lm-eval."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.data.lm_eval_loading import loading
from harness.errors import InvalidData
from harness.samples import Split

if TYPE_CHECKING:
    from harness.data.lm_eval_task import LmEvalTask


@dataclass(frozen=True, slots=True)
class Document:
    """One document. part: the data set's split it is in, and its place there."""

    part: str
    place: int
    content: Any

    @property
    def id(self) -> str:
        return f"{self.part}-{self.place}"


class Source:
    """The documents of one task."""

    def __init__(self, task: Any, declared: "LmEvalTask") -> None:
        self._task, self._declared = task, declared
        self._parts: dict[str, list[Any]] = {}

    def splits(self) -> dict[Split, list[Document]]:
        """Return the documents of each split, by the rules of `LmEvalTask`.

        Raises InvalidData where the task names no split to be judged on, or the data set lacks one.
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
