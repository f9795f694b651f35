"""Earlier turns of the assistant within a prompt: where their tokens lie, so that they too can be learned.

Few chat templates mark them. Here a turn is looked for where it must begin: behind the tokens with which the
conversation up to it is served. A template that renders earlier turns otherwise, or leaves parts of them out, is found.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.errors import StageFailed
from harness.samples import Check, Messages
from harness.tuning.rows import IGNORED, Row, Span
from harness.weights.rendering import answer_ids, closed_ids, end_id, prompt_ids

_NAME = "earlier turns learned"
_SHOWN = 20


def with_earlier_turns(tokenizer: Any, rows: Sequence[Row]) -> tuple[list[Row], Check]:
    """Return the rows with the loss on every turn of the assistant, and the check that counts them.

    Raises StageFailed where no turn of any conversation is found, as under a template that rewrites them.
    """
    found = [(row, *spans_of(tokenizer, row.example.prompt, row.prompt)) for row in rows]
    learned, missed = sum(len(spans) for _, spans, _ in found), sum(count for _, _, count in found)
    marked = [replace(row, also=spans) for row, spans, _ in found]
    if not missed:
        asked = sum(bool(spans) for _, spans, _ in found)
        detail = f"{learned:,} earlier turns of {asked:,} conversations are learned beside the {len(rows):,} answers"
        return marked, Check(name=_NAME, status="ok", detail=detail)
    fact = (
        f"{missed:,} of {learned + missed:,} earlier turns are not rendered as they were said: the chat template "
        "writes other tokens for a turn that is past"
    )
    if not learned:
        raise StageFailed(f'{fact}; leave out learn="assistant", or give the tokenizer another chat template')
    items = tuple(row.example.id for row, _, count in found if count)[:_SHOWN]
    return marked, Check(name=_NAME, status="warning", detail=f"{fact}; those are not learned", items=items)


def spans_of(tokenizer: Any, messages: Messages, prompt: Sequence[int]) -> tuple[tuple[Span, ...], int]:
    """Return where the assistant's turns lie in `prompt`, end token included, and how many were not found.

    prompt: the tokens with which `messages` are served.
    """
    spans: list[Span] = []
    missed = 0
    for place, message in enumerate(messages):
        if message.role != "assistant" or not message.learned:
            continue
        before = tuple(prompt_ids(tokenizer, messages[:place])) if place else ()
        if message.calls:  # only the template knows how a call is written
            turn = _with_end(tokenizer, tuple(closed_ids(tokenizer, messages[: place + 1]))[len(before) :])
        else:
            turn = tuple(answer_ids(tokenizer, message.content, end=True))
        stop = len(before) + len(turn)
        if before and (*before, *turn) == tuple(prompt[:stop]):
            spans.append((len(before), stop))
        else:
            missed += 1
    return tuple(spans), missed


def _with_end(tokenizer: Any, turn: tuple[int, ...]) -> tuple[int, ...]:
    """Return a turn without what the template writes behind its end token."""
    end = end_id(tokenizer)
    places = [place for place, token in enumerate(turn) if token == end]
    return turn[: places[-1] + 1] if places else turn


def labels_of(prompt: Sequence[int], spans: Sequence[Span]) -> tuple[int, ...]:
    """Return the labels of a prompt: the tokens within `spans`, IGNORED elsewhere."""
    inside = {place for start, stop in spans for place in range(start, stop)}
    return tuple(token if place in inside else IGNORED for place, token in enumerate(prompt))
