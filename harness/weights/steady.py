"""What a process does once, before it loads its first model."""

import atexit
import gc
from functools import cache

import torch

# What torch hands to MKL's vector library (aten/src/ATen/cpu/vml.h).
FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "expm1", "lgamma"),
    *("log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh"),
)


@cache
def set_imports_apart() -> None:
    """Leave what is imported by now to itself: each collection of a freed network would walk it, which takes 0.3 s.

    Only before the first model: of what is set apart, cycles are freed at the end of the process alone, which libraries
    that count their objects then (duckdb's nanobind) insist on.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@cache
def steady() -> None:
    """Call each vector function once on one element, so that none is first called by two threads at a time.

    MKL picks a function's kernel at its first call. Where threads make that call together, one of them may compute its
    share with a kernel of half the accuracy (https://github.com/pytorch/pytorch/issues/188792): the first batch of a
    process then differs from every later one, by 1e-3 in a log-likelihood.
    """
    for dtype in (torch.float32, torch.float64):
        half = torch.full((1,), 0.5, dtype=dtype)
        for name in FUNCTIONS:
            getattr(torch, name)(half)
