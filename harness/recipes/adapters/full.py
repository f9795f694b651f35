"""Every weight is trained."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Full:
    """Every weight is trained, kept in float32."""

    learning_rate: ClassVar[float] = 2e-5
    rates: ClassVar[tuple[float, float]] = (1e-5, 2e-4)
    merges: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "full"
