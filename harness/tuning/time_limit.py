"""Calls that may hang, given up after a while."""

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import TypeVar

T = TypeVar("T")


class TookTooLongError(BaseException):
    """A call was given up. No `Exception`, which code that catches all of them would go on from."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns.

    In the main thread a timer interrupts it, which ends also a pattern that searches for ever. In any other thread the
    call runs beside it, and one that is given up ends at its next line of Python. Code in C that looks at no signal is
    not ended.

    Raises TookTooLongError after `seconds`, else what the call raises.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        with _alarm(seconds):
            return call()
    return _beside(seconds, call)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TookTooLongError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, every)  # the caller's own, which rings a little late
        signal.signal(signal.SIGALRM, before)


def _beside(seconds: float, call: Callable[[], T]) -> T:
    found: Queue[tuple[T, None] | tuple[None, BaseException]] = Queue()

    def run() -> None:
        try:
            found.put((call(), None))
        except BaseException as error:  # handed to the caller, whatever it is
            found.put((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        value, error = found.get(timeout=seconds)
    except Empty:
        identity = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(TookTooLongError))
        raise TookTooLongError(f"it took longer than {seconds:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
