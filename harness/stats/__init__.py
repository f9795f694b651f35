"""Intervals, tests and sample counts. Pure functions of arrays; each module is one kind of evidence.

scipy is imported inside the functions that need it: it takes about half a second, and `import harness` reaches
these modules through the criteria.
"""
