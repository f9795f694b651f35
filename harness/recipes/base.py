"""What all recipes that train weights by gradient have in common: optimiser, schedule, evaluation, and their checks.

What a recipe looks at while it trains, and what it tries before: the fields `watch` and `search`, checked.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import FunctionType
from typing import ClassVar, Literal, overload

from harness.errors import InvalidExperiment
from harness.recipes.adapters import Adapter, LoRA
from harness.types.protocols import (
    AnyMetric,
    BatchMetric,
    CorpusMetric,
    Executed,
    JudgedMetric,
    Metric,
    PairMetric,
    Strategy,
    needs_likelihood,
)

DEFAULT_TRIALS = 8


@dataclass(frozen=True, repr=False)
class Choice(Sequence[object]):
    """Two numbers of which one is chosen, since a tuple of two would be a range."""

    values: tuple[object, ...]

    @overload
    def __getitem__(self, place: int) -> object: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[object]: ...
    def __getitem__(self, place: int | slice) -> object:
        return self.values[place]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return repr(list(self.values))  # as it is declared


# (field, values tried) in the order in which the author named them.
Space = tuple[tuple[str, tuple[object, ...] | Choice], ...]


def check_watch(metric: object) -> str | None:
    """Return why `metric` cannot be watched while a model trains, None if it can."""
    if isinstance(metric, type):
        return f"is a class; write {metric.__name__}()"
    if isinstance(metric, PairMetric | JudgedMetric):
        return "compares two systems; watch a metric of single answers, such as ExactMatch()"
    if isinstance(metric, Executed):
        return "runs a model of its own; watch a metric that is computed at once, such as ExactMatch()"
    if needs_likelihood(metric):
        return "is computed from likelihoods, which the dev loss already shows; leave watch out"
    if not isinstance(metric, Metric | BatchMetric | CorpusMetric):
        return "is no metric; give one of single answers, such as ExactMatch()"
    return None


def read_space(
    search: Mapping[str, Sequence[object]] | Space, *, known: frozenset[str], adapter: frozenset[str]
) -> Space | str:
    """Return the space that `search` declares, or what is wrong with it.

    Args:
        search: Field -> what to try, as it is declared.
        known: Names of the recipe's fields.
        adapter: Names of the adapter's fields.
    """
    pairs = tuple(search.items()) if isinstance(search, Mapping) else search
    named = known | adapter
    if not pairs:
        return 'tries nothing; give fields and values, such as {"learning_rate": (1e-5, 1e-3)}'
    space = []
    for name, values in pairs:
        if name not in named:
            return f"{name!r} is no field of the recipe or its adapter; give one of {', '.join(sorted(named))}"
        if isinstance(values, str | bytes) or not isinstance(values, Sequence):
            return (
                f"{name}={values!r} is neither a list of values to choose from, such as [4, 8], nor a tuple "
                "(lowest, highest) of a range"
            )
        # A list within, as of module names, would fail when the declaration is hashed.
        tried = tuple(tuple(one) if isinstance(one, list) else one for one in values)
        if len(tried) < 2:
            return f"{name} has {len(tried)} value(s) to try; give 2 or more, or set the field itself"
        twice = next((one for place, one in enumerate(tried) if one in tried[:place]), None)
        if twice is not None:
            return f"{name} has {twice!r} more than once; name each value once"
        if not (isinstance(values, tuple) and is_range(tried)):
            # Two numbers alone would be read as a range; any other choice is kept as it always was.
            space.append((name, Choice(tried) if is_range(tried) else tried))
        elif _rises(tried):
            space.append((name, tried))
        else:
            low_first = ", ".join(repr(one) for one in reversed(tried))
            return (
                f"{name}={tried} is no range, which is (lowest, highest): write ({low_first}), or a list, "
                f"{list(tried)}, to choose one of the two"
            )
    return tuple(space)


def is_range(values: Sequence[object]) -> bool:
    """Tell a range, a tuple (lowest, highest) of two numbers, from values to choose among."""
    return not isinstance(values, Choice) and len(values) == 2 and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rises(values: Iterable[object]) -> bool:
    low, high = (float(one) for one in values if isinstance(one, int | float))
    return math.isfinite(low) and math.isfinite(high) and low < high


Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The fields that every method shares: `SFT` says what each is."""

    adapter: Adapter = field(default_factory=LoRA)
    epochs: float = 3
    learning_rate: float | Literal["find"] | None = None
    batch_size: int = 8
    micro_batch_size: int | None = None
    max_length: int | None = None
    warmup: float = 0.03
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    patience: int | None = 3
    evaluate_every: int | None = None
    evaluate_on: int | None = 100
    watch: AnyMetric | None = field(default=None, metadata={"key": "changed"})
    search: Mapping[str, Sequence[object]] | Space | None = field(default=None, metadata={"key": "changed"})
    trials: int | None = field(default=None, metadata={"key": "changed"})
    limit: int | None = None
    prompt: Strategy | None = None
    label: str | None = field(default=None, metadata={"key": False})

    trainer: ClassVar[str]
    # First word of the name.
    method: ClassVar[str]
    # The method's best rate over that of supervised tuning with the same adapter.
    rate_factor: ClassVar[float] = 1.0
    # What the trained folder is: a policy answers, a reward model scores.
    makes: ClassVar[Literal["policy", "reward"]] = "policy"

    def __post_init__(self) -> None:
        if isinstance(self.adapter, type | FunctionType):  # DoRA is a function
            raise self.refused(f"adapter={self.adapter.__name__}", f"is a class; write {self.adapter.__name__}()")
        if self.schedule not in ("cosine", "linear", "constant"):
            raise self.refused(f"schedule={self.schedule!r}", 'give "cosine", "linear" or "constant"')
        self.check_counts(
            ("batch_size", "micro_batch_size", "max_length", "patience", "evaluate_every", "evaluate_on", "limit")
        )
        _check_numbers(self)
        self._check_looking()

    @property
    def name(self) -> str:
        """The label, or the adapter and every field that is not its default: two different recipes never share it."""
        if self.label is not None:
            return self.label
        return " ".join([self.method, self.adapter.name, *_said_fields(self)])

    @property
    def rate(self) -> float:
        """The learning rate, with the default filled in; if it is yet to be found, the default."""
        if self.learning_rate is None or self.learning_rate == "find":
            return self.adapter.learning_rate * self.rate_factor
        return self.learning_rate

    @property
    def rates(self) -> tuple[float, float]:
        """Lowest and highest learning rate that is worth a trial with this method and adapter."""
        low, high = self.adapter.rates
        return low * self.rate_factor, high * self.rate_factor

    @property
    def space(self) -> Space:
        """What `search` tries, as (field, values); empty if there is nothing to search."""
        return self.search if isinstance(self.search, tuple) else ()

    def refused(self, field: str, fact: str) -> InvalidExperiment:
        """Return the error that names the field as its author wrote it: "field=value", or several of them."""
        return InvalidExperiment(f"{type(self).__name__}({field}): {fact}")

    def check_counts(self, names: Sequence[str]) -> None:
        """Raise InvalidExperiment if a count that is given is below 1."""
        for name in names:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise self.refused(f"{name}={value}", f"give 1 or more, or leave {name} out")

    def _check_looking(self) -> None:
        asked = [name for name in ("watch", "search") if getattr(self, name) is not None]
        asked += ["learning_rate='find'"] if self.learning_rate == "find" else []
        if asked and (getattr(self, "devices", 1) > 1 or getattr(self, "backend", None) is not None):
            raise self.refused(asked[0], "only training in one process of the harness's own can do this; leave it out")
        if self.watch is not None and (fault := check_watch(self.watch)) is not None:
            raise self.refused(f"watch={getattr(self.watch, 'name', self.watch)}", fault)
        if self.search is None:
            if self.trials is not None:
                raise self.refused(
                    f"trials={self.trials}", 'there is nothing to try; give search={"learning_rate": ...}'
                )
            return
        if self.learning_rate == "find":
            raise self.refused('learning_rate="find", search', "give one of the two: a search can try rates as well")
        own = frozenset(declared.name for declared in fields(self)) - _NOT_TRIED
        adapter = frozenset(getattr(self.adapter, "__dataclass_fields__", ()))
        found = read_space(self.search, known=own, adapter=adapter)
        if isinstance(found, str):
            raise self.refused("search", found)
        # A dict would pass every other check and fail only when the declaration is hashed.
        object.__setattr__(self, "search", found)
        if self.trials is None:
            object.__setattr__(self, "trials", DEFAULT_TRIALS)
        elif self.trials < 2:
            raise self.refused(f"trials={self.trials}", "one trial compares nothing; give 2 or more")


_NOT_TRIED = frozenset({"adapter", "label", "prompt", "watch", "search", "trials"})
_SHORT = {"learning_rate": "lr", "batch_size": "batch", "evaluate_every": "every", "weight_decay": "decay"}


def _said_fields(recipe: Trained) -> list[str]:
    said = []
    for declared in fields(recipe):
        if declared.name in ("adapter", "label", "prompt") or declared.default is MISSING:
            continue
        value = getattr(recipe, declared.name)
        if declared.name == "search" and value:
            said.append("search=" + ",".join(f"{at}:{_shown(tried)}" for at, tried in recipe.space))
        elif value != declared.default:
            said.append(f"{_SHORT.get(declared.name, declared.name)}={_shown(value)}")
    return said if recipe.prompt is None else [*said, f"({recipe.prompt.name})"]


def _shown(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    if isinstance(value, Choice):
        return "|".join(map(_shown, value))
    if isinstance(value, tuple):
        return "+".join(map(_shown, value))
    return str(getattr(value, "name", value))


def _check_numbers(recipe: Trained) -> None:
    micro = recipe.micro_batch_size
    if micro is not None and recipe.batch_size % micro:
        raise recipe.refused(
            f"batch_size={recipe.batch_size}, micro_batch_size={micro}", "micro_batch_size must divide batch_size"
        )
    if not (math.isfinite(recipe.epochs) and recipe.epochs > 0):
        raise recipe.refused(f"epochs={recipe.epochs}", "trains nothing; give a number above 0, such as 3")
    if isinstance(recipe.learning_rate, str) and recipe.learning_rate != "find":
        raise recipe.refused(f"learning_rate={recipe.learning_rate!r}", 'give a number, "find", or leave it out')
    if not (math.isfinite(recipe.rate) and recipe.rate >= 0):
        raise recipe.refused(
            f"learning_rate={recipe.rate}", "give a number of 0 or more; leave it out for the adapter's own"
        )
    if not 0 <= recipe.warmup < 1:
        raise recipe.refused(f"warmup={recipe.warmup}", "is a fraction of the steps; give 0 <= warmup < 1")
    if not (math.isfinite(recipe.weight_decay) and recipe.weight_decay >= 0):
        raise recipe.refused(f"weight_decay={recipe.weight_decay}", "give a number of 0 or more, such as 0.01")
    if not (math.isfinite(recipe.max_grad_norm) and recipe.max_grad_norm > 0):
        raise recipe.refused(f"max_grad_norm={recipe.max_grad_norm}", "give a number above 0, such as 1.0")
