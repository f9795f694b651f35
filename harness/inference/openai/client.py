"""Requests to an OpenAI-compatible server: side by side, in pace, again after a fault that may pass.

A rate limit that all threads of an engine share.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from harness.errors import StageFailed
from harness.inference.openai.connection import api_key_of, connect, connection_fault, secrets_of
from harness.inference.openai.replies import error_of, filtered
from harness.types.models import Endpoint
from harness.types.redact import redacted, shown_address

_SECONDS = 60.0


class RequestPace:
    """At most so many requests and so many tokens a minute, evenly spread; None is no limit."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None = None) -> None:
        self._request_seconds = _SECONDS / requests_per_minute if requests_per_minute else 0.0
        self._token_seconds = _SECONDS / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_tokens = 0.0
        self._lock = threading.Lock()

    def wait(self, tokens: int, stopped: threading.Event) -> None:
        """Return when a request of about `tokens` tokens may go, or when `stopped` is set."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next_request, self._next_tokens)
            self._next_request = turn + self._request_seconds
            self._next_tokens = turn + tokens * self._token_seconds
        if turn > now:
            stopped.wait(turn - now)

    def correct(self, expected: int, counted: int) -> None:
        """Put right what `wait` was told: the server counted `counted` tokens where `expected` were announced."""
        with self._lock:
            self._next_tokens += (counted - expected) * self._token_seconds


_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT_SECONDS = 60.0
_EXCERPT_CHARACTERS = 300
# Answers are handed over, and so stored, a few rounds at a time.
_ROUNDS_PER_BATCH = 4

Result = TypeVar("Result")
Reader = Callable[[Any], Result]


@dataclass(frozen=True)
class HttpRequest:
    """One POST. about: what it asks for, as an error shall name it. tokens: about how many it will cost."""

    path: str
    body: dict[str, Any]
    about: str
    tokens: int = 0


@dataclass(frozen=True)
class Reply(Generic[Result]):
    """value: what the reader made of the body."""

    value: Result
    seconds: float


class Refused(StageFailed):
    """A server understood a request and refuses it: trying again would change nothing.

    Args:
        status: HTTP's.
        body: What it said, as JSON values; None if it is no JSON.
    """

    def __init__(self, message: str, *, status: int, body: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class Client:
    """One server. Nothing is sent before the first request.

    Args:
        key: Gives the API key, None for the variable that `endpoint` names.
        first_wait_seconds: Pause before the first retry; each further one is twice as long, with jitter, unless the
            server says how long in Retry-After.
        proxied: Through the proxy that the environment names, if it does; a server on this machine is asked
            directly.

    Raises:
        StageFailed: Names the environment variable that makes a connection impossible.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        first_wait_seconds: float = 1.0,
        key: Callable[[], str | None] | None = None,
        proxied: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._first_wait_seconds = first_wait_seconds
        # Read at each request, and never kept: no key can end up in a store, a log or an error.
        self._key = key or (lambda: api_key_of(endpoint.api_key_env))
        # A password within the address is a key too: it is neither shown nor recorded.
        self.shown = endpoint.shown
        self._base, _, query = endpoint.url.partition("?")
        self._query = f"?{query}" if query else ""
        self._proxied = proxied
        self._http = connect(endpoint, proxied=proxied)
        self._pace = RequestPace(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._stopped = threading.Event()

    def each(
        self, places: Sequence[int], ask: Callable[[int], Result], *, batch: int | None = None
    ) -> Iterator[dict[int, Result]]:
        """Yield `ask(place)` by place, `batch` at a time (None: a few rounds), `concurrency` of them side by side.

        After the first StageFailed nothing more is asked; what the rest of its batch brought is yielded before it
        is raised.
        """
        self._stopped.clear()
        size = batch or self._endpoint.concurrency * _ROUNDS_PER_BATCH
        with ThreadPoolExecutor(self._endpoint.concurrency) as pool:
            for start in range(0, len(places), size):
                asked = {place: pool.submit(ask, place) for place in places[start : start + size]}
                try:
                    answered, failure = self._gathered(asked)
                    if answered:
                        yield answered
                    if failure is not None:
                        raise failure
                except BaseException:
                    # Requests that wait for their retry would keep the pool, and the error, for minutes.
                    self._stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def post(self, request: HttpRequest, read: Reader[Result], *, kind: str) -> Reply[Result]:
        """Return what `read` makes of the answer's JSON; what it cannot read is named as no `kind`.

        Raises Refused where the server refuses the request and StageFailed where it goes on failing after all
        retries, both naming address, status and the beginning of the body.
        """
        attempt = 0
        while True:
            self._pace.wait(request.tokens, self._stopped)
            reply = self._attempt(request, read, kind)
            if isinstance(reply, Reply):
                return reply
            if not reply.retried or attempt == self._endpoint.retries or self._stopped.is_set():
                break
            self._stopped.wait(self._pause(attempt, reply))
            attempt += 1
        shown, _, query = self.shown.partition("?")
        message = (
            f"POST {shown.rstrip('/')}{request.path}{'?' if query else ''}{query}, {request.about}: {reply.reason}; "
            f"attempts: {attempt + 1}; what was answered is stored, running again resumes"
        )
        if reply.refused:
            raise Refused(message, status=reply.status, body=reply.body)
        raise StageFailed(message)

    def close(self) -> None:
        self._http.close()

    def _gathered(self, asked: dict[int, Future[Result]]) -> tuple[dict[int, Result], StageFailed | None]:
        """Return the results by place, and the first failure; after it no request is begun or tried again."""
        answered: dict[int, Result] = {}
        failure: StageFailed | None = None
        for future in as_completed(asked.values()):
            try:
                future.result()
            except StageFailed as error:
                failure = failure or error
                self._stopped.set()
                for other in asked.values():
                    other.cancel()
            except CancelledError:
                continue
        for place, future in asked.items():
            if not future.cancelled() and future.exception() is None:
                answered[place] = future.result()
        return answered, failure

    def _attempt(self, request: HttpRequest, read: Reader[Result], kind: str) -> "Reply[Result] | _Failure":
        key = self._key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        address = f"{self._base.rstrip('/')}{request.path}{self._query}"
        started = time.perf_counter()
        try:
            response = self._http.post(address, json=request.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            reason, retried = connection_fault(error, self._endpoint, proxied=self._proxied)
            return _Failure(reason, retried)
        seconds = time.perf_counter() - started
        excerpt = _excerpt(response.text, secrets_of(self._endpoint, key))
        body = _json(response)
        if response.status_code >= 300:
            return self._failure(response, body, excerpt)
        if error_of(body):
            status = _status_told(body)
            reason = f"status {response.status_code}, but the body is an error: {excerpt}"
            retried = (status is None or status in _RETRIED) and not filtered(body)
            return _Failure(reason, retried, status=status or 400, body=body)
        try:
            value = read(body)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            reason = f"status {response.status_code}, but the body is no {kind}: {excerpt}"
            return _Failure(reason, retried=True)
        self._pace.correct(request.tokens, _tokens_counted(body, request.tokens))
        return Reply(value, seconds)

    def _failure(self, response: httpx.Response, body: Any, excerpt: str) -> "_Failure":
        status = response.status_code
        if status < 400:
            place = response.headers.get("Location", "")
            where = shown_address(place) or "no place"
            shown = redacted(" ".join(where.split())[:_EXCERPT_CHARACTERS], secrets_of(self._endpoint, self._key()))
            reason = f"status {status}: it redirects to {shown}; give the address that answers as Endpoint(url=...)"
            return _Failure(reason, retried=False)
        reason = f"status {status}: {excerpt}{self._hint(status)}"
        retried = status in _RETRIED and not filtered(body)
        return _Failure(reason, retried, _seconds_asked(response), status=status, body=body)

    def _hint(self, status: int) -> str:
        return f" (is {self._endpoint.api_key_env} set to a valid key?)" if status in {401, 403} else ""

    def _pause(self, attempt: int, failure: "_Failure") -> float:
        if failure.wait_seconds is not None:
            return min(failure.wait_seconds, _LONGEST_WAIT_SECONDS)
        pause: float = self._first_wait_seconds * 2.0**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
        return min(pause, _LONGEST_WAIT_SECONDS)


@dataclass(frozen=True)
class _Failure:
    """wait_seconds: what the server asked for in Retry-After. status, body: of an error that the server told."""

    reason: str
    retried: bool
    wait_seconds: float | None = None
    status: int = 0
    body: Any = None

    @property
    def refused(self) -> bool:
        return self.status >= 400 and not self.retried


def _tokens_counted(body: Any, expected: int) -> int:
    """Return the tokens that the server counted, `expected` where it gives no usage."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return expected
    counted = [usage.get(name) for name in ("total_tokens", "prompt_tokens", "completion_tokens")]
    total, *parts = [int(one) if isinstance(one, int | float) and one > 0 else 0 for one in counted]
    return total or sum(parts) or expected


def _json(response: httpx.Response) -> Any:
    """Return the body's JSON values; if it is none, its text."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return response.text


def _status_told(body: Any) -> int | None:
    """Return the HTTP status that an error body names, None if it names none."""
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    told = int(code) if isinstance(code, int | str) and str(code).isdecimal() else 0
    return told if 400 <= told < 600 else None


def _seconds_asked(response: httpx.Response) -> float | None:
    """Return Retry-After in seconds; its rarer form, a date, counts as absent."""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _excerpt(body: str, secrets: Sequence[str]) -> str:
    return " ".join(redacted(body, secrets).split())[:_EXCERPT_CHARACTERS] or "(empty body)"
