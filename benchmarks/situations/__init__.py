"""Situations with a known answer, planted one by one: what does the verdict say? `python -m benchmarks.situations`."""

from benchmarks.situations import costs, faults, gains, leaks, looks, names, real, repeats, rows

SCRIPTED = (
    *gains.SITUATIONS,
    *leaks.SITUATIONS,
    *repeats.SITUATIONS,
    *rows.SITUATIONS,
    *faults.SITUATIONS,
    *looks.SITUATIONS,
    *costs.SITUATIONS,
    *names.SITUATIONS,
)
REAL = real.SITUATIONS
