"""Prompt parity: what the trainer's collator yields must be what is served, and the answer learned to its end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.samples import Check, Example
from harness.tuning.earlier_turns import labels_of, spans_of
from harness.tuning.prompt_faults import prompt_fault
from harness.tuning.rows import IGNORED, Row
from harness.weights.rendering import answer_ids, end_id, prompt_ids

_SHOWN = 20
Collator = Callable[[list[dict[str, list[int]]]], Any]


@dataclass(frozen=True, slots=True)
class Collated:
    """One row as the model will see it: padding removed. labels: IGNORED where no loss is taken."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


def collated_rows(rows: Sequence[Row], collator: Collator, *, batch_size: int) -> Iterator[Collated]:
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

    tokenizer: the one that serves; prompts are rendered anew here, so that a fault in making rows is found too.
    turns: the assistant's earlier turns in the prompt are learned too, and nothing else of it.
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
    """Return what is wrong with a row in words, None where nothing is."""
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
