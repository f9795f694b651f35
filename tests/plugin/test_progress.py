"""Long work is seen while pytest captures what it prints."""

import os
import pty
import subprocess
import sys


def test_a_log_gets_whole_lines_without_s(pytester, lamps):
    lamps()
    result = pytester.runpytest_subprocess("experiments", "--until=tuning")

    result.stdout.fnmatch_lines(
        [
            "experiments/lamps.py *",
            "lamps: answer zero-shot on dev: 10/10 answers, * answers/s, done",
            "lamps: scripted-tuning, seed 0: 8/8 steps, * steps/s, done",
            "lamps: answer scripted-tuning on dev: 10/10 answers, * answers/s, done",
        ]
    )
    assert "\r" not in result.stdout.str()
    assert "e+" not in result.stdout.str()


def test_a_terminal_gets_a_live_line_with_rate_and_time_left(pytester, lamps):
    lamps(seconds=0.05)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", "experiments", "--until=baseline"]
    with subprocess.Popen(command, cwd=pytester.path, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL) as run:
        os.close(theirs)
        shown = _read_all(ours)
    os.close(ours)

    assert run.returncode == 0
    live = [part for part in shown.split("\r") if part.startswith("lamps: answer zero-shot on dev")]
    assert any("8/10" in part and "<" in part and "answers/s" in part for part in live)
    assert "10/10" in live[-1]


def test_nothing_follows_the_last_line(pytester, lamps, tiny_model):
    """A module that held duckdb's classes when the interpreter ended made nanobind print a page about leaks."""
    # Choices are weighed: a random model that generates may answer to its limit, which is no baseline.
    chooses = f"model = {str(tiny_model)!r}\n\nclass Choosing(Lamps):\n    choices = COLOURS\n"
    lamps(before=chooses, task="Choosing()")
    result = pytester.runpytest_subprocess("experiments", "--until=baseline")
    assert result.ret == 0
    assert result.outlines[-1].startswith("====")
    assert result.errlines == []


def _read_all(terminal: int) -> str:
    chunks = []
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks).decode()
