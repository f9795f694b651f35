"""The outcomes that end a test item without a fault. They are verdicts, not errors, and stand outside HarnessError."""


class NoGo(Exception):
    """The evidence says: do not tune. A known negative is marked `xfail(raises=NoGo, strict=True)`."""


class Inconclusive(Exception):
    """The evidence does not decide; the message says how many holdout samples would."""
