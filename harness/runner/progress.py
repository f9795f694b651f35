"""Live progress: one line with a rate and an estimate of the time left."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from tqdm import tqdm

# A log file wants a line now and then, a terminal a live line.
_SECONDS_BETWEEN_LOG_LINES = 15.0
_SECONDS_BETWEEN_REFRESHES = 0.2


class _Bar(Protocol):
    def update(self, amount: int) -> object: ...
    def set_postfix_str(self, text: str, refresh: bool) -> object: ...


class BarMeter:
    """A meter that draws on a tqdm bar."""

    def __init__(self, bar: _Bar) -> None:
        self._bar = bar

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)


class TerminalProgress:
    """Progress on a stream: a live line on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO, *, prefix: str = "") -> None:
        self._stream = stream
        self._prefix = f"{prefix}: " if prefix else ""
        self._live = stream.isatty()

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator[BarMeter]:
        bar = tqdm(
            desc=f"{self._prefix}{label}",
            total=total,
            initial=done,
            unit=f" {unit}",
            file=self._stream,
            leave=not self._live,
            dynamic_ncols=self._live,
            ascii=not self._live,
            mininterval=_SECONDS_BETWEEN_REFRESHES if self._live else _SECONDS_BETWEEN_LOG_LINES,
            miniters=1,
            bar_format=None
            if self._live
            else "{desc}: {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]\n",
        )
        try:
            yield BarMeter(bar)
        finally:
            bar.close()

    def say(self, line: str) -> None:
        tqdm.write(f"{self._prefix}{line}", file=self._stream)
        self._stream.flush()


class SilentMeter:
    """A meter nobody looks at."""

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Take the news and show nothing."""


class SilentProgress:
    """Progress nobody looks at."""

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator[SilentMeter]:
        yield SilentMeter()

    def say(self, line: str) -> None:
        """Take the news and show nothing."""
