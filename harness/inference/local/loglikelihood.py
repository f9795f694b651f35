"""Log-likelihoods of a stage's requests: packed where the model allows it, in plain padded batches where not.

Log-likelihoods of given answers: one forward over prompt and answer, logits only where an answer is scored.

Log-likelihoods over shared beginnings: each distinct token is computed once, logits only if they are scored.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from harness.errors import InvalidEvidence, StageFailed
from harness.inference.models.loading import is_out_of_memory
from harness.inference.models.prefix_tree import (
    CannotShareError,
    Limits,
    Packed,
    Sequences,
    SharedPrefix,
    lay_out,
    pad_left,
    plan_batches,
    plan_packs,
    shared_attention,
)
from harness.types.protocols import LikelihoodBatch
from harness.types.samples import Likelihood

Row = TypeVar("Row")
Result = TypeVar("Result")


def halving(compute: Callable[[Sequence[Row]], list[Result]], rows: Sequence[Row]) -> list[Result]:
    """Return `compute(rows)`, in halves where the memory does not hold all rows at once.

    Raises:
        StageFailed: If a single row does not fit.
    """
    try:
        return compute(rows)
    except RuntimeError as error:
        give_up_unless_halved(error, len(rows))
    # Outside the handler, so that the failed batch's tensors are freed before the halves are tried.
    free_memory()
    middle = len(rows) // 2
    return halving(compute, rows[:middle]) + halving(compute, rows[middle:])


def give_up_unless_halved(error: RuntimeError, count: int) -> None:
    if not is_out_of_memory(error):
        raise error
    if count <= 1:
        raise StageFailed(
            f"one row alone does not fit the memory ({str(error).splitlines()[0]}); "
            "shorten the prompts, lower max_tokens or use a smaller model"
        ) from error


def free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class LogLikelihood:
    """One row: tokens of prompt and answer (without end token). bytes: UTF-8 length of the answer."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    bytes: int

    @property
    def read(self) -> tuple[int, ...]:
        """Return what the model reads: the last answer token is only predicted."""
        return self.prompt + self.answer[:-1]


@torch.inference_mode()
def score_tokens(model: Any, rows: Sequence[LogLikelihood], prefix: SharedPrefix, *, pad: int) -> list[Likelihood]:
    """Return the likelihood of each row's answer given its prompt.

    Raises:
        InvalidEvidence: If a log-probability is not a number.
    """
    padded = pad_left([row.read[prefix.tokens :] for row in rows], prefix, pad=pad, device=model.device)
    longest = max(1, *(len(row.answer) for row in rows))
    logits = model(
        input_ids=padded.input_ids,
        position_ids=padded.position_ids,
        attention_mask=padded.mask,
        past_key_values=prefix.rows(len(rows)),
        use_cache=True,
        logits_to_keep=longest,
    ).logits  # (rows, longest, vocabulary)
    # Row by row: a float32 copy of all rows' logits would be the largest tensor of the run.
    return [_likelihood(logits[place], row) for place, row in enumerate(rows)]


def _likelihood(logits: torch.Tensor, row: LogLikelihood) -> Likelihood:
    count = len(row.answer)
    if count == 0:
        return checked(row, 0.0, greedy=True)
    scores = logits[-count:].float()  # (answer tokens, vocabulary)
    answer = torch.tensor(row.answer, device=scores.device)
    # As lm-eval does it, in float32 throughout: a sum in float64 is nearer the truth by 1e-4 a sequence, and that much
    # away from what everyone else reports.
    total = float(scores.log_softmax(dim=-1).gather(1, answer[:, None]).sum())
    return checked(row, total, greedy=bool((scores.argmax(dim=-1) == answer).all()))


def checked(row: LogLikelihood, total: float, *, greedy: bool) -> Likelihood:
    """Return the likelihood of `row`.

    Raises:
        InvalidEvidence: If `total` is not a number.
    """
    if total != total:
        raise InvalidEvidence("a log-likelihood is not a number (NaN): the model's weights are broken")
    return Likelihood(total, len(row.answer), row.bytes, greedy=greedy)


# Rows of logits that are held in float32 at a time.
_CHUNK = 256


def sequences_of(rows: Sequence[LogLikelihood], prefix: SharedPrefix) -> Sequences:
    """Return what the rows read after `prefix`, and how many of their positions are scored."""
    return Sequences(
        [row.read[prefix.tokens :] for row in rows],
        [len(row.answer) for row in rows],
    )


@torch.inference_mode()
def score_pack(
    model: Any,
    items: Sequence[tuple[int, ...]],
    rows: Sequence[LogLikelihood],
    sequences: Sequences,
    *,
    prefix: SharedPrefix,
) -> dict[int, Likelihood]:
    """Return the likelihood of each position in `items`.

    Raises:
        CannotShareError: If the model's attention is of another kind.
        InvalidEvidence: If a log-probability is not a number.
    """
    pack = lay_out(items, sequences, device=model.device, dtype=model.dtype)
    positions = [position for item in items for position in item if rows[position].answer]
    counts = [len(rows[position].answer) for position in positions]
    if not positions:
        return {position: checked(rows[position], 0.0, greedy=True) for item in items for position in item}
    # The token before an answer's first is the last of its prompt; its place is known, since prompts are never empty.
    places = torch.cat([pack.paths[position][-count:] for position, count in zip(positions, counts, strict=True)])
    keep, at = torch.unique(places, return_inverse=True)
    with shared_attention(model, Packed(pack), prefix.cache):
        logits = model(
            input_ids=pack.tokens,
            position_ids=pack.depths + prefix.positions,
            use_cache=False,
            logits_to_keep=keep.to(model.device),
        ).logits[0]  # (kept, vocabulary)
    targets = torch.tensor([token for position in positions for token in rows[position].answer], device=logits.device)
    chosen, likeliest = _scored(logits, at.to(logits.device), targets)
    scores, greedy = torch.split(chosen, counts), torch.split(likeliest == targets, counts)
    found = {position: checked(rows[position], 0.0, greedy=True) for item in items for position in item}
    for position, own, best in zip(positions, scores, greedy, strict=True):
        found[position] = checked(rows[position], float(own.sum()), greedy=bool(best.all()))
    return found


def _scored(logits: torch.Tensor, at: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of each target, and the likeliest token there.

    Args:
        logits: (kept, vocabulary).
        at, targets: (scored,), the row of logits and the token.
    """
    chosen = torch.empty(len(at), device=logits.device)
    likeliest = torch.empty_like(targets)
    for start in range(0, len(logits), _CHUNK):
        part = logits[start : start + _CHUNK].float()
        here = ((at >= start) & (at < start + len(part))).nonzero().squeeze(-1)
        # torch's own log_softmax, as lm-eval has it: a more exact sum is 1e-4 a sequence away from what others report.
        chosen[here] = part.log_softmax(-1)[at[here] - start, targets[here]]
        likeliest[here] = part.argmax(-1)[at[here] - start]
    return chosen, likeliest


# Most rows of a plain batch.
_ROWS = 64
# Most tokens of an item: its attention grows with the square.
_ITEM = 1024
# Logits held at once, positions times vocabulary.
_LOGITS = 1 << 26
# By how much a log-likelihood may differ between the two ways: absolutely, and as a share of it.
_ROUNDING = {"float32": (1e-2, 1e-4)}
_ROUNDING_HALF = (0.3, 0.03)
# The trial of both ways: so many rows, so many tokens of each after the prefix, as many of its answer.
_TRIED_ROWS, _TRIED_TOKENS = 3, 64
# What a model that takes no packed row may raise.
_REFUSALS = (CannotShareError, TypeError, ValueError, AttributeError, IndexError)


class Scorer:
    """Scores answers with one network. tokens: most of a forward pass."""

    def __init__(self, network: Any, *, pad: int, tokens: int) -> None:
        self._network, self._pad = network, pad
        vocabulary = int(network.config.get_text_config().vocab_size)
        self.limits = Limits(tokens=tokens, item=min(tokens, _ITEM), scored=max(1, _LOGITS // vocabulary))

    def packed(
        self, rows: Sequence[LogLikelihood], prefix: SharedPrefix, *, done: frozenset[int]
    ) -> Iterator[LikelihoodBatch]:
        """Yield the likelihoods of `rows`, a pack at a time; those whose positions are all `done` are left out."""
        sequences = sequences_of(rows, prefix)
        for items in plan_packs(sequences, self.limits):
            positions = tuple(position for item in items for position in item)
            if done.issuperset(positions):
                continue
            compute = partial(_pairs, self._network, rows=rows, sequences=sequences, prefix=prefix)
            found = dict(halving(compute, items))
            yield positions, tuple(found[position] for position in positions)

    def plain(
        self, rows: Sequence[LogLikelihood], prefix: SharedPrefix, *, done: frozenset[int]
    ) -> Iterator[LikelihoodBatch]:
        """Yield the likelihoods of `rows`, a padded batch at a time."""
        for positions in plan_batches([len(row.read) for row in rows], tokens=self.limits.tokens, rows=_ROWS):
            if done.issuperset(positions):
                continue
            batch = [rows[position] for position in positions]
            yield positions, tuple(halving(partial(score_tokens, self._network, prefix=prefix, pad=self._pad), batch))

    def packs_right(self, rows: Sequence[LogLikelihood], prefix: SharedPrefix) -> bool:
        """Tell whether packed rows give this network's own numbers, on the beginnings of the first few of `rows`."""
        if getattr(self._network.config.get_text_config(), "attention_chunk_size", None) is not None:
            return False  # attention in chunks of positions: short trials would not show it
        few = [_begun(row, prefix.tokens) for row in rows[:_TRIED_ROWS]]
        try:
            ((positions, found),) = self.packed(few, prefix, done=frozenset())
        except _REFUSALS:
            return False
        expected = score_tokens(self._network, [few[position] for position in positions], prefix, pad=self._pad)
        absolute, share = _ROUNDING.get(str(self._network.dtype).removeprefix("torch."), _ROUNDING_HALF)
        return all(
            abs(one.logprob - other.logprob) <= absolute + share * abs(other.logprob)
            for one, other in zip(found, expected, strict=True)
        )


def _begun(row: LogLikelihood, shared: int) -> LogLikelihood:
    """Return a row of the first tokens of `row`: enough to tell one attention from another."""
    start = row.prompt[: shared + _TRIED_TOKENS]
    return LogLikelihood(start, row.answer[:_TRIED_TOKENS], row.bytes)


def _pairs(
    network: Any,
    items: Sequence[tuple[int, ...]],
    *,
    rows: Sequence[LogLikelihood],
    sequences: Any,
    prefix: SharedPrefix,
) -> list[tuple[int, Likelihood]]:
    return list(score_pack(network, items, rows, sequences, prefix=prefix).items())
