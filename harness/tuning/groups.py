"""In which order a run meets its prompts."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class Groups(Sampler[int]):
    """The prompts of a whole run, step by step; each step's prompts stand `generations` times, one after the other.

    A step's prompts come again for each part that a step is computed in: TRL reads them once a part, and answers them
    once. The order is that of one seed, so that a run that resumes finds it again.
    """

    def __init__(self, size: int, *, prompts: int, generations: int, repeats: int, steps: int, seed: int) -> None:
        self._size, self._prompts, self._generations = size, prompts, generations
        self._repeats, self._steps, self._seed = repeats, steps, seed

    def __len__(self) -> int:
        return self._steps * self._repeats * self._prompts * self._generations

    def __iter__(self) -> Iterator[int]:
        stream = shuffled(self._size, seed=self._seed)
        for _ in range(self._steps):
            chosen = [next(stream) for _ in range(self._prompts)]
            for _ in range(self._repeats):
                for place in chosen:
                    yield from [place] * self._generations


def shuffled(size: int, *, seed: int) -> Iterator[int]:
    """Yield the places below `size` in a new order each time round, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(size, generator=generator).tolist()
