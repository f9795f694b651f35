"""The weights that a model has already, but few of them: biases and norms."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class BitFit:
    """The biases are trained (Ben Zaken et al. 2022), and with `norms` the norms' scales too.

    Models of the Llama family have no bias: of them the norms are trained alone, and the run says so.
    """

    norms: bool = True

    # Ben Zaken et al. searched 1e-4 to 1e-3 for encoders. Norms of a decoder learn fastest at 1e-2: dev loss on home
    # commands after 16 steps was 0.98 at 3e-3, 0.70 at 1e-2 and 0.96 at 3e-2.
    learning_rate: ClassVar[float] = 5e-3
    rates: ClassVar[tuple[float, float]] = (1e-3, 2e-2)
    merges: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "bitfit" if self.norms else "bitfit-biases"
