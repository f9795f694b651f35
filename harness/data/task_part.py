"""A task with other samples than its own, and otherwise itself, whatever else it can do and however it is made."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.types.protocols import Task
from harness.types.samples import Passage, Sample, Split

# What protocols look for in a class. Everything else is looked up in the whole task when it is asked for.
_MEMBERS = (
    "name",
    "prompt",
    "read",
    "choices",
    "shot",
    "only_weighed",
    "asker",
    "content_key",
    "answer_tokens",
    "stop",
)


class TaskPart:
    """A task with other samples or passages. whole: the task that it is a part of."""

    def __init__(
        self, whole: Task, samples: Mapping[Split, tuple[Sample, ...]], passages: tuple[Passage, ...] | None
    ) -> None:
        self.whole, self._samples, self._passages = whole, samples, passages

    def samples(self, split: Split) -> Sequence[Sample]:
        return self._samples[split] if split in self._samples else self.whole.samples(split)

    def __getattr__(self, name: str) -> Any:
        # Unpickling asks before there is a whole task to ask.
        if name.startswith("__") or "whole" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.whole, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return part_of_task, (self.whole, self._samples, self._passages)


def part_of_task(
    whole: Task, samples: Mapping[Split, tuple[Sample, ...]], passages: tuple[Passage, ...] | None = None
) -> Task:
    """Return `whole` with these samples in the splits that are named, and with these passages if they are given.

    The task is wrapped, not copied: it may have slots, be frozen, or compute its members. Keys go by what a task says,
    so that a part with all samples has the keys of the whole.
    """
    members: dict[str, Any] = {name: _member(name) for name in _MEMBERS if hasattr(whole, name)}
    if passages is not None:
        members["corpus"] = lambda self: self._passages
    elif hasattr(whole, "corpus"):
        members["corpus"] = _member("corpus")
    part: Task = type("TaskPart", (TaskPart,), members)(whole, samples, passages)
    return part


def whole_of(task: Task) -> Task:
    """Return the task of which this is a part; itself if it is none."""
    while isinstance(task, TaskPart):
        task = task.whole
    return task


def _member(name: str) -> property:
    return property(lambda self: getattr(self.whole, name))
