"""Log-likelihoods of given answers: one forward over prompt and answer, logits only where an answer is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.engine.prefix import Prefix, pad_left
from harness.errors import InvalidEvidence
from harness.samples import Likelihood


@dataclass(frozen=True)
class Scored:
    """One row: tokens of prompt and answer (without end token). bytes: UTF-8 length of the answer."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    bytes: int

    @property
    def read(self) -> tuple[int, ...]:
        """Return what the model reads: the last answer token is only predicted."""
        return self.prompt + self.answer[:-1]


@torch.inference_mode()
def score(model: Any, rows: Sequence[Scored], prefix: Prefix, *, pad: int) -> list[Likelihood]:
    """Return the likelihood of each row's answer given its prompt.

    Raises InvalidEvidence where a log-probability is not a number.
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


def _likelihood(logits: torch.Tensor, row: Scored) -> Likelihood:
    count = len(row.answer)
    if count == 0:
        return checked(row, 0.0, greedy=True)
    scores = logits[-count:].float()  # (answer tokens, vocabulary)
    answer = torch.tensor(row.answer, device=scores.device)
    # As lm-eval does it, in float32 throughout: a sum in float64 is nearer the truth by 1e-4 a sequence, and that much
    # away from what everyone else reports.
    total = float(scores.log_softmax(dim=-1).gather(1, answer[:, None]).sum())
    return checked(row, total, greedy=bool((scores.argmax(dim=-1) == answer).all()))


def checked(row: Scored, total: float, *, greedy: bool) -> Likelihood:
    """Return the likelihood of `row`.

    Raises InvalidEvidence where `total` is not a number.
    """
    if total != total:
        raise InvalidEvidence("a log-likelihood is not a number (NaN): the model's weights are broken")
    return Likelihood(total, len(row.answer), row.bytes, greedy=greedy)
