"""Training rows: the served prompt's tokens, then the answer's, with the loss on the answer only."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.errors import StageFailed
from harness.samples import Check, Example
from harness.weights.rendering import answer_ids, prompt_ids

IGNORED = -100  # the label that torch's cross entropy leaves out
Span = tuple[int, int]
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids of one example. answer: ends with the token that ends the model's turn.

    also: parts of the prompt that are learned too, from a place to before another.
    """

    example: Example
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    also: tuple[Span, ...] = ()

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.answer)

    def features(self) -> dict[str, list[int]]:
        """Return what a collator takes."""
        labels = [IGNORED] * len(self.prompt) + [*self.answer]
        for start, stop in self.also:
            labels[start:stop] = self.prompt[start:stop]
        return {"input_ids": [*self.prompt, *self.answer], "labels": labels}


def draw(examples: Sequence[Drawn], limit: int | None, *, seed: int) -> list[Drawn]:
    """Return `limit` of the examples drawn by `seed`, in their own order; all where there are no more."""
    if limit is None or limit >= len(examples):
        return list(examples)
    chosen = random.Random(seed).sample(range(len(examples)), limit)  # noqa: S311 - a draw, not a secret
    return [examples[place] for place in sorted(chosen)]


def make_rows(tokenizer: Any, examples: Sequence[Example]) -> list[Row]:
    """Return the rows of `examples`, in order."""
    return [
        Row(
            example=example,
            prompt=tuple(prompt_ids(tokenizer, example.prompt)),
            answer=tuple(answer_ids(tokenizer, example.answer, end=True)),
        )
        for example in examples
    ]


def fitting(rows: Sequence[Row], *, longest: int | None, kind: str) -> tuple[list[Row], Check]:
    """Return the rows of at most `longest` tokens, and the check that counts the others.

    A row is left out, never cut: a cut prompt is not the served one, and a cut answer has no end to learn.

    Raises StageFailed where no row is left.
    """
    kept = [row for row in rows if longest is None or row.tokens <= longest]
    dropped = [row.example.id for row in rows if longest is not None and row.tokens > longest]
    name = f"{kind} rows that fit"
    if not dropped:
        return kept, Check(name=name, status="ok", detail=f"all {len(rows):,} {kind} rows fit; none was cut")
    needed = max(row.tokens for row in rows)
    if not kept:
        raise StageFailed(
            f"none of the {len(rows):,} {kind} rows fits into {longest} tokens (the longest has {needed}); "
            "raise max_length, or shorten the prompt"
        )
    detail = (
        f"{len(dropped):,} of {len(rows):,} {kind} rows have more than {longest} tokens (up to {needed}) "
        "and were left out"
    )
    return kept, Check(name=name, status="warning", detail=detail, items=tuple(dropped[:20]))
