from dataclasses import asdict, replace

import pytest

from harness.analysis.sequential import stopped_early
from harness.errors import Incomparable
from harness.stats.compare import Comparison, compare
from tests.analysis.scores import Right, scored


def looks(*ends: tuple[int, float, float], metric: str = "m", unit: str = "") -> list[Comparison]:
    same = compare(Right(), split="holdout", baseline=scored("b", [0, 1]), tuned=scored("t", [0, 1]))
    about = replace(same, metric=metric, unit=unit, method="betting")
    return [replace(about, samples=n, difference=(low + high) / 2, low=low, high=high) for n, low, high in ends]


def test_an_interval_above_the_threshold_stops_early():
    seen = looks((16, -0.2, 0.5), (120, 0.06, 0.2), metric="right", unit="%")
    found = stopped_early(seen, threshold=0.05, of=400)
    assert (found.samples, found.of, found.saved, found.decided) == (120, 400, 0.7, True)
    assert asdict(found.difference) == {"value": 0.13, "low": 0.06, "high": 0.2}
    assert found.sentence == (
        "After 120 of 400 holdout samples in random order the difference was above +5.0 pts: right +13.0 pts "
        "[+6.0, +20.0], an interval at 95 % that holds at every look. 70.0 % of the holdout was not needed."
    )


def test_below_the_threshold_decides_too_and_across_it_does_not():
    below = stopped_early(looks((50, -2.0, -1.0)), threshold=0.0, of=50)
    across = stopped_early(looks((50, -1.0, 1.0)), threshold=0.0, of=50)
    assert (below.decided, across.decided, across.saved) == (True, False, 0.0)
    assert "was below +0" in below.sentence
    assert across.sentence.startswith("50 of 50 holdout samples in random order were evaluated without leaving")


def test_a_long_sequence_is_thinned_to_its_ends_and_between():
    long = looks(*((n, -1.0, 1.0) for n in range(1, 1001)))
    found = stopped_early(long, threshold=0.0, of=1000).peeks
    assert (len(found), found[0].samples, found[-1].samples) == (60, 1, 1000)


def test_no_look_is_no_stop():
    with pytest.raises(Incomparable, match="nothing was looked at"):
        stopped_early([], threshold=0.0, of=10)
