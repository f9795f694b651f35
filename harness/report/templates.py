"""Templates, styles and scripts -> one self-contained page that may run only the scripts it ships with."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report import read

CHART_LIBRARIES = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "vendor/diff.min.js")

# A browser ends a script element at these characters even inside a JSON string.
_UNSAFE_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(template: str, *, head_script: str, scripts: tuple[str, ...], **values: object) -> str:
    """Return the page of `template`, with style.css and the named scripts inlined; `head_script` runs before the body.

    The content security policy lists the hashes of exactly these scripts and forbids every request, so that text of
    a model can neither run nor fetch, even where an escape should fail.
    """
    sources = tuple(asset(name) for name in scripts)
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_policy((asset(head_script), *sources)),
            head_script=Markup(asset(head_script)),  # noqa: S704 - shipped with the package
            style=Markup(asset("style.css")),  # noqa: S704 - shipped with the package
            scripts=tuple(Markup(source) for source in sources),  # noqa: S704 - shipped with the package
            **values,
        )
    )


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return files("harness.report").joinpath(*name.split("/")).read_text(encoding="utf-8")


def script_json(value: object) -> Markup:
    """Return `value` as JSON that is safe inside a script element of type application/json."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for unsafe, escape in _UNSAFE_IN_SCRIPT.items():
        text = text.replace(unsafe, escape)
    return Markup(text)  # noqa: S704 - every character that could end the element is escaped above


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(read.FILTERS)
    environment.filters["script_json"] = script_json
    return environment


def _policy(sources: tuple[str, ...]) -> str:
    hashes = " ".join(f"'sha256-{_hash(source)}'" for source in sources)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; base-uri 'none'"


def _hash(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
