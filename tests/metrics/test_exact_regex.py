"""Regex: whether a pattern fits the answer."""

import pytest

from harness.errors import InvalidExperiment
from harness.metrics import Regex
from harness.types.protocols import Metric
from harness.types.samples import Answer, Sample


@pytest.mark.parametrize(
    ("metric", "text", "score"),
    [
        (Regex(r"\bplease\b"), "yes, please.", 1.0),
        (Regex(r"\bplease\b"), "yes", 0.0),
        (Regex(r"\d+", whole=True), " 42\n", 1.0),
        (Regex(r"\d+", whole=True), "42!", 0.0),
    ],
)
def test_the_pattern_is_searched_or_fits_the_whole(metric: Regex, text: str, score: float) -> None:
    assert metric.score(Sample(id="s", input="?", reference=""), Answer(sample_id="s", text=text)) == score


def test_a_pattern_that_does_not_compile_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidExperiment, match=r"Regex\('\('\) is no regular expression: missing \)"):
        Regex("(")


def test_it_is_a_metric_with_a_name_of_its_own() -> None:
    assert isinstance(Regex("x"), Metric)
    assert [Regex("x").name, Regex("x", name="polite").name] == ["regex", "polite"]
