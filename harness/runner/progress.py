"""Live progress: a line with a rate and an estimate of the time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from tqdm import tqdm

from harness.types.protocols import Meter

_SECONDS_BETWEEN_LINES = 15.0


class TextStream(Protocol):
    """Where progress is written."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


class TerminalProgress:
    """Progress on a stream: a live line on a terminal; elsewhere, as in a log, a line now and then."""

    def __init__(self, stream: TextStream, *, prefix: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._prefix = f"{prefix}: " if prefix else ""
        self._clock = clock

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator[Meter]:
        name = f"{self._prefix}{label}"
        if not self._stream.isatty():
            log = _LogMeter(partial(self._write, name), total=total, unit=unit, done=done, clock=self._clock)
            yield log
            log.finish()
            return
        bar = tqdm(
            desc=name, total=total, initial=done, unit=f" {unit}", file=self._stream, leave=True, dynamic_ncols=True
        )
        with bar:
            yield _BarMeter(bar)

    def _write(self, name: str, line: str) -> None:
        self._stream.write(f"{name}: {line}\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        tqdm.write(f"{self._prefix}{line}", file=self._stream)
        self._stream.flush()


class _Bar(Protocol):
    def update(self, amount: int) -> object: ...
    def set_postfix_str(self, text: str, refresh: bool) -> object: ...


class _BarMeter:
    """A live line, drawn by tqdm."""

    def __init__(self, bar: _Bar) -> None:
        self._bar = bar

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)


class _LogMeter:
    """Whole lines: one every 15 seconds, and one at the end."""

    def __init__(
        self, write: Callable[[str], None], *, total: int, unit: str, done: int, clock: Callable[[], float]
    ) -> None:
        self._write, self._unit, self._clock = write, unit, clock
        self._total, self._before, self._done = total, done, done
        self._note = ""
        self._began = self._written = clock()

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        if self._clock() - self._written >= _SECONDS_BETWEEN_LINES:
            self._line(f"about {_duration(self._left())} left")

    def finish(self) -> None:
        """Say how long it took."""
        self._line("done")

    def _left(self) -> float:
        seconds = self._clock() - self._began
        return (self._total - self._done) * seconds / max(1, self._done - self._before)

    def _line(self, ending: str) -> None:
        self._written = self._clock()
        seconds = self._written - self._began
        rate = (self._done - self._before) / seconds if seconds > 0 else 0.0
        parts = [
            f"{self._done}/{self._total} {self._unit}",
            _duration(seconds),
            f"{_number(rate)} {self._unit}/s",
            ending,
        ]
        if self._note:
            parts.append(self._note)
        self._write(", ".join(parts))


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


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
