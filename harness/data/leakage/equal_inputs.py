"""What a sample asks, and which samples ask the same: equal inputs count as one piece of evidence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.data.text_similarity import same_text
from harness.types.protocols import AsksItself, OnlyWeighed, Task
from harness.types.samples import Sample, Split, tools_on_offer

_WORDS = re.compile(r"\s*\S+")

Splits = Mapping[Split, tuple[Sample, ...]]


def as_asked(task: Task, splits: Sequence[Split] = tuple(Split)) -> Splits:
    """Return the samples of these splits, the input of each being its own part of the rendered prompt.

    That is `Sample.input` if every prompt is one template around it. Else, as with a document that only the prompt
    holds, it is the prompt without the words that all prompts of the task begin or end with; text that is only weighed
    belongs to its prompt. A task that asks by itself (lm-eval) is known by `Sample.input`.
    """
    found = {split: tuple(task.samples(split)) for split in splits}
    if isinstance(task, AsksItself):
        return found
    prompts = [(sample, _prompt(task, sample)) for rows in found.values() for sample in rows]
    if _one_template(prompts):
        return found
    words = [_WORDS.findall(prompt) for _, prompt in prompts]
    begin = _shared(words)
    end = _shared([row[begin:][::-1] for row in words])
    own = ["".join(row[begin : len(row) - end]).strip() for row in words]
    if not any(own):
        return found
    texts = iter(own)
    return {split: tuple(replace(sample, input=next(texts)) for sample in rows) for split, rows in found.items()}


def clusters_of(asked: Sequence[Sample]) -> tuple[str | None, ...]:
    """Return the cluster of each sample, None if it stands alone: what is connected by groups and by equal inputs.

    A cluster is called as its first group, or after the first sample that asks the same. Inputs that differ in case,
    punctuation and spacing alone are equal.

    Args:
        asked: Samples of one split, as `as_asked` gives them.
    """
    owner = list(range(len(asked)))

    def root(place: int) -> int:
        while owner[place] != place:
            owner[place] = owner[owner[place]]
            place = owner[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, sample in enumerate(asked):
        names = [("text", same_text(sample.input))]
        names += [("group", sample.group)] if sample.group is not None else []
        for name in names:
            earlier, mine = root(first.setdefault(name, place)), root(place)
            owner[max(earlier, mine)] = min(earlier, mine)
    roots = [root(place) for place in range(len(asked))]
    named = _names(asked, roots)
    return tuple(named.get(place) for place in roots)


def _names(asked: Sequence[Sample], roots: Sequence[int]) -> dict[int, str]:
    """Return the name of every cluster that has a group or more than one sample."""
    found: dict[int, str] = {}
    for sample, place in zip(asked, roots, strict=True):
        if sample.group is not None:
            found.setdefault(place, sample.group)
    taken, sizes = set(found.values()), [0] * len(asked)
    for place in roots:
        sizes[place] += 1
    for place, size in enumerate(sizes):
        if size > 1 and place not in found:
            name = f"same input as {asked[place].id}"
            while name in taken:
                name += "'"
            found[place] = name
    return found


def _shared(rows: Sequence[list[str]]) -> int:
    """Return how many words all rows begin with."""
    first, last = min(rows), max(rows)  # what these two share, all between them do
    return next((place for place, word in enumerate(first) if word != last[place]), len(first))


def _prompt(task: Task, sample: Sample) -> str:
    """Return the whole prompt; what is only weighed is its reference after it."""
    prompt = task.prompt(sample)
    turns = [*filter(None, [tools_on_offer(prompt)]), *(turn.text for turn in prompt)]
    return "\n".join([*turns, sample.reference] if isinstance(task, OnlyWeighed) else turns)


def _one_template(pairs: Sequence[tuple[Sample, str]]) -> bool:
    """Tell whether all prompts are the same text around `Sample.input`."""
    templates = set()
    for sample, prompt in pairs:
        before, found, after = prompt.rpartition(sample.input) if sample.input.strip() else ("", "", "")
        if not found:
            return False
        templates.add((before, after))
        if len(templates) > 1:
            return False
    return True
