"""Virtual tokens: what is learned stands before every text, and no weight of the model changes."""

from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.recipes.adapters.protocol import Adapter
from harness.types.shapes import ModelShape

# Layers of the recurrent encoder of PTuning.
RECURRENT_LAYERS = 2
_TEXT = "Read the request and give the answer in exactly the form that is asked for."


@dataclass(frozen=True)
class PromptTuning(Adapter):
    """Embeddings of virtual tokens before the text (Lester et al. 2021).

    Args:
        tokens: How many, 1 or more.
        text: Whose tokens' embeddings they start as, repeated or cut to `tokens`; None starts them as embeddings of
            tokens drawn from the vocabulary, which takes longer to learn from (Lester et al. 2021, section 3.2).

    Raises:
        InvalidExperiment: If `tokens` is below 1, or `text` is blank.

    Examples:
        >>> PromptTuning(tokens=10).name
        'prompt-10'
    """

    tokens: int = 20
    text: str | None = _TEXT

    support: ClassVar[str] = "harness.training.adapter_support:PromptTuningSupport"
    # Lester et al. use 0.3 with Adafactor, whose steps are relative to a weight's size; PEFT's own examples use 3e-2
    # with AdamW, whose steps are not.
    learning_rate: ClassVar[float] = 3e-2
    rates: ClassVar[tuple[float, float]] = (3e-3, 3e-1)
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_tokens("PromptTuning", self.tokens)
        if self.text is not None and not self.text.strip():
            raise InvalidExperiment("PromptTuning(text='') has no token to start from; give words, or None")

    @property
    def name(self) -> str:
        start = {_TEXT: "", None: "-drawn"}.get(self.text)
        if start is None:  # texts are long; a few digits of their hash keep two of them apart
            start = f"-text-{sha256(str(self.text).encode()).hexdigest()[:6]}"
        return f"prompt-{self.tokens}{start}"

    @property
    def tokens_before(self) -> int:
        return self.tokens

    def trained_parameters(self, shape: ModelShape) -> int:
        return self.tokens * shape.hidden


@dataclass(frozen=True)
class PTuning(Adapter):
    """Embeddings of virtual tokens that a small network makes, trained instead of them (Liu et al. 2021).

    The saved system holds the embeddings alone.

    Args:
        tokens: How many, 1 or more.
        encoder: The network: "mlp", or "lstm", as in the paper.
        hidden: Width inside it; None is that of the model.

    Raises:
        InvalidExperiment: If a field is out of its range.

    Examples:
        >>> PTuning(encoder="lstm").name
        'p-tuning-20-lstm'
    """

    tokens: int = 20
    encoder: Literal["mlp", "lstm"] = "mlp"
    hidden: int | None = None

    support: ClassVar[str] = "harness.training.adapter_support:PTuningSupport"
    # PEFT's example of P-tuning trains at 1e-3; an encoder's weights are common weights, not embeddings.
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-2)
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_tokens("PTuning", self.tokens)
        _check_hidden("PTuning", self.hidden)
        if self.encoder not in ("mlp", "lstm"):
            raise InvalidExperiment(f'PTuning(encoder={self.encoder!r}): give "mlp" or "lstm"')

    @property
    def name(self) -> str:
        return f"p-tuning-{self.tokens}-{self.encoder}{_of_width(self.hidden)}"

    @property
    def tokens_before(self) -> int:
        return self.tokens

    def trained_parameters(self, shape: ModelShape) -> int:
        hidden = shape.hidden
        return self.tokens * hidden + _encoder(hidden, self.hidden or hidden, recurrent=self.encoder == "lstm")


@dataclass(frozen=True)
class PrefixTuning(Adapter):
    """Keys and values of virtual tokens in every layer, made by a small network (Li and Liang 2021).

    The saved system holds the keys and values alone. They start as zeros, which is near the untuned model; random ones
    spoil its answers at first.

    Args:
        tokens: How many, 1 or more.
        hidden: Width inside the network; None is 512, as in the paper.

    Raises:
        InvalidExperiment: If a field is out of its range.

    Examples:
        >>> PrefixTuning(tokens=10).name
        'prefix-10'
    """

    tokens: int = 20
    hidden: int | None = None

    support: ClassVar[str] = "harness.training.adapter_support:PrefixTuningSupport"
    # Li and Liang train at 5e-5 to 1e-4 for tens of epochs; for a few, the network takes the rates of others its size.
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[tuple[float, float]] = (5e-5, 1e-2)
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_tokens("PrefixTuning", self.tokens)
        _check_hidden("PrefixTuning", self.hidden)

    @property
    def width(self) -> int:
        """hidden, with its default filled in."""
        return self.hidden or 512

    @property
    def name(self) -> str:
        return f"prefix-{self.tokens}{_of_width(self.hidden if self.width != 512 else None)}"

    def trained_parameters(self, shape: ModelShape) -> int:
        # More than is saved: the keys and values alone are, without the network that made them.
        read, inner, made = shape.kv_width, self.width, _keys_and_values(shape)
        return self.tokens * read + (read * inner + inner) + (inner * made + made)


@dataclass(frozen=True)
class PTuningV2(Adapter):
    """Keys and values of virtual tokens in every layer, trained themselves (Liu et al. 2022, P-tuning v2).

    They start as zeros, as in `PrefixTuning`.

    Args:
        tokens: How many, 1 or more.

    Raises:
        InvalidExperiment: If `tokens` is below 1.

    Examples:
        >>> PTuningV2(tokens=10).name
        'p-tuning-v2-10'
    """

    tokens: int = 20

    support: ClassVar[str] = "harness.training.adapter_support:PTuningV2Support"
    # The paper's scripts train at 5e-3 to 1e-2.
    learning_rate: ClassVar[float] = 1e-2
    rates: ClassVar[tuple[float, float]] = (1e-3, 5e-2)
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_tokens("PTuningV2", self.tokens)

    @property
    def name(self) -> str:
        return f"p-tuning-v2-{self.tokens}"

    def trained_parameters(self, shape: ModelShape) -> int:
        return self.tokens * _keys_and_values(shape)


VirtualTokens = PromptTuning | PTuning | PrefixTuning | PTuningV2


def _check_tokens(kind: str, tokens: int) -> None:
    if tokens < 1:
        raise InvalidExperiment(f"{kind}(tokens={tokens}) trains nothing; give 1 or more, such as 20")


def _check_hidden(kind: str, hidden: int | None) -> None:
    if hidden is not None and hidden < 1:
        raise InvalidExperiment(f"{kind}(hidden={hidden}): give a width of 1 or more, or leave it out")


def _of_width(hidden: int | None) -> str:
    return "" if hidden is None else f"-hidden{hidden}"


def _keys_and_values(shape: ModelShape) -> int:
    return 2 * shape.layers * shape.kv_width


def _encoder(hidden: int, inner: int, *, recurrent: bool) -> int:
    """Return the weights of the network that makes the virtual tokens of P-tuning (Liu et al. 2021)."""
    if not recurrent:
        return (hidden * inner + inner) + (inner * inner + inner) + (inner * hidden + hidden)
    # Two directions, four gates of (input, state and two biases) each; the next layer reads both directions.
    recurrent_weights = sum(
        2 * 4 * (inner * (width + inner) + 2 * inner) for width in [hidden] + [2 * inner] * (RECURRENT_LAYERS - 1)
    )
    return recurrent_weights + (2 * inner * 2 * inner + 2 * inner) + (2 * inner * hidden + hidden)
