"""How threads wait: training and decoding of the default model, alone and beside two busy processes.

python -m benchmarks.waiting prints steps and answers a second with threads that wait as the system has it, that sleep
at once, and that spin as long as the harness lets them.
"""

import multiprocessing
import os
import subprocess
import sys
import time

from harness.api import SPINS

POLICIES: tuple[dict[str, str], ...] = (
    {},
    {"OMP_WAIT_POLICY": "PASSIVE"},
    {"GOMP_SPINCOUNT": str(SPINS)},
    {"GOMP_SPINCOUNT": "100000"},
)
NEIGHBOURS = (0, 2)
# Few: beside busy neighbours threads that spin without end may take a minute a step.
STEPS, ANSWERS = 5, 16
_CHILD = "--child"


def main() -> int:
    """Print one line for each policy and number of busy neighbours; with --child, measure in this process."""
    if _CHILD in sys.argv:
        sys.stdout.write(" ".join(f"{rate:.3f}" for rate in (training(), decoding())))
        return 0
    for neighbours in NEIGHBOURS:
        for policy in POLICIES:
            trained, decoded = beside(neighbours, policy)
            sys.stdout.write(
                f"{neighbours} busy neighbours, {policy or 'nothing set'}: "
                f"{trained:.2f} training steps/s, {decoded:.2f} answers/s\n"
            )
            sys.stdout.flush()
    return 0


def beside(neighbours: int, policy: dict[str, str]) -> tuple[float, float]:
    """Return training steps and answers a second of a process of its own beside `neighbours` busy processes."""
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(neighbours)]
    for process in busy:
        process.start()
    inherited = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    try:
        done = subprocess.run(  # noqa: S603 - this module itself
            [sys.executable, "-m", "benchmarks.waiting", _CHILD],
            env={**inherited, **policy},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for process in busy:
            process.terminate()
    trained, decoded = (float(word) for word in done.stdout.split()[-2:])
    return trained, decoded


def training() -> float:
    """Return steps a second of a LoRA training in bfloat16."""
    from benchmarks.training import ours
    from harness import Model

    seconds = ours(Model("smollm2-135m-instruct", dtype="bfloat16"), steps=STEPS).seconds
    return (STEPS - 1) / (seconds[-1] - seconds[0])  # the first step prepares the others


def decoding() -> float:
    """Return greedy answers a second to few-shot prompts."""
    from benchmarks.generation import generated
    from benchmarks.setting import home_prompts

    prompts = home_prompts(ANSWERS)
    generated(prompts[:2])  # the model is loaded
    began = time.perf_counter()
    generated(prompts)
    return ANSWERS / (time.perf_counter() - began)


def _spin() -> None:
    while True:
        sum(range(10_000))


if __name__ == "__main__":
    sys.exit(main())
