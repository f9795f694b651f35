"""An experiment's declaration as the store keeps it and the page shows it, and its rule as values.

The rule is what `harness verify` needs to decide again without the experiment's file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.types.codec import SPARSE, stored_as
from harness.types.protocols import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredStatistic:
    """Which class computes a metric of the whole set.

    Attributes:
        path: Of the class, as "package.module:Class".
        fields: What makes it anew; None unless it is one of this package and its fields are plain values.
    """

    path: str = field(default="", metadata=stored_as("class"))
    fields: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredMetric:
    """A metric as the rule names it.

    Attributes:
        statistic: None for a mean of scores.
        pairs: A score is of one pair of answers.
    """

    name: str
    better: Direction
    statistic: DeclaredStatistic | None = None
    pairs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredCriterion:
    """A criterion or a guard as the rule names it.

    Attributes:
        kind: The name of its class; "own" for a user's, which only its own code can judge.
        metrics: Names of the comparisons that it judges.
        number: What it asks for; None for a user's own.
        path: Of a user's own class.
        metric: Of a guard.
        groups: Of a guard, the group of each sample that has one; the store keeps only those of the experiment's task.
    """

    kind: str
    metrics: tuple[str, ...]
    number: float | None = None
    path: str | None = field(default=None, metadata={**SPARSE, **stored_as("class")})
    metric: DeclaredMetric | None = field(default=None, metadata=SPARSE)
    groups: Mapping[str, str] | None = field(default=None, metadata=SPARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Criteria, guards and metrics as values."""

    go_if: tuple[DeclaredCriterion, ...] = ()
    stop_if: tuple[DeclaredCriterion, ...] = ()
    guards: tuple[DeclaredCriterion, ...] = ()
    metrics: tuple[DeclaredMetric, ...] = ()

    def metric(self, comparison: str) -> DeclaredMetric | None:
        """Return the metric of a comparison; a guard's stands with the guard."""
        guarding = {name: guard.metric for guard in self.guards for name in guard.metrics}
        own = {metric.name: metric for metric in self.metrics}
        return guarding[comparison] if comparison in guarding else own.get(comparison)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What was declared, where, and with which versions; what an older version did not keep is empty.

    Attributes:
        source: The text of the file, without passwords and keys.
        command: What runs it again.
        rule: None if an older version kept none.
        splits: How many samples each has.
        units: Of each metric that was measured.
    """

    file: str = ""
    source: str = ""
    command: str = ""
    task: str = ""
    model: str = ""
    baselines: tuple[object, ...] = ()
    recipes: tuple[object, ...] = ()
    metrics: tuple[str, ...] = ()
    go_if: tuple[str, ...] = ()
    stop_if: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    rule: Rule | None = None
    seeds: tuple[int, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
