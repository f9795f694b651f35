"""Log-likelihoods of a stage's requests: packed where the model allows it, in plain padded batches where not."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from harness.engine.attention import CannotShareError
from harness.engine.batching import plan_batches
from harness.engine.likelihood import Scored, score
from harness.engine.memory import halving
from harness.engine.packing import Limits, plan_packs
from harness.engine.prefix import Prefix
from harness.engine.shared import score_pack, sequences_of
from harness.protocols import LikelihoodBatch
from harness.samples import Likelihood

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

    def packed(self, rows: Sequence[Scored], prefix: Prefix, *, done: frozenset[int]) -> Iterator[LikelihoodBatch]:
        """Yield the likelihoods of `rows`, a pack at a time; those whose positions are all `done` are left out."""
        sequences = sequences_of(rows, prefix)
        for items in plan_packs(sequences, self.limits):
            positions = tuple(position for item in items for position in item)
            if done.issuperset(positions):
                continue
            compute = partial(_pairs, self._network, rows=rows, sequences=sequences, prefix=prefix)
            found = dict(halving(compute, items))
            yield positions, tuple(found[position] for position in positions)

    def plain(self, rows: Sequence[Scored], prefix: Prefix, *, done: frozenset[int]) -> Iterator[LikelihoodBatch]:
        """Yield the likelihoods of `rows`, a padded batch at a time."""
        for positions in plan_batches([len(row.read) for row in rows], tokens=self.limits.tokens, rows=_ROWS):
            if done.issuperset(positions):
                continue
            batch = [rows[position] for position in positions]
            yield positions, tuple(halving(partial(score, self._network, prefix=prefix, pad=self._pad), batch))

    def packs_right(self, rows: Sequence[Scored], prefix: Prefix) -> bool:
        """Tell whether packed rows give this network's own numbers, on the beginnings of the first few of `rows`."""
        if getattr(self._network.config.get_text_config(), "attention_chunk_size", None) is not None:
            return False  # attention in chunks of positions: short trials would not show it
        few = [_begun(row, prefix.tokens) for row in rows[:_TRIED_ROWS]]
        try:
            ((positions, found),) = self.packed(few, prefix, done=frozenset())
        except _REFUSALS:
            return False
        expected = score(self._network, [few[position] for position in positions], prefix, pad=self._pad)
        absolute, share = _ROUNDING.get(str(self._network.dtype).removeprefix("torch."), _ROUNDING_HALF)
        return all(
            abs(one.logprob - other.logprob) <= absolute + share * abs(other.logprob)
            for one, other in zip(found, expected, strict=True)
        )


def _begun(row: Scored, shared: int) -> Scored:
    """Return a row of the first tokens of `row`: enough to tell one attention from another."""
    start = row.prompt[: shared + _TRIED_TOKENS]
    return Scored(start, row.answer[:_TRIED_TOKENS], row.bytes)


def _pairs(
    network: Any, items: Sequence[tuple[int, ...]], *, rows: Sequence[Scored], sequences: Any, prefix: Prefix
) -> list[tuple[int, Likelihood]]:
    return list(score_pack(network, items, rows, sequences, prefix=prefix).items())
