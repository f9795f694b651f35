"""What answers: a local model or an endpoint. Declarations only; nothing is loaded here."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, Protocol
from urllib.parse import urlsplit

from harness.errors import InvalidExperiment, NotFingerprintable
from harness.fingerprint import fingerprint
from harness.types.dotted_paths import MOVED
from harness.types.redact import shown_address

# Short names of the engines that bring `Model`s to answer; any other dotted path may stand in their place.
ENGINES = {
    "transformers": "harness.inference.local.engine:open_engine",
    "vllm": "harness.inference.vllm.engine:open_engine",
}

_DTYPES = ("auto", "bfloat16", "float32", "float16")
_MEANT = {"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "half": "float16", "fp32": "float32",
          "f32": "float32", "float": "float32", "full": "float32"}  # fmt: skip
_FEW_BITS = re.compile(r"[248]|bit|gptq|awq|quant")


class TemplateOptions(dict[str, object]):
    """Options of a chat template by name, as values that a declaration may hold: hashed by their content."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(fingerprint(self))


# What a request says that no parameter may change.
_OURS = ("messages", "model", "stream", "n", "prompt")


@dataclass(frozen=True, kw_only=True)
class _LocalOptions:
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: Literal["auto", "bfloat16", "float32", "float16"] = "auto"
    quantize: Literal["nf4"] | None = field(default=None, metadata={"key": "changed"})
    template_options: Mapping[str, object] | None = field(default=None, metadata={"key": "changed"})
    system: Literal["auto", "keep", "merge"] = field(default="auto", metadata={"key": "changed"})
    device: str = field(default="auto", metadata={"key": False})
    # Not in the fingerprint of the fields: `harness.plan.model_key` adds it if it is not transformers.
    engine: str = field(default=ENGINES["transformers"], metadata={"key": False})


@dataclass(frozen=True)
class Model(_LocalOptions):
    """A model that runs here.

    Args:
        source: A packaged name, a local folder, a GGUF file, or a hub id.
        revision: Branch, tag or commit of a hub model; None is the branch "main".
        trust_remote_code: Run Python code that comes with the model.
        dtype: "auto" is bfloat16 if the machine computes in it, else float32; the run records which.
        quantize: "nf4" answers with the linear layers in 4 bits; training is not changed by it (`QLoRA` trains so).
        template_options: Variables of the chat template, such as {"enable_thinking": False}, in training, evaluation
            and serving alike. "date_string" is the day that a template takes for today; without it one fixed day is.
        system: What becomes of a system message. "keep" leaves it to the template, "merge" puts it before the first
            user message, "auto" merges if the template refuses a system message or leaves it out.
        device: "auto" is the first GPU if there is one, else the CPU; or a device of torch, such as "cuda:1".
        engine: "transformers" answers in this process, "vllm" through a server that it starts on 127.0.0.1, a dotted
            path "package.module:function" through what that opens. Training is the same for all.

    Raises:
        InvalidExperiment: If a field has a value that is unknown, with the way to what is meant.

    Examples:
        >>> Model("Qwen/Qwen3-0.6B", template_options={"enable_thinking": False}).name
        'Qwen3-0.6B'
    """

    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", ENGINES.get(self.engine, MOVED.get(self.engine, self.engine)))
        if ":" not in self.engine:
            raise InvalidExperiment(
                f"Model({self.source!r}): engine={self.engine!r} is unknown; "
                f"use {' or '.join(repr(name) for name in ENGINES)}, or a dotted path package.module:function"
            )
        if not self.source.strip():
            raise InvalidExperiment('Model("") names nothing; give a packaged name, a folder, a .gguf file or a hub id')
        _check_formats(self)
        if self.system not in ("auto", "keep", "merge"):
            raise InvalidExperiment(f'Model({self.source!r}, system={self.system!r}): give "auto", "keep" or "merge"')
        object.__setattr__(self, "template_options", _template_options(self) or None)

    @property
    def name(self) -> str:
        return self.source.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")


def _check_formats(model: Model) -> None:
    """Raise InvalidExperiment if `dtype` or `quantize` is unknown, with the way to what is meant."""
    said, few = f"Model({model.source!r}, dtype={model.dtype!r})", str(model.dtype).lower()
    if model.dtype not in _DTYPES and few not in _MEANT and not re.search("16|32|64", few) and _FEW_BITS.search(few):
        raise InvalidExperiment(
            f'{said}: fewer than 16 bits are no dtype; quantize="nf4" answers in 4 bits, and the adapter QLoRA() '
            "trains on a base in 4 bits"
        )
    if model.dtype not in _DTYPES:
        meant = _MEANT.get(few) or few.removeprefix("torch.")
        give = f'"{meant}"' if meant in _DTYPES else " or ".join(f'"{name}"' for name in _DTYPES)
        raise InvalidExperiment(f"{said} is unknown; give {give}")
    if model.quantize not in (None, "nf4"):
        raise InvalidExperiment(
            f'Model({model.source!r}, quantize={model.quantize!r}) is unknown; give "nf4" (4 bits), or leave it out'
        )
    if model.quantize is not None and model.engine == ENGINES["vllm"]:
        raise InvalidExperiment(
            f"Model({model.source!r}, quantize={model.quantize!r}): vLLM is not asked for it here; "
            'answer with engine="transformers"'
        )


def _template_options(model: Model) -> TemplateOptions:
    """Return the options as they are kept: names of variables, values that JSON has."""
    given = model.template_options
    if given is None:
        return TemplateOptions()
    said = f"Model({model.source!r}, template_options={given!r})"
    if not isinstance(given, Mapping):
        raise InvalidExperiment(f'{said}: give names and values, such as {{"enable_thinking": False}}')
    wrong = [name for name in given if not isinstance(name, str) or not name.isidentifier()]
    if wrong:
        raise InvalidExperiment(f"{said}: {wrong[0]!r} is no name of a variable")
    try:
        fingerprint(dict(given))
        return TemplateOptions(json.loads(json.dumps(given)))
    except (NotFingerprintable, TypeError, ValueError) as error:
        raise InvalidExperiment(f"{said}: {error}") from error


@dataclass(frozen=True, repr=False)
class Endpoint:
    """Any OpenAI-compatible server.

    Args:
        url: Base address, such as "http://127.0.0.1:8000/v1". A query, such as Azure's "?api-version=...", follows each
            path.
        model: The name that the server knows.
        price_in: Money for one million tokens of prompts; None is unknown.
        price_out: Money for one million tokens of answers; None is unknown.
        api_key_env: NAME of the environment variable that holds the key; the key itself is never stored.
        requests_per_minute: Most that are sent; None is no limit.
        tokens_per_minute: Most that are sent and received; None is no limit.
        tokenizer: The local model (a string means `Model(string)`) whose tokenizer and chat template the server's model
            has. Only with it can log-likelihoods be asked for, since an answer's tokens are scored after the very
            tokens of its prompt.
        concurrency: Requests side by side, 1 or more.
        timeout_seconds: For one request.
        retries: After the first attempt, 0 or more.
        parameters: JSON values that each request for an answer carries beside, or in place of, what decoding says, such
            as {"reasoning_effort": "low"}.
        omit: Names that a request must not carry, such as ("temperature", "seed").

    Raises:
        InvalidExperiment: If the address is none, a number is out of its range, or `parameters` and `omit` contradict
            each other or name what the harness writes.

    Examples:
        >>> Endpoint("https://api.example.com/v1", "large", price_in=2.5, price_out=10.0).name
        'large'
    """

    url: str
    model: str

    engine: ClassVar[str] = "harness.inference.openai.endpoint:open_engine"

    price_in: float | None = field(default=None, metadata={"key": False})
    price_out: float | None = field(default=None, metadata={"key": False})
    api_key_env: str = field(default="OPENAI_API_KEY", metadata={"key": False}, kw_only=True)
    requests_per_minute: float | None = field(default=None, metadata={"key": False}, kw_only=True)
    tokens_per_minute: float | None = field(default=None, metadata={"key": False}, kw_only=True)
    # Not in the fingerprint of the fields: `harness.plan.model_key` adds the content that it names.
    tokenizer: Model | str | None = field(default=None, metadata={"key": False}, kw_only=True)
    concurrency: int = field(default=4, metadata={"key": False}, kw_only=True)
    timeout_seconds: float = field(default=60.0, metadata={"key": False}, kw_only=True)
    retries: int = field(default=5, metadata={"key": False}, kw_only=True)
    parameters: Mapping[str, object] | None = field(default=None, hash=False, metadata={"key": "changed"}, kw_only=True)
    omit: tuple[str, ...] = field(default=(), metadata={"key": "changed"}, kw_only=True)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InvalidExperiment(f"Endpoint(url={self.shown!r}): an address starts with http:// or https://")
        if not _has_host(self.url):
            raise InvalidExperiment(f"Endpoint(url={self.shown!r}) names no host, or a port that is no number")
        if not self.model:
            raise InvalidExperiment(f"Endpoint({self.shown!r}) needs model=, the name that the server knows")
        self._check_parameters()
        if self.concurrency < 1 or self.retries < 0 or self.timeout_seconds <= 0:
            raise InvalidExperiment("Endpoint: concurrency >= 1, retries >= 0 and timeout_seconds > 0 are needed")
        for limit in (self.requests_per_minute, self.tokens_per_minute):
            if limit is not None and limit <= 0:
                raise InvalidExperiment(f"Endpoint: a limit of {limit:g} a minute lets nothing pass; None is no limit")
        if isinstance(self.tokenizer, str):
            object.__setattr__(self, "tokenizer", Model(self.tokenizer))

    @property
    def name(self) -> str:
        return self.model.rsplit("/", 1)[-1]

    @property
    def shown(self) -> str:
        """The address without password and keys, as errors, store and page show it."""
        return shown_address(self.url)

    def __repr__(self) -> str:
        said = [repr(self.shown), repr(self.model)]
        said += [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)
            if one.name not in ("url", "model") and getattr(self, one.name) != one.default
        ]
        return f"Endpoint({', '.join(said)})"

    def _check_parameters(self) -> None:
        given = dict(self.parameters or {})
        object.__setattr__(self, "omit", (self.omit,) if isinstance(self.omit, str) else tuple(self.omit))
        for name in (*given, *self.omit):
            if name in _OURS:
                raise InvalidExperiment(f"Endpoint: {name!r} is not for parameters= or omit=; the harness writes it")
        both = sorted({*given} & {*self.omit})
        if both:
            raise InvalidExperiment(f"Endpoint: {both[0]!r} stands in parameters= and in omit=; keep one")
        try:
            json.dumps(given, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidExperiment(f"Endpoint(parameters={given!r}) has no JSON form ({error})") from error


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What an hour of one's own machine costs, in the currency of the endpoints' prices.

    Args:
        training_hour: Money for an hour in which a recipe trains, 0 or more; None is unknown.
        serving_hour: Money for an hour in which a local model answers, 0 or more; None is unknown.

    Raises:
        InvalidExperiment: If a price is below 0 or not finite.

    Examples:
        >>> Costs(training_hour=2.5, serving_hour=2.5).training_hour
        2.5
    """

    training_hour: float | None = None
    serving_hour: float | None = None

    def __post_init__(self) -> None:
        for name, price in (("training_hour", self.training_hour), ("serving_hour", self.serving_hour)):
            if price is not None and not 0 <= price < float("inf"):
                raise InvalidExperiment(f"Costs({name}={price}): give money for an hour, 0 or more, such as 2.5")


class AnyModel(Protocol):
    """What answers. `engine` is the dotted path of `open_engine(model, *, progress) -> Engine`."""

    @property
    def engine(self) -> str: ...
    @property
    def name(self) -> str: ...


def as_model(model: str | AnyModel) -> AnyModel:
    """A bare string means `Model(string)`."""
    return Model(model) if isinstance(model, str) else model
