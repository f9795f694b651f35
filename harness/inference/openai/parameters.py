"""Parameters that a server refuses, and what it asks for in their place."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# What a request says of decoding and may be left out; without the others an answer would not be the one asked for.
_LEFT_OUT = ("temperature", "top_p", "seed")
_RENAMED = {"max_tokens": "max_completion_tokens"}
_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
_REFUSES = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|deprecated|not (?:permitted|allowed|accepted)|"
    r"extra (?:inputs|fields)",
    re.IGNORECASE,
)


class Change(NamedTuple):
    """instead: the name that the value is sent under, None if it is left out."""

    name: str
    instead: str | None


def change_asked(refusal: Any, sent: Mapping[str, Any]) -> Change | None:
    """Return the change that an error body asks for in the request body `sent`, None if it asks for none."""
    for named, code, message in _told(refusal):
        if code not in _CODES and not _REFUSES.search(message):
            continue
        for name in (*_RENAMED, *_LEFT_OUT):
            if name not in sent or (named != name if named in sent else not re.search(rf"\b{name}\b", message)):
                continue
            instead = _RENAMED.get(name)
            if instead is None or instead in message:
                return Change(name, instead)
    return None


def _told(body: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (parameter, code, message) of each error in an error body: OpenAI's form, and that of pydantic."""
    if isinstance(body, str):
        yield "", "", body
    if not isinstance(body, dict):
        return
    error = body.get("error", body)
    if isinstance(error, str):
        yield "", "", error
    elif isinstance(error, dict):
        message = error.get("message") or error.get("detail") or ""
        if isinstance(message, str):
            yield str(error.get("param") or ""), str(error.get("code") or error.get("type") or ""), message
    details = body.get("detail")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            place = detail.get("loc")
            named = str(place[-1]) if isinstance(place, list) and place else ""
            yield named, str(detail.get("type") or ""), f"{named}: {detail.get('msg')}"
