"""Where the keys and values of answers in the making stand: a place an answer, written once, copied by no step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from harness.engine.attention import Packed, attention
from harness.engine.packing import Pack


class Slots:
    """Keys and values of answers, a pair of tensors a layer, (count, key heads, capacity, width).

    count: most answers at once. capacity: most tokens of one, the shared prefix apart. The answers in the making stand
    in the first places.
    """

    def __init__(self, count: int, capacity: int, device: torch.device) -> None:
        self._count, self._capacity = count, capacity
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)  # (answers,), the tokens that each has

    def write(
        self, layer: int, states: tuple[torch.Tensor, torch.Tensor], at: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        """Put keys and values, (tokens, key heads, width) each, where `at` says: a slot and a place in it a token."""
        if layer not in self._layers:
            # Zeros: what is masked still takes part in a product, and 0 times an uninitialised NaN is a NaN.
            self._layers[layer] = (self._empty(states[0]), self._empty(states[1]))
        slot, place = at
        for held, new in zip(self._layers[layer], states, strict=True):
            held[slot, :, place] = new

    def _empty(self, states: torch.Tensor) -> torch.Tensor:
        return states.new_zeros(self._count, states.shape[1], self._capacity, states.shape[2])

    def view(self, layer: int, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of all answers, (answers, key heads, longest, width), nothing copied."""
        keys, values = self._layers[layer]
        return keys[: len(self.lengths), :, :longest], values[: len(self.lengths), :, :longest]

    def keep(self, order: Sequence[int]) -> None:
        """Keep the answers at `order`, in that order; only those that change their place are moved."""
        moved = [(new, old) for new, old in enumerate(order) if new != old]
        if moved:
            to, of = torch.tensor(moved, device=self.lengths.device).unbind(1)
            for keys, values in self._layers.values():
                keys[to], values[to] = keys[of], values[of]
        self.lengths = self.lengths[torch.tensor(order, dtype=torch.long, device=self.lengths.device)]


@dataclass(frozen=True, slots=True)
class Filling:
    """An `harness.engine.attention.Own`: a packed row of prompts, each of which is written to its slot.

    of: (tokens of all prompts,), the places in the packed row. to: the slot of each, and the place in it.
    """

    slots: Slots
    pack: Pack
    of: torch.Tensor
    to: tuple[torch.Tensor, torch.Tensor]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Own.attend`."""
        keys, values = (states[0].index_select(1, self.of).transpose(0, 1) for states in (key, value))
        self.slots.write(layer, (keys, values), self.to)
        return Packed(self.pack).attend(layer, query, key, value, scale)


@dataclass(frozen=True, slots=True)
class Stepping:
    """An `harness.engine.attention.Own`: the next token of every answer, which sees what the answer has so far.

    mask: (answers, 1, 1, longest), 0 where a token is seen, else -inf.
    """

    slots: Slots
    mask: torch.Tensor

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Own.attend`."""
        answers = torch.arange(query.shape[2], device=query.device)
        self.slots.write(layer, (key[0].transpose(0, 1), value[0].transpose(0, 1)), (answers, self.slots.lengths))
        keys, values = self.slots.view(layer, self.mask.shape[-1])
        # Heads that share a key head stand in one row: no key is copied.
        own = query[0].transpose(0, 1).reshape(len(answers), keys.shape[1], -1, query.shape[3])
        answer, sums = attention(own, keys, values, self.mask, scale)
        return (
            answer.reshape(len(answers), query.shape[1], -1).transpose(0, 1)[None],
            sums.reshape(len(answers), -1).transpose(0, 1)[None],
        )


def step(slots: Slots, dtype: torch.dtype) -> Stepping:
    """Return the pass that reads one more token of every answer."""
    seen = torch.arange(int(slots.lengths.max()) + 1, device=slots.lengths.device) <= slots.lengths[:, None]
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, float("-inf"))
    return Stepping(slots, mask[:, None, None])


def fill(slots: Slots, pack: Pack, places: Mapping[int, int]) -> Filling:
    """Return the pass that reads `pack` and puts the prompt of each position in `places` into its slot."""
    paths = [pack.paths[position] for position in places]
    slot = torch.cat([torch.full((len(path),), to) for to, path in zip(places.values(), paths, strict=True)])
    place = torch.cat([torch.arange(len(path)) for path in paths])
    device = slots.lengths.device
    return Filling(slots, pack, torch.cat(paths).to(device), (slot.to(device), place.to(device)))
