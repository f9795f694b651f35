"""Log-likelihoods over shared beginnings: each distinct token is computed once, logits only where they are scored."""

from collections.abc import Sequence
from typing import Any

import torch

from harness.engine.attention import Packed, shared_attention
from harness.engine.likelihood import Scored, checked
from harness.engine.packing import Sequences, lay_out
from harness.engine.prefix import Prefix
from harness.samples import Likelihood

# Rows of logits that are held in float32 at a time.
_CHUNK = 256


def sequences_of(rows: Sequence[Scored], prefix: Prefix) -> Sequences:
    """Return what the rows read after `prefix`, and how many of their positions are scored."""
    return Sequences(
        [row.read[prefix.tokens :] for row in rows],
        [len(row.answer) for row in rows],
    )


@torch.inference_mode()
def score_pack(
    model: Any, items: Sequence[tuple[int, ...]], rows: Sequence[Scored], sequences: Sequences, *, prefix: Prefix
) -> dict[int, Likelihood]:
    """Return the likelihood of each position in `items`.

    Raises CannotShareError where the model's attention is of another kind, and InvalidEvidence where a log-probability
    is not a number.
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

    logits: (kept, vocabulary). at, targets: (scored,), the row of logits and the token.
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
