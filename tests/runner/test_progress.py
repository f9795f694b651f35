"""What long work says while it runs."""

import io

import pytest

from harness.runner.context import TerminalProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_log_gets_a_line_now_and_then_with_a_rate_and_the_time_left() -> None:
    log, clock = io.StringIO(), Clock()
    with TerminalProgress(log, prefix="lamps", clock=clock).meter(
        "answer", total=100, unit="answers", done=20
    ) as meter:
        for _ in range(8):
            clock.seconds += 4.0
            meter.advance(8, note="loss 0.5")

    assert log.getvalue().splitlines() == [
        "lamps: answer: 52/100 answers, 16 s, 2 answers/s, about 24 s left, loss 0.5",
        "lamps: answer: 84/100 answers, 32 s, 2 answers/s, about 8 s left, loss 0.5",
        "lamps: answer: 84/100 answers, 32 s, 2 answers/s, done, loss 0.5",
    ]


def test_a_stage_that_fails_is_not_called_done() -> None:
    log = io.StringIO()
    with pytest.raises(ValueError, match="stop"), TerminalProgress(log).meter("answer", total=9, unit="answers"):
        raise ValueError("stop")

    assert "done" not in log.getvalue()


def test_a_terminal_gets_a_live_line_with_a_rate_and_the_time_left() -> None:
    terminal = Terminal()
    with TerminalProgress(terminal, prefix="lamps").meter("train", total=4, unit="steps") as meter:
        for _ in range(4):
            meter.advance(note="loss 0.25")
    last = terminal.getvalue().split("\r")[-1]

    assert last.startswith("lamps: train: 100%|")
    assert "4/4 [00:00<00:00," in last
    assert last.rstrip().endswith("loss 0.25]")


def test_a_line_that_is_said_carries_the_experiment() -> None:
    log = io.StringIO()
    TerminalProgress(log, prefix="lamps").say("waiting: another process works on answer zero-shot on dev")

    assert log.getvalue() == "lamps: waiting: another process works on answer zero-shot on dev\n"
