"""What all recipes that train weights by gradient have in common: optimiser, schedule, evaluation, and their checks."""

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import ClassVar, Literal

from harness.errors import InvalidExperiment
from harness.protocols import Strategy
from harness.recipes.adapters import Adapter, LoRA

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The fields that every method shares.

    adapter: which weights are trained. epochs: passes over the examples; a fraction is allowed.
    learning_rate: None is the adapter's own (LoRA 3e-4, full 2e-5) times the method's `rate_factor`; 0 is a control
    that must end as INVALID.
    batch_size: examples a step. micro_batch_size: how many of them are in memory at once; None is all.
    max_length: tokens of prompt and answer; None is the model's context. A longer row is left out and counted,
    never cut: a cut answer would teach the model not to stop.
    warmup: fraction of the steps in which the learning rate rises. patience: evaluations without a better dev loss
    after which training ends; None trains to the end. The weights of the best dev loss are kept in any case.
    evaluate_every: steps between evaluations (and checkpoints); None is about ten a run.
    evaluate_on: dev examples in an evaluation, drawn once by the seed; None is all.
    limit: train examples, drawn by the seed; None is all.
    prompt: how the tuned model is prompted, in training and in serving; None is the plain zero-shot prompt.
    label: the system's name on pages and in tables, in place of the one made from the fields.
    """

    adapter: Adapter = field(default_factory=LoRA)
    epochs: float = 3
    learning_rate: float | None = None
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
        if isinstance(self.adapter, type):
            raise self.refused(f"adapter={self.adapter.__name__}", f"is a class; write {self.adapter.__name__}()")
        if self.schedule not in ("cosine", "linear", "constant"):
            raise self.refused(f"schedule={self.schedule!r}", 'give "cosine", "linear" or "constant"')
        self.check_counts(
            ("batch_size", "micro_batch_size", "max_length", "patience", "evaluate_every", "evaluate_on", "limit")
        )
        _check_numbers(self)

    @property
    def name(self) -> str:
        """The label, or the adapter and every field that is not its default: two different recipes never share it."""
        if self.label is not None:
            return self.label
        return " ".join([self.method, self.adapter.name, *_said_fields(self)])

    @property
    def rate(self) -> float:
        """The learning rate, with the default filled in."""
        return self.adapter.learning_rate * self.rate_factor if self.learning_rate is None else self.learning_rate

    def refused(self, field: str, fact: str) -> InvalidExperiment:
        """Return the error that names the field as its author wrote it: "field=value", or several of them."""
        return InvalidExperiment(f"{type(self).__name__}({field}): {fact}")

    def check_counts(self, names: Sequence[str]) -> None:
        """Raise InvalidExperiment where a count that is given is below 1."""
        for name in names:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise self.refused(f"{name}={value}", f"give 1 or more, or leave {name} out")


_SHORT = {"learning_rate": "lr", "batch_size": "batch", "evaluate_every": "every", "weight_decay": "decay"}


def _said_fields(recipe: Trained) -> list[str]:
    said = []
    for declared in fields(recipe):
        if declared.name in ("adapter", "label", "prompt") or declared.default is MISSING:
            continue
        value = getattr(recipe, declared.name)
        if value != declared.default:
            said.append(f"{_SHORT.get(declared.name, declared.name)}={_shown(value)}")
    return said if recipe.prompt is None else [*said, f"({recipe.prompt.name})"]


def _shown(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
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
