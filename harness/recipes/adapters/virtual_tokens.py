"""Virtual tokens: what is learned stands before every text, and no weight of the model changes."""

from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment

_TEXT = "Read the request and give the answer in exactly the form that is asked for."


@dataclass(frozen=True)
class PromptTuning:
    """Embeddings of virtual tokens before the text (Lester et al. 2021).

    tokens: how many. text: whose tokens' embeddings they start as, repeated or cut to `tokens`; None starts them as
    embeddings of tokens drawn from the vocabulary, which takes longer to learn from (Lester et al. 2021, section 3.2).
    """

    tokens: int = 20
    text: str | None = _TEXT

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


@dataclass(frozen=True)
class PTuning:
    """Embeddings of virtual tokens that a small network makes, trained instead of them (Liu et al. 2021).

    tokens: how many. encoder: "mlp", or "lstm", as in the paper. hidden: width inside the encoder; None is that of the
    model. The saved system holds the embeddings alone.
    """

    tokens: int = 20
    encoder: Literal["mlp", "lstm"] = "mlp"
    hidden: int | None = None

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


@dataclass(frozen=True)
class PrefixTuning:
    """Keys and values of virtual tokens in every layer, made by a small network (Li and Liang 2021).

    tokens: how many. hidden: width inside the network; None is 512, as in the paper. The saved system holds the keys
    and values alone. They start as zeros, which is near the untuned model; random ones spoil its answers at first.
    """

    tokens: int = 20
    hidden: int | None = None

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


@dataclass(frozen=True)
class PTuningV2:
    """Keys and values of virtual tokens in every layer, trained themselves (Liu et al. 2022, P-tuning v2).

    tokens: how many. They start as zeros, as in PrefixTuning.
    """

    tokens: int = 20

    # The paper's scripts train at 5e-3 to 1e-2.
    learning_rate: ClassVar[float] = 1e-2
    rates: ClassVar[tuple[float, float]] = (1e-3, 5e-2)
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_tokens("PTuningV2", self.tokens)

    @property
    def name(self) -> str:
        return f"p-tuning-v2-{self.tokens}"


VirtualTokens = PromptTuning | PTuning | PrefixTuning | PTuningV2


def _check_tokens(kind: str, tokens: int) -> None:
    if tokens < 1:
        raise InvalidExperiment(f"{kind}(tokens={tokens}) trains nothing; give 1 or more, such as 20")


def _check_hidden(kind: str, hidden: int | None) -> None:
    if hidden is not None and hidden < 1:
        raise InvalidExperiment(f"{kind}(hidden={hidden}): give a width of 1 or more, or leave it out")


def _of_width(hidden: int | None) -> str:
    return "" if hidden is None else f"-hidden{hidden}"
