"""A connection to one server: what the environment says of proxies and certificates, checked and named where wrong."""

import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from harness.errors import StageFailed
from harness.types.models import Endpoint
from harness.types.redact import redacted, secrets_in, shown_address

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_CANNOT_TRAVEL = "no HTTP header can carry"


def connect(endpoint: Endpoint, *, proxied: bool) -> httpx.Client:
    """Return what speaks to `endpoint`. Nothing is sent.

    Args:
        proxied: Through the proxy that the environment names, if it does; a server on this machine is asked
            directly.

    Raises:
        StageFailed: Names the environment variable that makes it impossible.
    """
    _hide_in_logs()
    by_environment = proxied and not is_local(endpoint.url)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=endpoint.concurrency)
    encrypted = endpoint.url.startswith("https://") or by_environment
    try:
        return httpx.Client(
            timeout=endpoint.timeout_seconds,
            limits=limits,
            trust_env=by_environment,
            verify=_certificates() if encrypted else False,
        )
    except (ImportError, ValueError, TypeError, httpx.InvalidURL) as error:
        raise StageFailed(_wrong_variable(error)) from None  # the library's own words hold the proxy's password


def is_local(url: str) -> bool:
    """Tell whether `url` is on this machine, which no proxy can reach."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def api_key_of(name: str) -> str | None:
    """Return the API key in the environment variable `name`, without white space around it; None if there is none.

    Raises:
        StageFailed: It holds nothing of the key, if it cannot be sent.
    """
    key = os.environ.get(name, "").strip()
    wrong = next((sort for sort, found in _faults_of_key(key) if found), None)
    if wrong is not None:
        raise StageFailed(f"{name} holds {wrong}, which {_CANNOT_TRAVEL}; set it to the key alone and run again")
    return key or None


def secrets_of(endpoint: Endpoint, key: str | None) -> tuple[str, ...]:
    """Return what no message may hold: the key, and passwords in the addresses of server and proxies."""
    proxies = [secret for _, value in _proxy_variables() for secret in secrets_in(value)]
    return (*((key,) if key else ()), *secrets_in(endpoint.url), *proxies)


def connection_fault(error: Exception, endpoint: Endpoint, *, proxied: bool) -> tuple[str, bool]:
    """Return why nothing came back, without secrets, and whether trying again may help."""
    causes = list(_causes(error))
    via = _proxy_in_use(endpoint.url) if proxied and not is_local(endpoint.url) else None
    through = f" through the proxy that {via} names" if via else ""
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {endpoint.timeout_seconds:g} s{through}", True
    if isinstance(error, httpx.LocalProtocolError | UnicodeError | httpx.InvalidURL):
        # Its words quote the header, and so the key.
        return f"the request cannot be sent ({type(error).__name__})", False
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({cause.verify_message}); name its authority in SSL_CERT_FILE",
                False,
            )
        if isinstance(cause, ssl.SSLError):
            return f"no TLS connection{through} ({cause.reason or cause}); is it http:// instead of https://?", False
        if isinstance(cause, socket.gaierror):
            whose = f"the host of {via}" if via else f"the name {urlsplit(endpoint.url).hostname}"
            return f"no connection: {whose} cannot be resolved ({cause.strerror})", cause.errno == socket.EAI_AGAIN
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return f"no connection{through} ({redacted(said, secrets_of(endpoint, None))})", True


def _hide_in_logs() -> None:
    """Keep keys in addresses, and addresses in headers, out of what the HTTP library logs; done once a process."""
    logging.getLogger("httpx").addFilter(_without_secrets)
    for name in ("httpcore.http11", "httpcore.http2"):
        logging.getLogger(name).addFilter(_no_headers)


def _without_secrets(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(shown_address(str(one)) if isinstance(one, httpx.URL) else one for one in record.args)
    return True


def _no_headers(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("receive_response_headers.complete")


def _faults_of_key(key: str) -> Iterator[tuple[str, bool]]:
    yield "a line break", any(mark in key for mark in "\r\n")
    yield "white space", any(mark.isspace() for mark in key)
    yield "characters that are not ASCII", not key.isascii()
    yield "control characters", not key.isprintable()


def _certificates() -> ssl.SSLContext:
    for name in _CERTIFICATES:
        value = os.environ.get(name)
        if value and not Path(value).exists():
            raise StageFailed(f"{name} names {value}, which is not there; mend or unset {name} and run again")
    try:
        return httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        said = getattr(error, "reason", None) or type(error).__name__
        raise StageFailed(
            f"{os.environ.get('SSL_CERT_FILE') or 'the certificates'}: no certificates can be read ({said}); "
            "mend or unset SSL_CERT_FILE and run again"
        ) from error


def _wrong_variable(error: Exception) -> str:
    """Return which variable of the environment names no proxy that can be used, and the way out."""
    for name, value in _proxy_variables():
        address = value if "://" in value else f"http://{value}"
        if isinstance(error, ImportError) and address.startswith("socks"):
            return (
                f"{name} names a SOCKS proxy ({shown_address(address)}), which needs a package; bring it with: "
                f"pip install 'httpx[socks]', or unset {name}"
            )
        try:
            httpx.Proxy(httpx.URL(address))
        except (ValueError, TypeError, httpx.InvalidURL):
            return f"{name} names no proxy ({shown_address(address)}); give http://host:port, or unset {name}"
    name = next((one for one in ("NO_PROXY", "no_proxy") if os.environ.get(one)), "NO_PROXY")
    value = os.environ.get(name, "")
    shown = shown_address(value) if "@" in value else value
    return f"{name}={shown!r} cannot be read; give hosts parted by commas, or unset it"


def _proxy_variables() -> Iterator[tuple[str, str]]:
    for lower in _PROXIES:
        for name in (lower, lower.upper()):
            if value := os.environ.get(name):
                yield name, value


def _proxy_in_use(url: str) -> str | None:
    scheme = urlsplit(url).scheme
    wanted = (f"{scheme}_proxy", "all_proxy")
    return next((name for lower in wanted for name, _ in _proxy_variables() if name.lower() == lower), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
