"""What a recipe asks of an adapter: which weights are trained."""

from typing import Protocol


class Adapter(Protocol):
    """Which weights a recipe trains.

    name: how pages call it. learning_rate: used where the recipe gives none. rates: lowest and highest rate that is
    worth a trial, for a fair comparison of methods. merges: whether the trained update can become part of the base's
    weights.
    """

    @property
    def name(self) -> str: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def rates(self) -> tuple[float, float]: ...
    @property
    def merges(self) -> bool: ...
