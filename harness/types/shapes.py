"""The sizes of a transformer: what parameters, memory and time depend on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Linear:
    """One linear layer of a block: reads `width_in` numbers, writes `width_out`."""

    name: str
    width_in: int
    width_out: int
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.width_in * self.width_out


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What memory depends on.

    Args:
        hidden: Width of the states.
        heads, kv_heads, head_dim: Of attention.
        intermediate: Width of the feed-forward network.
        linears: Of one block.
        norms: Normalised widths of one block, summed.
        final_norm: After the last block.
        norm_bias: Norms have a bias beside their weight.
        extra: Parameters outside the blocks besides embeddings, head and final norm.
        exact: The number of parameters that the files themselves have, None if only a config was read.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    context: int | None
    linears: tuple[Linear, ...]
    norms: int
    final_norm: int
    norm_bias: bool = False
    extra: int = 0
    exact: int | None = None

    @property
    def parameters(self) -> int:
        """All weights; a head that shares the embeddings' counts once."""
        return self.exact if self.exact is not None else self.closed_form

    @property
    def closed_form(self) -> int:
        """The number of weights that the sizes alone make."""
        a_block = sum(linear.weights + (linear.width_out if linear.bias else 0) for linear in self.linears)
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * a_block + self.norm_parameters + embeddings + self.extra

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers in the blocks: what QLoRA stores in 4 bits."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def gated(self) -> bool:
        """Whether the feed-forward network has a gate beside its first projection."""
        return any("gate" in linear.name for linear in self.linears)

    def kv_cache_bytes(self, tokens: int, *, width: int = 2) -> int:
        """Return the bytes of keys and values of `tokens` tokens; width: bytes of a number."""
        return 2 * self.layers * self.kv_width * tokens * width

    def targeted(self, targets: tuple[str, ...] | str) -> list[Linear]:
        """Return the linear layers of a block that `targets` name; any text, such as "all-linear", names all."""
        if isinstance(targets, str):
            return list(self.linears)
        return [
            one for one in self.linears if any(one.name == name or one.name.endswith(f".{name}") for name in targets)
        ]

    @property
    def norm_parameters(self) -> int:
        """The weights of all normalisation layers, biases of theirs included."""
        return (self.layers * self.norms + self.final_norm) * (2 if self.norm_bias else 1)
