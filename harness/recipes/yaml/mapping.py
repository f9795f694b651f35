"""What a translation gives, what it leaves out, and a reader of settings that forgets none.

A recipe as the Python expression that an experiment file holds, and back, without running any code.

The settings of a run's course that LLaMA-Factory and Axolotl both hand on to transformers, each by its own keys.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace

from harness.errors import InvalidExperiment
from harness.recipes.adapters import Full, LoRA, LowRank, QLoRA, TunerAdapter
from harness.recipes.base import Choice
from harness.recipes.sft import SFT

# A fraction of the run: about as often as the harness evaluates where the recipe says nothing.
TENTH = 0.1
Config = dict[str, object]


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A setting that has no counterpart. key: as its author wrote it."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Exported:
    """A recipe as another tool's settings, in the order in which they are written."""

    config: Config
    unmapped: tuple[Unmapped, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """Another tool's settings as a recipe, with that tool's defaults if it leaves a setting out."""

    recipe: SFT
    unmapped: tuple[Unmapped, ...]


class Settings:
    """A tool's settings, read key by key; what nobody read is left over.

    Args:
        tool: Its name, for errors.
    """

    def __init__(self, config: Mapping[str, object], *, tool: str) -> None:
        self._config, self._tool = {key: value for key, value in config.items() if value is not None}, tool
        self._left = dict.fromkeys(self._config)

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def number(self, key: str, default: float) -> float:
        """Return a number; a text such as "1e-4", which YAML 1.1 takes for no number, is one too."""
        value = self._take(key, default)
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self.refused(key, value, "give a number") from None

    def count(self, key: str, default: int) -> int:
        number = self.number(key, default)
        if number != int(number):
            raise self.refused(key, number, "give a whole number")
        return int(number)

    def text(self, key: str, default: str) -> str:
        return str(self._take(key, default))

    def flag(self, key: str, default: bool) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.refused(key, value, "give true or false")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of names, also if it is one text with commas; empty if the key is missing."""
        value = self._take(key, "")
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, Sequence):
            raise self.refused(key, value, "give names")
        return tuple(str(part).strip() for part in parts if str(part).strip())

    def value(self, key: str) -> object:
        """Return what stands under `key`, None if nothing does."""
        return self._take(key, None)

    def put_back(self, key: str) -> None:
        """Count `key` among what is left over, though it was read."""
        if key in self._config:
            self._left[key] = None

    def expect(self, usual: Mapping[str, tuple[object, ...]]) -> None:
        """Read settings that no recipe has because this package does no other; count others among what is left over."""
        for key, values in usual.items():
            if self.value(key) not in (None, *values):
                self.put_back(key)

    def left(self, reasons: Mapping[str, str]) -> tuple[Unmapped, ...]:
        """Return what was not read, each with its reason."""
        return tuple(
            Unmapped(key, reasons.get(key, "has no counterpart in a recipe"))
            for key in self._config
            if key in self._left
        )

    def refused(self, key: str, value: object, way_out: str) -> InvalidExperiment:
        return InvalidExperiment(f"{self._tool} settings: {key}: {value!r}: {way_out}")

    def _take(self, key: str, default: object) -> object:
        self._left.pop(key, None)
        return self._config.get(key, default)


def whole_alpha(adapter: TunerAdapter) -> tuple[int, tuple[Unmapped, ...]]:
    """Return alpha as the whole number that other tools want, and what was lost by that."""
    if adapter.scale == int(adapter.scale):
        return int(adapter.scale), ()
    lost = Unmapped(f"adapter.alpha={adapter.scale}", "lora_alpha is a whole number; it was rounded")
    return max(1, round(adapter.scale)), (lost,)


def low_rank(kind: type[LoRA] | type[QLoRA], *, alpha: float, targets: tuple[str, ...], **fields: object) -> LowRank:
    """Return the adapter, alpha left out if it is the default. targets: none is all linear layers.

    fields: further ones of the adapter.
    """
    adapter = kind(targets=targets or "all-linear", **fields)  # type: ignore[arg-type]
    return adapter if adapter.scale == alpha else replace(adapter, alpha=alpha)


def switches(adapter: object, table: Mapping[str, str]) -> Config:
    """Return the settings of the adapter's options that are on. table: field of the adapter -> key of the tool."""
    return {key: True for name, key in table.items() if getattr(adapter, name, False) is True}


def switched_on(settings: Settings, kind: type[LoRA] | type[QLoRA], table: Mapping[str, str]) -> Config:
    """Return the adapter's fields whose key is true in `settings`."""
    known = {declared.name for declared in fields(kind)}
    on: Config = {}
    for name, key in table.items():
        if not settings.flag(key, False):
            continue
        if name in known:
            on[name] = True
        else:
            settings.put_back(key)
    return on


def unmapped_fields(recipe: SFT, mapped: Sequence[str], reasons: Mapping[str, str]) -> tuple[Unmapped, ...]:
    """Return the recipe's fields that are not their defaults and not among those `mapped`, the adapter's as well."""
    found = []
    for owner, prefix in ((recipe, ""), (recipe.adapter, "adapter.")):
        for declared in fields(owner):  # type: ignore[arg-type]
            name = f"{prefix}{declared.name}"
            if name in mapped or name in ("adapter", "label") or declared.default is MISSING:
                continue
            value = getattr(owner, declared.name)
            if value != declared.default:
                shown = getattr(value, "name", value)
                found.append(Unmapped(f"{name}={shown!r}", reasons.get(name, "has no counterpart there")))
    return tuple(found)


_KNOWN: Mapping[str, type] = {kind.__name__: kind for kind in (SFT, LoRA, QLoRA, Full)}


def write_recipe(value: object) -> str:
    """Return the expression that makes `value`: its class, and the fields that are not their defaults."""
    if isinstance(value, tuple):
        items = [write_recipe(item) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if not is_dataclass(value) or isinstance(value, type | Choice):
        return repr(value)
    said = [
        f"{declared.name}={write_recipe(getattr(value, declared.name))}"
        for declared in fields(value)
        if getattr(value, declared.name) != _default(declared)
    ]
    return f"{type(value).__name__}({', '.join(said)})"


def parse_recipe(text: str) -> SFT:
    """Return the recipe that an expression such as "SFT(adapter=LoRA(rank=8))" makes; no other code is run.

    Raises:
        InvalidExperiment: If the text is no such expression, or the recipe refuses its fields.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise InvalidExperiment(f"{text!r} is no expression: {error.msg}; write SFT(adapter=LoRA(rank=8))") from error
    made = _value(tree)
    if not isinstance(made, SFT):
        raise InvalidExperiment(f"{text!r} is no SFT; only supervised recipes can be exchanged: SFT(adapter=...)")
    return made


def _default(declared: "Field[object]") -> object:
    return declared.default if declared.default_factory is MISSING else declared.default_factory()


def _value(node: ast.expr) -> object:
    if not isinstance(node, ast.Call):
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise InvalidExperiment(
                f"{ast.unparse(node)} is no number, text, tuple or recipe; names and computations are not read here"
            ) from error
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    kind = _KNOWN.get(name)
    if kind is None:
        raise InvalidExperiment(f"{name} is not read here; write one of {', '.join(_KNOWN)}")
    given = {word.arg: _value(word.value) for word in node.keywords if word.arg is not None}
    positional = [_value(argument) for argument in node.args]
    try:
        made: object = kind(*positional, **given)
    except TypeError as error:
        raise InvalidExperiment(f"{ast.unparse(node)}: {error}; its fields are {_names(kind)}") from error
    return made


def _names(kind: type) -> str:
    return ", ".join(declared.name for declared in fields(kind))


_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant_with_warmup": "constant", "constant": "constant"}
FIELDS = (
    "epochs", "learning_rate", "batch_size", "micro_batch_size", "max_length", "warmup", "schedule", "weight_decay",
    "max_grad_norm", "patience", "evaluate_every",
)  # fmt: skip


_OPTIONS = ("rslora", "dora")
MAPPED_ADAPTER = tuple(f"adapter.{name}" for name in ("rank", "alpha", "dropout", "targets", *_OPTIONS))
IMPORT_REASONS = {
    "seed": "is the experiment's seeds",
    "bf16": "is the model's dtype",
    "fp16": "is the model's dtype",
    "deepspeed": 'is SFT(devices=n, strategy="zero2" or "zero3")',
    "warmup_steps": "is a number of steps; a recipe has a fraction: warmup_ratio",
    "output_dir": "is made by the harness",
    "max_steps": "a recipe counts passes over the examples: epochs",
}


def export_reasons(backend: str) -> dict[str, str]:
    """Return why fields of a recipe have no counterpart in any tuner's settings. backend: the tuner's name here."""
    return {
        "adapter.init": "an update starts at zero there, or leaves an adapter that does not fit the base",
        "learn": "is a matter of the data set there",
        "prompt": f'write the prompts into the data set; `backend="{backend}"` does that',
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A tool's keys, and its defaults if a setting is left out."""

    epochs: str
    micro: str
    schedule: str
    max_length: str
    patience: str
    usual_epochs: float
    usual_micro: int
    usual_schedule: str
    usual_length: int
    usual_warmup: float


def write_schedule(recipe: SFT, course: Schedule) -> Config:
    """Return the settings that let a run go as `recipe` says."""
    micro = recipe.micro_batch_size or recipe.batch_size
    every = recipe.evaluate_every or TENTH
    config: Config = {
        course.epochs: recipe.epochs,
        "learning_rate": recipe.rate,
        course.micro: micro,
        "gradient_accumulation_steps": recipe.batch_size // micro,
        course.schedule: "constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        "warmup_ratio": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "eval_steps": every,
        "save_steps": every,
        "load_best_model_at_end": True,
    }
    if recipe.patience is not None:
        config[course.patience] = recipe.patience
    if recipe.max_length is not None:
        config[course.max_length] = recipe.max_length
    return config


def read_schedule(settings: Settings, course: Schedule) -> Config:
    """Return the fields of a recipe whose run goes as `settings` say; a schedule that no recipe has is left over."""
    micro = settings.count(course.micro, course.usual_micro)
    batch = micro * settings.count("gradient_accumulation_steps", 1)
    schedule = settings.text(course.schedule, course.usual_schedule)
    if schedule not in _SCHEDULES:
        settings.put_back(course.schedule)
    return {
        "epochs": settings.number(course.epochs, course.usual_epochs),
        "learning_rate": settings.number("learning_rate", 5e-5),
        "batch_size": batch,
        "micro_batch_size": None if micro == batch else micro,
        "max_length": settings.count(course.max_length, course.usual_length),
        "warmup": 0.0 if schedule == "constant" else settings.number("warmup_ratio", course.usual_warmup),
        "schedule": _SCHEDULES.get(schedule, "cosine"),
        "weight_decay": settings.number("weight_decay", 0.0),
        "max_grad_norm": settings.number("max_grad_norm", 1.0),
        "patience": settings.count(course.patience, 1) if course.patience in settings else None,
        "evaluate_every": _steps_between(settings),
    }


def _steps_between(settings: Settings) -> int | None:
    """Return the steps between evaluations, None if it is the tenth of a run that is the default here."""
    saving = settings.value("save_steps")
    every = settings.number("eval_steps", TENTH)
    if saving not in (None, every):
        settings.put_back("save_steps")
    if every >= 1:
        return int(every)
    if every != TENTH:
        settings.put_back("eval_steps")
    return None
