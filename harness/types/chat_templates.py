"""A chat template as every part of a run uses it: options set, the date fixed, a system message put if it is read.

What is changed is written in front of the template itself, so that training, evaluation, every engine and whatever is
saved render with one and the same text, and no caller passes anything on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Literal, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.errors import InvalidExperiment

# What a template's own code may raise.
REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
SystemRole = Literal["auto", "keep", "merge"]
# The day on which templates that write today's date are rendered: the one that Llama's own names by default.
FIXED_DATE = "26 Jul 2024"

_BEGIN, _END = "{# harness: what every run sets #}", "{# harness: the model's own template #}"
_FORMATS = ("%d %b %Y", "%d %B %Y", "%Y-%m-%d", "%B %d, %Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y")
# What the caller of a template gives it: no options.
_GIVEN = frozenset({"messages", "add_generation_prompt", "continue_final_message", "raise_exception", "strftime_now"})
_TOKENS = frozenset({"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"})
# A message before the first user's becomes the beginning of it; one before anything else is the user's.
_MERGE = (
    "{% if messages and messages[0]['role'] == 'system' %}"
    "{% if messages|length > 1 and messages[1]['role'] == 'user' %}"
    "{% set harness_before = messages[0]['content'] + '\\n\\n' if messages[0]['content'] else '' %}"
    "{% set messages = [{'role': 'user', 'content': harness_before + messages[1]['content']}]"
    " + messages[2:] %}"
    "{% else %}{% set messages = [{'role': 'user', 'content': messages[0]['content']}] + messages[1:] %}{% endif %}"
    "{% endif %}"
)
_SYSTEM, _USER = "qzqx-system", "qzqx-user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dressed:
    """A template as it is used.

    Attributes:
        text: What renders.
        options: The declared options that it sets.
        date: The day that stands for today if it writes today's date, else None.
        merges_system: Whether a system message is put before the first user's.
    """

    text: str
    options: Mapping[str, object]
    date: str | None
    merges_system: bool

    @property
    def facts(self) -> dict[str, object]:
        """What differs from the template as the model brings it; empty if nothing does."""
        found: dict[str, object] = {"options": dict(self.options)} if self.options else {}
        if self.date is not None:
            found["date"] = self.date
        return found | ({"system": "merge"} if self.merges_system else {})


def dress(template: str, *, options: Mapping[str, object], system: SystemRole, name: str) -> Dressed:
    """Return `template` with what a model declares, and what it takes to render the same prompt on any day.

    One that was dressed before, as a saved model's is, stays as it is if nothing is declared, and is dressed anew if
    something is.

    Args:
        template: As the model brings it.
        options: Variables that it is to set.
        system: "auto" merges if the template refuses a system message or leaves it out.
        name: Of the model, for messages.

    Raises:
        InvalidExperiment: If an option is none that the template reads.
    """
    if template.startswith(_BEGIN):
        if not options and system == "auto":
            return Dressed(text=template, options={}, date=None, merges_system=False)
        template = template.partition(_END)[2]
    found = _read(template)
    if found is None:  # what is wrong with it is said where it is rendered
        return Dressed(text=template, options={}, date=None, merges_system=False)
    _check_options(options, found, name)
    day = str(options.get("date_string", FIXED_DATE)) if found.writes_today else None
    set_here = {key: value for key, value in options.items() if key in found.options}
    front = [*([_today(found, day)] if day is not None else [])]
    front += [f"{{% set {key} = {_literal(value)} %}}" for key, value in sorted(set_here.items())]
    merges = system == "merge" or (system == "auto" and not knows_system(_with(template, front)))
    if merges:
        front.append(_MERGE)
    return Dressed(text=_with(template, front), options=dict(options), date=day, merges_system=merges)


def knows_system(template: str) -> bool:
    """Return whether a system message reaches the prompt; True if not even a user's message does."""
    user = {"role": "user", "content": _USER}
    try:
        reads_text = _USER in _render(template, [user])
    except REFUSALS:
        return True  # it wants something else, perhaps a system message
    if not reads_text:
        return True
    try:
        return _SYSTEM in _render(template, [{"role": "system", "content": _SYSTEM}, user])
    except REFUSALS:
        return False


@dataclass(frozen=True, slots=True)
class _Read:
    """What a template's text says: the options that it reads, and the formats in which it writes today's date."""

    options: frozenset[str]
    writes_today: bool
    formats: tuple[str, ...]


@lru_cache(maxsize=64)
def _read(template: str) -> _Read | None:
    try:
        tree = _environment().parse(template)
        asked = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError:
        return None
    asked_for = {id(test.node) for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")}
    names = [name for name in tree.find_all(nodes.Name) if name.name == "strftime_now"]
    clock = any(id(name) not in asked_for for name in names)
    # A format may reach the clock by way of a variable, and so may the clock itself.
    formats = {one.value for one in tree.find_all(nodes.Const) if isinstance(one.value, str) and "%" in one.value}
    return _Read(frozenset(asked - _GIVEN - _TOKENS), clock, tuple(sorted(formats)) if clock else ())


def _check_options(options: Mapping[str, object], found: _Read, name: str) -> None:
    known = found.options | ({"date_string"} if found.writes_today else set())
    unknown = sorted(set(options) - known)
    if unknown:
        what = f"it reads {', '.join(sorted(known))}" if known else "it reads none"
        raise InvalidExperiment(
            f"Model({name!r}, template_options=...): the chat template reads no option {unknown[0]!r}; {what}"
        )


def _today(found: _Read, day: str) -> str:
    """Return a macro that stands in for the clock: each format that the template asks for, written for `day`."""
    moment = next((at for form in _FORMATS if (at := _parsed(day, form)) is not None), None)
    if moment is None:
        return f"{{% macro strftime_now(format) %}}{{{{ {_literal(day)} }}}}{{% endmacro %}}"
    told = "".join(
        f"{{% {'if' if not place else 'elif'} format == {_literal(form)} %}}{{{{ {_literal(moment.strftime(form))} }}}}"
        for place, form in enumerate(found.formats)
    )
    other = f"{{{{ {_literal(moment.strftime(_FORMATS[0]))} }}}}"
    body = f"{told}{{% else %}}{other}{{% endif %}}" if told else other
    return f"{{% macro strftime_now(format) %}}{body}{{% endmacro %}}"


def _parsed(day: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(day, form)
    except ValueError:
        return None


def _with(template: str, front: Sequence[str]) -> str:
    if not front:
        return template
    # A line end that the template begins with is text of its own; behind a block it would be trimmed.
    guard = "{{ '' }}" if template.startswith(("\n", "\r")) else ""
    return f"{_BEGIN}{''.join(front)}{_END}{guard}{template}"


def _literal(value: object) -> str:
    """Return a JSON value as Jinja writes it."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _render(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    tokens = dict.fromkeys(_TOKENS, "")
    return _environment().from_string(template).render(messages=messages, add_generation_prompt=True, **tokens)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    """Return the surroundings in which transformers renders, so that a look at a template need not import it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return environment


class _Generation(Extension):
    """Reads `{% generation %}`, which marks an assistant's turn, as what it holds."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
