"""Activations scaled by learned vectors."""

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import InvalidExperiment


@dataclass(frozen=True)
class IA3:
    """Keys, values and the inside of each feed-forward block are scaled by learned vectors (Liu et al. 2022).

    targets: names of the modules that are scaled; None is PEFT's choice for the architecture, keys, values and the
    feed-forward's last layer. feedforward: those of `targets` that are scaled where they are entered, not left; None
    is the feed-forward's last layer.
    """

    targets: tuple[str, ...] | None = None
    feedforward: tuple[str, ...] | None = None

    # The paper's one rate for all its data sets is 3e-3 (Liu et al. 2022, section 3.3).
    learning_rate: ClassVar[float] = 3e-3
    rates: ClassVar[tuple[float, float]] = (1e-3, 3e-2)
    merges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for field in ("targets", "feedforward"):
            given = getattr(self, field)
            if isinstance(given, str):
                raise InvalidExperiment(f"IA3({field}={given!r}): give a tuple of module names: {field}=({given!r},)")
            if given is not None:
                object.__setattr__(self, field, tuple(given))
        if self.targets == ():
            raise InvalidExperiment("IA3(targets=()) trains nothing; leave it out or give module names")
        if self.feedforward is not None and self.targets is None:
            raise InvalidExperiment("IA3(feedforward=...) are some of the targets; give targets too")
        if self.targets is not None and (other := set(self.feedforward or ()) - set(self.targets)):
            raise InvalidExperiment(f"IA3(feedforward=...): {', '.join(sorted(other))} is not in targets; add it there")

    @property
    def name(self) -> str:
        if self.targets is None:
            return "ia3"
        entered = f"-in-{'+'.join(self.feedforward)}" if self.feedforward else ""
        return f"ia3-{'+'.join(self.targets)}{entered}"
