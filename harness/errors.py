"""The exceptions a user may meet: each names the thing, the fact and the way out.

The outcomes that end a test item without a fault. They are verdicts, not errors, and stand outside HarnessError.
"""


class HarnessError(Exception):
    """A fault the user can act on; front doors print its message without a traceback."""


class InvalidExperiment(HarnessError):
    """The declaration cannot be judged: the message names file, field and remedy."""


class InvalidData(HarnessError):
    """A data file or row is unusable: the message names file, row and field."""


class NotFingerprintable(HarnessError):
    """A value has no canonical bytes, so a cache key over it would be a guess."""


class StageFailed(HarnessError):
    """A stage of the run stopped: the message gives the cause and how to resume."""


class InvalidEvidence(HarnessError):
    """The measurements exist but cannot be trusted: the verdict is INVALID."""


class Incomparable(HarnessError):
    """Two systems were not measured on the same samples."""


class MissingPackage(HarnessError):
    """A package that this declaration needs is absent: the message gives the command that brings it."""


class QueryFailed(HarnessError):
    """A user's SQL could not be answered: the message carries the database's own words."""


class NoGo(Exception):
    """The evidence says: do not tune. A known negative is marked `xfail(raises=NoGo, strict=True)`."""


class Inconclusive(Exception):
    """The evidence does not decide; the message says how many holdout samples would."""
