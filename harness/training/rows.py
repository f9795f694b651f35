"""Training rows: the served prompt's tokens, then the answer's, with the loss on the answer only.

Earlier turns of the assistant within a prompt: where their tokens lie, so that they too can be learned.

Few chat templates mark them. Here a turn is looked for where it must begin: behind the tokens with which the
conversation up to it is served. A template that renders earlier turns otherwise, or leaves parts of them out, is found.

What went wrong with a prompt's tokens, in words: each known way of rendering a prompt wrongly is tried in turn.

Prompt parity: what the trainer's collator yields must be what is served, and the answer learned to its end.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from harness.errors import StageFailed
from harness.inference.models.rendering import (
    answer_ids,
    closed_ids,
    end_id,
    prompt_ids,
    template_tools,
    template_turns,
)
from harness.types.samples import Check, Example, Messages

IGNORED = -100  # the label that torch's cross entropy leaves out
Span = tuple[int, int]
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class TokenizedRow:
    """Token ids of one example. answer: ends with the token that ends the model's turn.

    Args:
        also: Parts of the prompt that are learned too, from a place to before another.
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


def draw_rows(examples: Sequence[Drawn], limit: int | None, *, seed: int) -> list[Drawn]:
    """Return `limit` of the examples drawn by `seed`, in their own order; all if there are no more."""
    if limit is None or limit >= len(examples):
        return list(examples)
    chosen = random.Random(seed).sample(range(len(examples)), limit)  # noqa: S311 - a draw, not a secret
    return [examples[place] for place in sorted(chosen)]


def make_rows(tokenizer: Any, examples: Sequence[Example]) -> list[TokenizedRow]:
    """Return the rows of `examples`, in order."""
    return [
        TokenizedRow(
            example=example,
            prompt=tuple(prompt_ids(tokenizer, example.prompt)),
            answer=tuple(answer_ids(tokenizer, example.answer, end=True)),
        )
        for example in examples
    ]


def rows_that_fit(rows: Sequence[TokenizedRow], *, longest: int | None, kind: str) -> tuple[list[TokenizedRow], Check]:
    """Return the rows of at most `longest` tokens, and the check that counts the others.

    A row is left out, never cut: a cut prompt is not the served one, and a cut answer has no end to learn.

    Raises:
        StageFailed: If no row is left.
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


_NAME = "earlier turns learned"
_SHOWN_TURNS = 20


def with_earlier_turns(tokenizer: Any, rows: Sequence[TokenizedRow]) -> tuple[list[TokenizedRow], Check]:
    """Return the rows with the loss on every turn of the assistant, and the check that counts them.

    Raises:
        StageFailed: If no turn of any conversation is found, as under a template that rewrites them.
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
    items = tuple(row.example.id for row, _, count in found if count)[:_SHOWN_TURNS]
    return marked, Check(name=_NAME, status="warning", detail=f"{fact}; those are not learned", items=items)


def spans_of(tokenizer: Any, messages: Messages, prompt: Sequence[int]) -> tuple[tuple[Span, ...], int]:
    """Return where the assistant's turns lie in `prompt`, end token included, and how many were not found.

    Args:
        prompt: The tokens with which `messages` are served.
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


def prompt_fault(ids: tuple[int, ...], messages: Messages, tokenizer: Any) -> str:
    """Return why `ids` (a row: prompt, then answer) do not begin with the tokens with which `messages` are served.

    Args:
        tokenizer: The one that serves.
    """
    served = tuple(prompt_ids(tokenizer, messages))
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == (bos, bos) and served[:2] != (bos, bos):
        return "the prompt begins with a double BOS"
    if bos is not None and served[:1] == (bos,) and _begins(ids, served[1:]):
        return "the prompt lacks its BOS"
    if _is_templated(tokenizer, messages) and (fault := _template_fault(ids, messages, tokenizer)) is not None:
        return fault
    if _words_as_tokens(ids, served, tokenizer):
        return "special tokens are spelt out: the prompt has the served text, but its markers are read as plain text"
    place = next((at for at, (one, other) in enumerate(zip(ids, served, strict=False)) if one != other), len(ids))
    return f"the prompt differs from the served one at token {place + 1} of {len(served)}"


def _template_fault(ids: tuple[int, ...], messages: Messages, tokenizer: Any) -> str | None:
    closed = _ids(tokenizer, _without_generation_prompt(tokenizer, messages))
    if _begins(ids, closed):
        return "the generation prompt is missing: the answer follows the question without the assistant's header"
    asked = tuple(message for message in messages if message.role != "system")
    if asked != messages and asked and _begins(ids, tuple(prompt_ids(tokenizer, asked))):
        return "the system prompt is dropped"
    bare = messages[-1].content
    plain = ("\n\n".join(message.content for message in messages), "\n".join(message.content for message in messages))
    if any(_begins(_without(ids, tokenizer.bos_token_id), _ids(tokenizer, text)) for text in (*plain, bare)):
        return "the chat template is bypassed: the prompt is the bare text of the messages"
    return None


def _is_templated(tokenizer: Any, messages: Messages) -> bool:
    return bool(tokenizer.chat_template) and not any(message.verbatim for message in messages)


def _without_generation_prompt(tokenizer: Any, messages: Messages) -> str:
    turns, tools = template_turns(messages), template_tools(messages)
    return str(tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=False))


def _words_as_tokens(ids: tuple[int, ...], served: tuple[int, ...], tokenizer: Any) -> bool:
    """Tell whether the row's text begins as the served text does, although its tokens do not."""
    return bool(tokenizer.decode(ids).startswith(tokenizer.decode(served)))


def _begins(ids: tuple[int, ...], start: tuple[int, ...]) -> bool:
    return bool(start) and ids[: len(start)] == start


def _without(ids: tuple[int, ...], bos: int | None) -> tuple[int, ...]:
    return ids[1:] if bos is not None and ids[:1] == (bos,) else ids


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"])


_SHOWN = 20
Collator = Callable[[list[dict[str, list[int]]]], Any]


@dataclass(frozen=True, slots=True)
class Collated:
    """One row as the model will see it: padding removed. labels: IGNORED if no loss is taken."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


def collated_rows(rows: Sequence[TokenizedRow], collator: Collator, *, batch_size: int) -> Iterator[Collated]:
    """Yield what `collator` makes of each row within its batch."""
    for start in range(0, len(rows), batch_size):
        batch = collator([row.features() for row in rows[start : start + batch_size]])
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            seen = mask.bool()  # (time,)
            # Labels outside the mask are kept too: a loss on padding is a fault to be found.
            hidden = [int(label) for label in labels[~seen] if int(label) != IGNORED]
            yield Collated(tuple(ids[seen].tolist()), (*labels[seen].tolist(), *hidden))


def check_parity(
    collated: Sequence[Collated], examples: Sequence[Example], tokenizer: Any, *, turns: bool = False
) -> Check:
    """Return the check "prompt parity": each row equals the served prompt and the whole answer, token by token.

    Args:
        tokenizer: The one that serves; prompts are rendered anew here, so that a fault in making rows is found too.
        turns: The assistant's earlier turns in the prompt are learned too, and nothing else of it.
    """
    faults = [
        {"id": example.id, "fault": fault}
        for example, row in zip(examples, collated, strict=True)
        if (fault := _fault(row, example, tokenizer, turns=turns)) is not None
    ]
    if not faults:
        detail = (
            f"all {len(examples):,} training rows hold the served prompt's tokens and the whole answer; "
            f"the loss counts the answer and its end token {tokenizer.convert_ids_to_tokens(end_id(tokenizer))!r}"
        )
        return Check(name="prompt parity", status="ok", detail=detail)
    first = faults[0]
    return Check(
        name="prompt parity",
        status="invalid",
        detail=f"{len(faults):,} of {len(examples):,} training rows differ from what is served; "
        f"{first['id']}: {first['fault']}",
        items=tuple(faults[:_SHOWN]),
    )


def _fault(row: Collated, example: Example, tokenizer: Any, *, turns: bool) -> str | None:
    """Return what is wrong with a row in words, None if nothing is."""
    served = tuple(prompt_ids(tokenizer, example.prompt))
    answer = tuple(answer_ids(tokenizer, example.answer, end=True))
    learned = tuple(label for label in row.labels if label != IGNORED)
    if not learned:
        return "the whole row is masked: nothing of it is learned"
    if row.ids[: len(served)] != served:
        return prompt_fault(row.ids, example.prompt, tokenizer)
    wanted = labels_of(served, spans_of(tokenizer, example.prompt, served)[0] if turns else ())
    if row.ids[len(served) :] == answer and row.labels == (*wanted, *answer):
        return None
    if turns and row.labels[: len(served)] != wanted:
        return "what is learned of the prompt is not the assistant's earlier turns"
    return _answer_fault(row, served, answer, learned[sum(label != IGNORED for label in wanted) :])


def _answer_fault(row: Collated, served: tuple[int, ...], answer: tuple[int, ...], learned: tuple[int, ...]) -> str:
    given = row.ids[len(served) :]
    if given == answer[:-1]:
        return "the end token is missing: the tuned model would never stop"
    if given == answer and learned == answer[:-1]:
        return "the end token is not learned: the tuned model would never stop"
    if len(given) < len(answer) and given == answer[: len(given)]:
        return f"the answer is truncated to {len(given)} of {len(answer)} tokens"
    if len(learned) > len(answer):
        return f"the loss counts {len(learned)} tokens where the answer has {len(answer)}"
    if given == answer and len(learned) < len(answer):
        return f"the answer is masked: the loss counts {len(learned)} of its {len(answer)} tokens"
    return "the learned tokens are not the answer's"
