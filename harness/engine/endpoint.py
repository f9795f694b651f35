"""Any OpenAI-compatible server, over /chat/completions."""

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx

from harness.errors import StageFailed
from harness.models import Endpoint
from harness.protocols import Batch, LikelihoodBatch, Progress
from harness.samples import Completion, Decoding, Messages

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT_SECONDS = 60.0
_EXCERPT_CHARACTERS = 300
# Answers are handed over, and so stored, a few rounds at a time.
_ROUNDS_PER_BATCH = 4


def open_engine(endpoint: Endpoint, *, progress: Progress) -> "EndpointEngine":
    """Return what asks `endpoint`. Nothing is sent before the first prompt."""
    return EndpointEngine(endpoint, progress=progress)


class EndpointEngine:
    """One server; see `harness.protocols.Engine`.

    first_wait_seconds: pause before the first retry; each further one is twice as long, with jitter, unless the
    server says how long in Retry-After.
    """

    def __init__(self, endpoint: Endpoint, *, progress: Progress, first_wait_seconds: float = 1.0) -> None:
        self._endpoint = endpoint
        self._progress = progress
        self._first_wait_seconds = first_wait_seconds
        # A password within the address is a key too: it is neither shown nor recorded.
        self._shown = str(httpx.URL(endpoint.url).copy_with(userinfo=b"")).rstrip("/")
        self._client = httpx.Client(timeout=endpoint.timeout_seconds)
        self._pace = _Pace(endpoint.requests_per_minute)
        self._stopped = threading.Event()
        self._counted_by_words = False

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return {
            "engine": "endpoint",
            "url": self._shown,
            "model": self._endpoint.model,
            "concurrency": self._endpoint.concurrency,
            "token_counts": "words, the server gave no usage" if self._counted_by_words else "server",
        }

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        """Yield completions a batch, `concurrency` requests at a time.

        Raises StageFailed naming address, status and the beginning of the body where the server refuses a request
        or goes on failing after all retries; what the rest of the batch was answered is yielded first.
        """
        self._stopped.clear()
        size = self._endpoint.concurrency * _ROUNDS_PER_BATCH
        missing = [position for position in range(len(prompts)) if position not in done]
        with ThreadPoolExecutor(self._endpoint.concurrency) as pool:
            for start in range(0, len(missing), size):
                asked = {
                    position: pool.submit(self._ask, position, prompts[position], decoding)
                    for position in missing[start : start + size]
                }
                try:
                    answered, failure = self._gathered(asked)
                    if answered:
                        yield tuple(answered), tuple(answered.values())
                    if failure is not None:
                        raise failure
                except BaseException:
                    # Requests that wait for their retry would keep the pool, and the error, for minutes.
                    self._stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def _gathered(self, asked: dict[int, Future[Completion]]) -> tuple[dict[int, Completion], StageFailed | None]:
        """Return the completions by position, and the first failure; after it no request is begun or tried again."""
        answered: dict[int, Completion] = {}
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
        for position, future in asked.items():
            if not future.cancelled() and future.exception() is None:
                answered[position] = future.result()
        return answered, failure

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        """Raise StageFailed: a chat server gives no likelihoods of a given text."""
        self._refuse("gives no log-likelihoods of given answers, which Perplexity and tasks with choices need")

    def use(self, adapter: Path | None) -> None:
        """Raise StageFailed for an adapter: a server's weights are not ours to change."""
        if adapter is not None:
            self._refuse(f"cannot load the tuned weights in {adapter}")

    def close(self) -> None:
        self._client.close()

    def _refuse(self, what: str) -> NoReturn:
        raise StageFailed(f"Endpoint {self._endpoint.model} at {self._shown} {what}; use a local Model for that")

    def _ask(self, position: int, prompt: Messages, decoding: Decoding) -> Completion:
        body = _request_body(self._endpoint.model, prompt, decoding)
        attempt = 0
        while True:
            self._pace.wait(self._stopped)
            reply = self._attempt(body)
            if isinstance(reply, _Reply):
                return self._completion(reply, prompt)
            if not reply.retried or attempt == self._endpoint.retries or self._stopped.is_set():
                break
            self._stopped.wait(self._pause(attempt, reply))
            attempt += 1
        raise StageFailed(
            f"POST {self._shown}/chat/completions, prompt at position {position}: {reply.reason}; "
            f"attempts: {attempt + 1}; what was answered is stored, running again resumes"
        )

    def _attempt(self, body: dict[str, Any]) -> "_Reply | _Failure":
        # Read at each request, and never kept: no key can end up in a store, a log or an error.
        key = os.environ.get(self._endpoint.api_key_env)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        address = f"{self._endpoint.url.rstrip('/')}/chat/completions"
        started = time.perf_counter()
        try:
            response = self._client.post(address, json=body, headers=headers)
        except httpx.TimeoutException:
            return _Failure(f"no answer within {self._endpoint.timeout_seconds:g} s", retried=True)
        except httpx.TransportError as error:
            return _Failure(f"no connection ({error})", retried=True)
        seconds = time.perf_counter() - started
        excerpt = _excerpt(response.text, key)
        if response.status_code >= 400:
            reason = f"status {response.status_code}: {excerpt}{self._hint(response.status_code)}"
            return _Failure(reason, response.status_code in _RETRIED, _seconds_asked(response))
        return _read(response, seconds) or _Failure(
            f"status {response.status_code}, but the body is no chat completion: {excerpt}", retried=True
        )

    def _hint(self, status: int) -> str:
        return f" (is {self._endpoint.api_key_env} set to a valid key?)" if status in {401, 403} else ""

    def _pause(self, attempt: int, failure: "_Failure") -> float:
        if failure.wait_seconds is not None:
            return min(failure.wait_seconds, _LONGEST_WAIT_SECONDS)
        pause: float = self._first_wait_seconds * 2.0**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
        return min(pause, _LONGEST_WAIT_SECONDS)

    def _completion(self, reply: "_Reply", prompt: Messages) -> Completion:
        shown = "\n\n".join(f"{message.role}: {message.content}" for message in prompt)
        if reply.tokens is None:
            self._counted_by_words = True
        tokens_in, tokens_out = reply.tokens or (len(shown.split()), len(reply.text.split()))
        return Completion(
            text=reply.text,
            prompt=shown,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            seconds=reply.seconds,
            cut=reply.cut,
        )


@dataclass(frozen=True)
class _Reply:
    """tokens: (in, out) as the server counts them, None where it does not."""

    text: str
    cut: bool
    tokens: tuple[int, int] | None
    seconds: float


@dataclass(frozen=True)
class _Failure:
    """wait_seconds: what the server asked for in Retry-After."""

    reason: str
    retried: bool
    wait_seconds: float | None = None


class _Pace:
    """At most so many requests a minute, evenly spread over all threads."""

    def __init__(self, requests_per_minute: float | None) -> None:
        self._gap_seconds = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, stopped: threading.Event) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap_seconds
        if turn > now:
            stopped.wait(turn - now)


def _request_body(model: str, prompt: Messages, decoding: Decoding) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in prompt],
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
    }
    if decoding.top_p < 1:
        body["top_p"] = decoding.top_p
    if decoding.stop:
        body["stop"] = list(decoding.stop)
    return body


def _read(response: httpx.Response, seconds: float) -> _Reply | None:
    """Return the reply, None where the body is no chat completion."""
    try:
        body = response.json()
        choice = body["choices"][0]
        text = choice["message"]["content"] or ""
        usage = body.get("usage") or {}
        counted = (int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    # JSON may escape half a character (a lone surrogate), which no file and no page can hold.
    whole = str(text).encode("utf-8", "replace").decode("utf-8")
    return _Reply(whole, choice.get("finish_reason") == "length", counted, seconds)


def _seconds_asked(response: httpx.Response) -> float | None:
    """Return Retry-After in seconds; its rarer form, a date, counts as absent."""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _excerpt(body: str, key: str | None) -> str:
    text = body.replace(key, "***") if key else body
    return " ".join(text.split())[:_EXCERPT_CHARACTERS] or "(empty body)"
