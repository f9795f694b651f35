import pytest

from harness.analysis.holdout_ledger import holdout_ledger
from harness.errors import Incomparable


def test_the_first_candidate_has_all_of_alpha():
    found = holdout_ledger("k1", {"k1": "lora"})
    assert (found.candidate, found.look, found.alpha, found.level, found.others) == ("lora", 1, 0.05, 0.95, ())
    assert (found.spent, found.left, found.total) == (0.025, 0.025, 0.05)
    assert found.sentence == (
        "lora is the first candidate to meet this holdout: its intervals are at 95 %. "
        "A false GO among all candidates so far has a chance of at most 2.5 %, of 5.0 % in all."
    )


def test_a_third_candidate_pays_for_the_tries_before_it():
    found = holdout_ledger("k3", {"k1": "lora", "k2": "full", "k3": "dora", "k4": "ia3"})
    assert (found.look, found.alpha, found.others) == (3, pytest.approx(0.05 / 6), ("lora", "full", "ia3"))
    assert found.spent == pytest.approx(0.025 + 0.0125 + 0.05 / 12)
    assert found.spent + found.left == pytest.approx(0.05)
    assert "dora is candidate 3 on this holdout, after lora, full: chance has had 3 tries" in found.sentence
    assert found.sentence.endswith("1 candidate came later.")


def test_however_many_look_the_chance_of_a_false_go_stays_within_alpha():
    many = {str(place): f"c{place}" for place in range(500)}
    found = holdout_ledger("499", many)
    assert 0.0499 < found.spent < 0.05
    assert "after c0, c1, c2, c3, c4, ...:" in found.sentence


def test_a_candidate_that_never_looked_has_no_place():
    with pytest.raises(Incomparable, match="'k9' has not looked"):
        holdout_ledger("k9", {"k1": "lora"})
