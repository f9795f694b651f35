"""What an adapter declares, and what the support that it names does: all that is ever asked of an adapter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from harness.errors import InvalidExperiment, StageFailed
from harness.types.dotted_paths import resolve
from harness.types.samples import Check
from harness.types.shapes import ModelShape

Targets = Literal["all-linear"] | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunerAdapter:
    """An adapter in the terms of other tuners.

    Attributes:
        kind: Low-rank updates, the same on a base in 4 bits, or all weights; the rest is said of the first two.
        scale: Alpha, with its default filled in.
        starts_at_zero: The update changes nothing at first, as it does in other tuners.
    """

    kind: Literal["lora", "qlora", "full"]
    rank: int = 0
    scale: float = 0.0
    dropout: float = 0.0
    targets: Targets = "all-linear"
    rslora: bool = False
    dora: bool = False
    starts_at_zero: bool = True


class Adapter:
    """Which weights a recipe trains: a frozen dataclass that runs nothing and imports no torch.

    A subclass gives `name` and `support`; every other member has a default. Its fields, and nothing else of it, are
    part of a recipe's key. docs/how-to/write-an-adapter.md writes one.

    Attributes:
        support: The dotted path "package.module:Class" of its `AdapterSupport`.
        learning_rate: Used if the recipe gives none.
        rates: The lowest and highest learning rate that is worth a trial, for a fair comparison of methods.
        whole: Every weight is trained: no base is frozen, and what is saved is a whole model.
        quantization: The format of the base's linear layers in training; None is the model's own.
        pads: Answers may be generated from rows of unlike length side by side, padded on the left.
        splits: Its weights can be divided among devices that train together.
    """

    support: ClassVar[str]
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-2)
    whole: ClassVar[bool] = False
    quantization: ClassVar[Literal["nf4"] | None] = None
    pads: ClassVar[bool] = False
    splits: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """How pages call it: two declarations that train otherwise never share a name."""
        raise NotImplementedError

    @property
    def merges(self) -> bool:
        """Whether the trained update can become part of the base's weights."""
        return False

    @property
    def step_cost(self) -> float:
        """How many times as long a step takes as its operations say."""
        return 1.0

    @property
    def tokens_before(self) -> int:
        """Tokens that are computed before every text."""
        return 0

    @property
    def for_tuners(self) -> TunerAdapter | None:
        """The adapter in the terms of other tuners; None if they have none like it."""
        return None

    def trained_parameters(self, shape: ModelShape) -> int | None:
        """Return how many weights it trains on a model of `shape`; None if there is no closed form."""
        return None

    def module_names(self) -> Mapping[str, Sequence[str]]:
        """Return the names of modules that the model must have, by the field that gives them."""
        return {}

    def layer_numbers(self) -> Sequence[int]:
        """Return the numbers of the layers that it is put on, if it names any."""
        return ()


Declared = TypeVar("Declared", bound=Adapter)


class AdapterSupport(Generic[Declared]):
    """How an adapter is put on a network, trained, saved and merged; imported only once a network is at hand.

    An adapter gets on a network in one of two ways: PEFT carries what `peft_config` returns, or, if that is None,
    `hang` puts modules of its own into the network. A subclass gives one of the two.
    """

    # Completes the sentence "X cannot be merged: ...".
    why_not_merged: ClassVar[str] = "its update is no update of the base's weights"

    def __init__(self, adapter: Declared) -> None:
        self.adapter = adapter

    def peft_config(self, *, prepared: bool = True) -> Any | None:
        """Return PEFT's config.

        Args:
            prepared: False starts from random weights whatever the adapter says: there are no numbers, or no data.
        """
        return None

    def hang(self, modules: Any, base: Any) -> None:
        """Put modules into `base`.

        Args:
            modules: The `harness.inference.custom_adapters.hooks.CustomModules` that hold, train and save them.
            base: A causal language model of transformers.

        Raises:
            StageFailed: If the architecture is not one that they fit.
        """
        raise StageFailed(
            f"{self.adapter.name}: {type(self).__name__} has neither peft_config nor hang, so nothing can be trained"
        )

    def merge(self, modules: Any, base: Any) -> None:
        """Write the update of modules that `hang` put there into the weights of `base`.

        Raises:
            StageFailed: If no weight can hold it.
        """
        raise StageFailed(f"{type(self.adapter).__name__} cannot be merged: {self.why_not_merged}")

    def start(self, network: Any, supplies: Any) -> None:
        """Give new weights on `network` their start, if it is another than random numbers.

        Args:
            network: The model with the adapter on it.
            supplies: The `harness.training.adapter_setup.Supplies`: tokenizer and training rows.
        """

    def go_on(self, folder: Path, put_on: Callable[[], Any]) -> Any | None:
        """Return the network with the weights that an earlier step left in `folder`, to be trained further.

        Args:
            folder: The saved adapter.
            put_on: Returns the base with new weights on it.

        Returns:
            None if the saved weights are all that training needs: they are loaded and trained.
        """
        return None

    def accompany(self, trainer: Any, folder: Path) -> Callable[[], tuple[Check, ...]]:
        """Give `trainer` what the adapter needs while training; return what makes the checks that its end allows.

        Args:
            trainer: A trainer of transformers.
            folder: Where the result will lie.
        """
        return tuple

    def trained_base(self, put_on: Callable[[], Any]) -> Any | None:
        """Return the base that training started from; None if it is the one that is served, or that one in 4 bits.

        Args:
            put_on: Returns the base with new weights on it.
        """
        return None


def support_of(adapter: Adapter) -> AdapterSupport[Any]:
    """Return the support that `adapter` names.

    Raises:
        InvalidExperiment: If it names none.
    """
    path = getattr(adapter, "support", None)
    if not isinstance(path, str):
        raise InvalidExperiment(
            f"{type(adapter).__name__} names no support, so nothing says how it is trained; give it "
            'support = "package.module:Class", as docs/how-to/write-an-adapter.md shows'
        )
    made = resolve(path)(adapter)
    if not isinstance(made, AdapterSupport):
        raise InvalidExperiment(f"{type(adapter).__name__}.support = {path!r} makes no AdapterSupport")
    return made
