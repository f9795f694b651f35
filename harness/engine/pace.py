"""A rate limit that all threads of an engine share."""

import threading
import time

_SECONDS = 60.0


class Pace:
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
