"""The first call of a vector function is made by one thread."""

import subprocess
import sys

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.inference.models.loading import FUNCTIONS, steady


def test_every_function_is_called_once_in_both_precisions() -> None:
    class Calls(TorchDispatchMode):
        seen: list[tuple[str, torch.dtype, int]]

        def __init__(self) -> None:
            super().__init__()
            self.seen = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func._schema.name.removeprefix("aten::") in FUNCTIONS:
                self.seen.append((func._schema.name.removeprefix("aten::"), args[0].dtype, args[0].numel()))
            return func(*args, **(kwargs or {}))

    steady.cache_clear()
    with Calls() as calls:
        steady()
        steady()
    assert sorted(calls.seen, key=str) == sorted(
        ((name, dtype, 1) for name in FUNCTIONS for dtype in (torch.float32, torch.float64)), key=str
    )


def test_loading_a_model_steadies_the_process(tiny_model) -> None:  # type: ignore[no-untyped-def]
    """In a process of its own: here an earlier test has long made the first call."""
    script = (
        "import sys; from pathlib import Path; import torch\n"
        "from harness.inference.models.loading import model_of; from harness.inference.models.loading import steady\n"
        "assert steady.cache_info().currsize == 0\n"
        "model_of(Path(sys.argv[1]), device=torch.device('cpu'), dtype=torch.float32)\n"
        "assert steady.cache_info().currsize == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tiny_model)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
