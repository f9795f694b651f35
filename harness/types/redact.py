"""Secrets in addresses and texts: found, and shown as ***."""

import base64
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit, urlunsplit

SHOWN = "***"
# Values of an address' query that are no secret, such as Azure's api-version.
_OPEN_QUERY = frozenset({"api-version", "api_version", "version", "alt", "model", "deployment", "region", "project"})
# Shorter ones would be found in any text.
_FEWEST_CHARACTERS = 3


def shown_address(url: str) -> str:
    """Return `url` without user and password, and without the values of its query that may be keys."""
    try:
        parts = urlsplit(url)
        query = "&".join(
            f"{quote_plus(name)}={quote_plus(value) if name.lower() in _OPEN_QUERY else SHOWN}"
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        )
        shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))
    except ValueError:
        return SHOWN  # no address at all: what stands in it cannot be told apart
    return shown.rstrip("/")


def secrets_in(url: str) -> tuple[str, ...]:
    """Return what of `url` is not to be shown: its password, what its query may hold as keys, and how they travel."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return (url,)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = [password or user] if user or password else []
    if password:
        plain = f"{unquote(user)}:{unquote(password)}"
        found.append(base64.b64encode(plain.encode()).decode())
    found += [value for name, value in parse_qsl(parts.query) if name.lower() not in _OPEN_QUERY]
    return tuple(form for secret in found for form in _forms(secret))


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with each of `secrets` shown as ***, the longest first."""
    for secret in sorted({one for one in secrets if len(one) >= _FEWEST_CHARACTERS}, key=len, reverse=True):
        text = text.replace(secret, SHOWN)
    return text


def _forms(secret: str) -> tuple[str, ...]:
    """Return a secret as it stands, plain, and as addresses write it."""
    plain = unquote(secret)
    return (secret, plain, quote(plain, safe=""), quote_plus(plain))
