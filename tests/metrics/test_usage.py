"""Tokens and seconds are read from the answer."""

from dataclasses import replace

import pytest

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.metrics.usage import Latency, TokensIn, TokensOut
from harness.types.protocols import Metric
from harness.types.samples import Answer, Sample, Score

SAMPLE = Sample(id="s1", input="?", reference="!")
ANSWER = Answer(sample_id="s1", text="", tokens_in=120, tokens_out=7, seconds=0.25)


def test_usage_metrics_read_the_answer_and_less_is_better():
    metrics = [TokensIn(), TokensOut(), Latency()]
    assert all(isinstance(metric, Metric) for metric in metrics)
    assert [(metric.name, metric.better, metric.score(SAMPLE, ANSWER)) for metric in metrics] == [
        ("tokens_in", "lower", 120.0),
        ("tokens_out", "lower", 7.0),
        ("latency", "lower", 0.25),
    ]


def test_a_share_of_a_batch_says_which_batch() -> None:
    shared = replace(ANSWER, timed_in_batch=3)
    assert Latency().score(SAMPLE, shared) == Score(0.25, {"timed_in_batch": 3})


def test_asking_one_at_a_time_is_another_metric_and_keeps_the_key_of_the_old_one() -> None:
    alone = Latency(one_at_a_time=True)
    assert (alone.name, alone.unit, Latency().name) == ("latency_one_at_a_time", "s", "latency")
    assert fingerprint(Latency()) == fingerprint(Latency(samples=32)) != fingerprint(alone)
    with pytest.raises(InvalidExperiment, match="samples=2"):
        Latency(samples=2)
