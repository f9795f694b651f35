"""What a translation gives, what it leaves out, and a reader of settings that forgets none."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace

from harness.errors import InvalidExperiment
from harness.recipes.adapters import LoRA, LowRank, QLoRA
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
    """Another tool's settings as a recipe, with that tool's defaults where it leaves a setting out."""

    recipe: SFT
    unmapped: tuple[Unmapped, ...]


class Settings:
    """A tool's settings, read key by key; what nobody read is left over.

    tool: its name, for errors.
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
        """Return a list of names, also where it is one text with commas; empty where the key is missing."""
        value = self._take(key, "")
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, Sequence):
            raise self.refused(key, value, "give names")
        return tuple(str(part).strip() for part in parts if str(part).strip())

    def value(self, key: str) -> object:
        """Return what stands under `key`, None where nothing does."""
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


def whole_alpha(adapter: LowRank) -> tuple[int, tuple[Unmapped, ...]]:
    """Return alpha as the whole number that other tools want, and what was lost by that."""
    if adapter.scale == int(adapter.scale):
        return int(adapter.scale), ()
    lost = Unmapped(f"adapter.alpha={adapter.scale}", "lora_alpha is a whole number; it was rounded")
    return max(1, round(adapter.scale)), (lost,)


def low_rank(
    kind: type[LoRA] | type[QLoRA], *, rank: int, alpha: float, dropout: float, targets: tuple[str, ...], extra: Config
) -> LowRank:
    """Return the adapter, alpha left out where it is the default. targets: none is all linear layers.

    extra: further fields of the adapter.
    """
    adapter = kind(rank=rank, dropout=dropout, targets=targets or "all-linear", **extra)  # type: ignore[arg-type]
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
