"""The weights that a model has already, but few of them: biases and norms."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class BitFit:
    """The biases are trained (Ben Zaken et al. 2022), and with `norms` the norms' scales too.

    Models of the Llama family have no bias: of them the norms are trained alone, and the run says so.
    """

    norms: bool = True

    # Ben Zaken et al. searched 1e-4 to 1e-3 for encoders; so few weights bear more.
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-2)
    merges: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "bitfit" if self.norms else "bitfit-biases"
