"""Answers beside their scores by one metric, as an experiment's last judgement left them."""

from collections.abc import Collection
from pathlib import Path

from harness.data.answer_pairs import ScoredAnswer
from harness.store.database import transaction

_SCORED = """
    SELECT scores.split, scores.sample_id, samples.input, scores.system, answers.text, scores.score
    FROM scores
    JOIN answers USING (stage_key, sample_id, repeat)
    JOIN samples ON samples.experiment = scores.experiment AND samples.split = scores.split
        AND samples.sample_id = scores.sample_id
    WHERE scores.experiment = ? AND scores.metric = ? AND scores.split IN (SELECT unnest(?))
        AND scores.score IS NOT NULL
    ORDER BY samples.position, scores.system, scores.seed, scores.repeat
"""
_MEASURED = """
    SELECT DISTINCT scores.metric, scores.split, system_means.better
    FROM scores
    LEFT JOIN system_means USING (experiment, metric)
    WHERE scores.experiment = ?
    ORDER BY ALL
"""


def scored_answers(path: Path, experiment: str, *, metric: str, splits: Collection[str]) -> tuple[ScoredAnswer, ...]:
    """Return the answers of every system to the samples of `splits`, in the samples' order."""
    with transaction(path) as connection:
        found = connection.execute(_SCORED, [experiment, metric, list(splits)]).fetchall()
    return tuple(
        ScoredAnswer(split=split, sample_id=name, question=question, system=system, text=text, score=score)
        for split, name, question, system, text, score in found
    )


def metrics_measured(path: Path, experiment: str) -> dict[str, tuple[str, set[str]]]:
    """Return, for each metric with stored scores, which direction is better and the splits it was scored on."""
    with transaction(path) as connection:
        found = connection.execute(_MEASURED, [experiment]).fetchall()
    measured: dict[str, tuple[str, set[str]]] = {}
    for metric, split, better in found:
        measured.setdefault(metric, (better or "higher", set()))[1].add(split)
    return measured
