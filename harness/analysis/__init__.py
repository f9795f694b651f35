"""What the evidence says beyond yes or no: pure functions from scores and plain numbers to frozen dataclasses.

Each insight is JSON-able through `dataclasses.asdict` and carries its `sentence`; none of them decides a verdict.
"""
