"""Texts -> the states of their tokens in an encoder, each distinct text once."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from transformers import GPT2Tokenizer, RobertaTokenizer


@dataclass(frozen=True)
class Encoder:
    """An encoder cut to the wanted layer.

    window: most tokens it takes, special tokens included. batch_size: texts a forward pass.
    kept: states of texts that later calls will ask for again, the longest unused first; at most `keep_bytes`.
    """

    model: Any
    tokenizer: Any
    device: str
    window: int
    batch_size: int
    keep_bytes: int
    kept: OrderedDict[str, torch.Tensor] = field(default_factory=OrderedDict)

    def tokens(self, texts: Collection[str]) -> dict[str, list[int]]:
        """Return the token ids of each text, special tokens included and nothing cut."""
        distinct = sorted(texts)
        if not distinct:
            return {}
        found = self.tokenizer([text.strip() for text in distinct], truncation=False, verbose=False, **self._options)
        return dict(zip(distinct, found["input_ids"], strict=True))

    def cut(self, text: str, ids: list[int]) -> list[int]:
        """Return the ids that fit the window, special tokens included."""
        if len(ids) <= self.window:
            return ids
        cut: list[int] = self.tokenizer.encode(text.strip(), max_length=self.window, truncation=True, **self._options)
        return cut

    @property
    def _options(self) -> dict[str, bool]:
        """What the bert-score package asks of a tokenizer; words of these two begin with the space before them."""
        spaced = isinstance(self.tokenizer, GPT2Tokenizer | RobertaTokenizer)
        return {"add_special_tokens": True} | ({"add_prefix_space": True} if spaced else {})

    def states(self, tokens: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return states of length 1 of each text, shape (time, width); `tokens` are its ids, cut to the window."""
        found = {text: self.kept[text] for text in tokens if text in self.kept}
        missing = [text for text in tokens if text not in found]
        for texts in _batches(missing, tokens, self.batch_size):
            ids = torch.tensor([list(tokens[text]) for text in texts], device=self.device)  # (batch, time)
            with torch.inference_mode():
                states = self.model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
                states = states / states.norm(dim=-1, keepdim=True)  # (batch, time, width)
            found.update(zip(texts, states.unbind(), strict=True))
        return found

    def keep(self, states: Mapping[str, torch.Tensor]) -> None:
        """Remember these texts' states, and forget the longest unused where there is no room."""
        for text, found in states.items():
            # A copy, for a state is a view of its whole batch.
            self.kept[text] = self.kept.pop(text) if text in self.kept else found.clone()
        room = self.keep_bytes - sum(found.nbytes for found in self.kept.values())
        while self.kept and room < 0:
            room += self.kept.popitem(last=False)[1].nbytes


def _batches(texts: Sequence[str], tokens: Mapping[str, Sequence[int]], size: int) -> Iterator[list[str]]:
    """Yield texts of one length: nothing is padded, so no neighbour matters."""
    for _, group in groupby(sorted(texts, key=lambda text: (len(tokens[text]), text)), lambda t: len(tokens[t])):
        same = list(group)
        for start in range(0, len(same), size):
            yield same[start : start + size]
