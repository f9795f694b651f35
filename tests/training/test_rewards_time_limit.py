"""Calls that hang are given up, in the main thread and in another."""

import re
import signal
import threading
import time
from collections.abc import Callable

import pytest

from harness.training.rl.rewards import TookTooLongError, within


def spin() -> None:
    while True:
        pass


def search() -> None:
    re.search(r"(a+)+$", "a" * 40 + "b")  # tries each of 2 ** 40 ways


def stubborn() -> None:
    while True:
        try:
            spin()
        except Exception:
            continue


@pytest.mark.parametrize(
    "call", [spin, stubborn, search, lambda: time.sleep(600)], ids=["loop", "catches all", "pattern", "sleep"]
)
def test_a_call_that_hangs_is_given_up_in_the_main_thread(call: Callable[[], None]) -> None:
    began = time.monotonic()
    with pytest.raises(TookTooLongError, match=r"it took longer than 0.2 s"):
        within(0.2, call)
    assert time.monotonic() - began < 300


def test_in_another_thread_a_loop_is_given_up_and_ends() -> None:
    found: list[object] = []

    def elsewhere() -> None:
        try:
            within(0.2, spin)
        except TookTooLongError as error:
            found.append(str(error))

    thread = threading.Thread(target=elsewhere)
    before = threading.active_count()
    thread.start()
    thread.join(300)
    for _ in range(6000):
        if threading.active_count() == before:
            break
        time.sleep(0.05)
    assert found == ["it took longer than 0.2 s"]
    assert threading.active_count() == before


def test_what_the_call_returns_or_raises_comes_back_and_the_timer_is_off() -> None:
    def fail() -> None:
        raise KeyError("x")

    handler = signal.getsignal(signal.SIGALRM)
    assert within(5, lambda: 3) == 3
    with pytest.raises(KeyError):
        within(5, fail)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == handler

    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(within(5, lambda: 4)))
    thread.start()
    thread.join()
    assert found == [4]
