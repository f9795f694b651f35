"""Tokens and seconds are read from the answer."""

from harness.metrics.usage import Latency, TokensIn, TokensOut
from harness.protocols import Metric
from harness.samples import Answer, Sample

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
