"""`python -m benchmarks.share experiments/home_commands.py`: where the wall time of a run goes.

A thread looks at the main thread's stack every few milliseconds, and gives the time since its last look to the model
where a forward or backward pass is under way, else to the innermost frame that a rule below knows.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

_EVERY = 0.004  # seconds
_Key = TypeVar("_Key")
_ROOT = Path(__file__).parents[1]
# Where a pass is under way, also while it runs code of ours.
_PASSES = (
    ("backward", "torch/autograd/graph.py:_engine_run_backward"),
    ("forward", "torch/nn/modules/module.py:_call_impl"),
)
# The encoder of dense retrieval is a model too, in numpy.
_MODEL = (*(share for share, _ in _PASSES), "encoder")
# Share, then where its frames are: part of a file's path, or of it and a function's name.
_RULES = (
    ("encoder", "harness/prompting/dense.py"),
    ("imports", "<frozen importlib"),
    ("loss", "torch/nn/functional.py:cross_entropy"),
    ("optimiser", "torch/optim/"),
    ("optimiser", "torch/nn/utils/clip_grad.py"),
    ("tokenising", "transformers/tokenization_"),
    ("tokenising", "harness/inference/models/rendering.py"),
    ("loading", ":from_pretrained"),
    ("loading", "harness/inference/models/loading.py"),
    ("saving", ":save_pretrained"),
    ("saving", ":_save_checkpoint"),
    ("store", "harness/store/"),
    ("report", "harness/report/"),
    ("scoring", "harness/metrics/"),
    ("scoring", "harness/stats/"),
    ("scoring", "harness/runner/scoring.py"),
    ("data", "harness/data/"),
    ("data", "tasks/"),
    ("prompts", "harness/prompting/"),
    ("engine", "harness/inference/"),
    ("trainer", "harness/training/"),
    ("trainer", "transformers/trainer"),
)


class Sampler(threading.Thread):
    """Counts seconds by share, and by (share, line) for all that is not the model."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.shares: defaultdict[str, float] = defaultdict(float)
        self.lines: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._watched = threading.get_ident()
        self._ended = threading.Event()

    def run(self) -> None:
        before = time.perf_counter()
        while not self._ended.wait(_EVERY):
            frame = sys._current_frames().get(self._watched)
            now = time.perf_counter()
            if frame is not None:
                self._count(frame, now - before)
            before = now

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _count(self, frame: FrameType, seconds: float) -> None:
        share = share_of(frame)
        self.shares[share] += seconds
        if share not in _MODEL:
            self.lines[share, _line(frame, inner=share != "imports")] += seconds


def share_of(frame: FrameType) -> str:
    """Return the pass that is under way, else the share of the innermost frame that a rule knows, else "rest"."""
    places = [f"{place.f_code.co_filename}:{place.f_code.co_name}" for place in _outwards(frame)]
    found = _first(places, _PASSES) or _first(places, _RULES)
    return found or "rest"


def _first(places: Sequence[str], rules: Sequence[tuple[str, str]]) -> str | None:
    return next((share for place in places for share, part in rules if part in place), None)


def main() -> int:
    """Run the experiments named, and print the shares."""
    options = _options()
    sampler = Sampler()
    began = time.perf_counter()
    sampler.start()
    with tempfile.TemporaryDirectory() as folder:
        import pytest  # its own import is part of a run

        store = options.store or Path(folder) / "results.duckdb"
        code = pytest.main([*options.files, "-q", "--verdict", "report", "--store", str(store)])
    sampler.end()
    _print(sampler, time.perf_counter() - began, lines=options.lines)
    return int(code)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _line(frame: FrameType, *, inner: bool) -> str:
    """Return the innermost line of the project, and with `inner` the innermost of all where that is another."""
    own = next((place for place in _outwards(frame) if _is_own(place)), frame)
    said = f"{_short(own)}:{own.f_lineno} {own.f_code.co_name}"
    return said if own is frame or not inner else f"{said} > {_short(frame)}:{frame.f_lineno} {frame.f_code.co_name}"


def _is_own(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith(str(_ROOT)) and "site-packages" not in name and not name.startswith(__file__)


def _short(frame: FrameType) -> str:
    name = frame.f_code.co_filename
    return name.removeprefix(f"{_ROOT}/").rpartition("site-packages/")[2]


def _largest(seconds: Mapping[_Key, float]) -> list[tuple[_Key, float]]:
    return sorted(seconds.items(), key=lambda item: -item[1])


def _print(sampler: Sampler, wall: float, *, lines: int) -> None:
    write = sys.stdout.write
    write(f"\n{'share':12s} {'seconds':>9s} {'percent':>8s}\n")
    for share, seconds in _largest(sampler.shares):
        write(f"{share:12s} {seconds:9.1f} {seconds / wall:8.1%}\n")
    model = sum(sampler.shares[share] for share in _MODEL)
    write(f"{'all':12s} {wall:9.1f}, of which {model / wall:.1%} in forward and backward passes\n")
    write("\noutside the model, by line:\n")
    for (share, line), seconds in _largest(sampler.lines)[:lines]:
        write(f"{seconds:7.1f} s  {share:10s} {line}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.share", description=__doc__)
    parser.add_argument("files", nargs="+", help="experiment files, run one after the other in this process")
    parser.add_argument("--store", type=Path, help="where results are kept; left out, a new one: a cold run")
    parser.add_argument("--lines", type=int, default=20, help="how many lines outside the model to show")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
