"""How much the divergence from the start costs, steered so that it stays near a target."""

from dataclasses import dataclass, replace

_FURTHEST = 0.2


@dataclass(frozen=True, slots=True)
class Coefficient:
    """beta: cost of a nat. target: nats an answer; None keeps beta. horizon: answers over which it is steered."""

    beta: float
    target: float | None
    horizon: int

    def after(self, divergence: float, *, answers: int) -> "Coefficient":
        """Return the coefficient after so many answers of this mean divergence, in nats an answer.

        Source: Ziegler et al., Fine-Tuning Language Models from Human Preferences (2019), section 2.2.
        """
        if self.target is None:
            return self
        error = min(max(divergence / self.target - 1, -_FURTHEST), _FURTHEST)
        return replace(self, beta=self.beta * (1 + error * answers / self.horizon))
