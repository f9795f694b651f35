"""What is registered before the holdout opens: the rule that will judge it, and what the holdout holds."""

import hashlib
import json
from dataclasses import fields, is_dataclass

from harness.errors import NotFingerprintable
from harness.experiment import Experiment
from harness.fingerprint import fingerprint
from harness.samples import Split


def rule_key(experiment: Experiment) -> str:
    """Identify the criteria, margins, guards, metrics and splits."""
    guards = [[guard.comparison_name, guard.by_at_most, _rule(guard.metric)] for guard in experiment.guards]
    return fingerprint(
        [
            [_rule(item) for item in experiment.go_if],
            [_rule(item) for item in experiment.stop_if],
            guards,
            [_rule(metric) for metric in experiment.metrics],
            [sorted(sample_keys(experiment, split)) for split in (Split.DEV, Split.HOLDOUT)],
            [experiment.stop_early, experiment.leaks],
        ]
    )


def sample_keys(experiment: Experiment, split: Split) -> tuple[str, ...]:
    """Return what identifies each sample of a split by content, whichever experiment, task and prompt uses it."""
    samples = experiment.task.samples(split)
    return tuple(hashlib.sha256(json.dumps([s.input, s.reference]).encode()).hexdigest() for s in samples)


def _rule(item: object) -> object:
    """Return a criterion or metric as a fingerprintable value; a user's own class falls back to what it shows."""
    try:
        return fingerprint(item)
    except NotFingerprintable:
        if is_dataclass(item) and not isinstance(item, type):
            return [type(item).__qualname__, {f.name: repr(getattr(item, f.name)) for f in fields(item)}]
        return [type(item).__qualname__, getattr(item, "name", "")]
