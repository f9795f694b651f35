"""What happens when a batch does not fit the memory: half of it is tried."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from harness.errors import StageFailed

Row = TypeVar("Row")
Result = TypeVar("Result")


def halving(compute: Callable[[Sequence[Row]], list[Result]], rows: Sequence[Row]) -> list[Result]:
    """Return `compute(rows)`, in halves where the memory does not hold all rows at once.

    Raises StageFailed where a single row does not fit.
    """
    try:
        return compute(rows)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(rows) == 1:
            raise StageFailed(
                f"one row alone does not fit the memory ({str(error).splitlines()[0]}); "
                "shorten the prompts, lower max_tokens or use a smaller model"
            ) from error
    # Outside the handler, so that the failed batch's tensors are freed before the halves are tried.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(rows) // 2
    return halving(compute, rows[:middle]) + halving(compute, rows[middle:])


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell an allocation that failed from every other RuntimeError: on a CPU torch has no class for it."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "not enough memory" in text
