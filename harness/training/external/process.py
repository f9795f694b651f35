"""A training in another process: started, watched through its log, ended with us."""

import ast
import json
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StageFailed
from harness.types.protocols import Meter

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_END = 10.0
# Trainers print a dict a step.
_LOGGED = re.compile(r"\{'(?:loss|train_loss|eval_loss)'.*?\}")
_ERROR = re.compile(r"^[\s│|]*((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b:?.*?)[\s│|]*$")


@dataclass(frozen=True, slots=True)
class TrainingLogs:
    """Where a process writes.

    Attributes:
        output: The file of all that it prints.
        steps: A file with a JSON line a step, if it writes one; else the steps are read from its output.
    """

    output: Path
    steps: Path | None


def run_process(
    command: Sequence[str], logs: TrainingLogs, *, shown: str, meter: Meter, environment: Mapping[str, str]
) -> None:
    """Run `command` to its end, its output in a log, and advance `meter` by each step that it logs.

    Raises:
        StageFailed: If it fails, or if a loss is no number; it is ended then, and when we are interrupted.
    """
    log = logs.output
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own words
            command, stdout=stream, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
        )
    followed = Followed(logs.steps or log)
    try:
        while process.poll() is None:
            _advance(followed, meter, shown, log)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        _advance(followed, meter, shown, log)
    finally:
        _end(process)
    if process.returncode:
        raise StageFailed(f"{shown} ended with code {process.returncode}: {last_error(log)}; its log is {log}")


@dataclass
class Followed:
    """A log that grows; `losses` gives those of the steps since the last look."""

    path: Path
    _at: int = field(default=0, init=False)

    def losses(self) -> list[float]:
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._at)
                read = stream.read()
        except FileNotFoundError:
            return []
        whole = read[: read.rfind(b"\n") + 1]
        self._at += len(whole)
        found = (step_loss(line) for line in whole.decode("utf-8", errors="replace").splitlines())
        return [loss for loss in found if loss is not None]


def step_loss(line: str) -> float | None:
    """Return the training loss that a line of a log tells, None if it tells none.

    Read are JSON lines with a `loss` (LLaMA-Factory's trainer_log.jsonl) and the dicts that trainers print.
    """
    values = _logged(line)
    try:
        return float(values["loss"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None


def last_error(log: Path) -> str:
    """Return the last line of a log that names an error, else its last line."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    named = [match[1] for line in lines if (match := _ERROR.match(line))]
    return (named or lines or ["it said nothing"])[-1].strip()


def _logged(line: str) -> Mapping[str, object]:
    text = line.strip()
    try:
        if text.startswith("{") and '"' in text:
            found = json.loads(text)
        elif match := _LOGGED.search(text):
            found = ast.literal_eval(match[0])
        else:
            return {}
    except (ValueError, SyntaxError):
        return {}
    return found if isinstance(found, dict) else {}


def _advance(followed: Followed, meter: Meter, shown: str, log: Path) -> None:
    for loss in followed.losses():
        if not math.isfinite(loss):
            raise StageFailed(
                f"{shown}: the loss is {loss}; lower learning_rate (a tenth is a good start), then run again; "
                f"its log is {log}"
            )
        meter.advance(1, note=f"loss {loss:.3f}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and what it started, where it still runs."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
