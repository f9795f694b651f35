"""The list of samples: which pair, which order, how much text."""

from dataclasses import replace
from types import ModuleType

from harness.report import samples as module
from harness.report.samples import LABELS, sample_list


def test_what_tuning_broke_comes_first_and_the_counts_cover_all(made: ModuleType) -> None:
    found = sample_list(made.go(samples=60))
    ranks = [list(LABELS).index(card.outcome) for card in found.cards]
    assert ranks == sorted(ranks)
    assert sum(number for _, _, number in found.counts) == found.total == 60
    assert found.systems == ("few-shot-8", made.TUNED)


def test_equal_answers_of_several_seeds_are_said_once(made: ModuleType) -> None:
    found = sample_list(made.go())
    for card in found.cards:
        tuned = card.sides[1]
        assert tuned.runs == 3
        assert sorted(seed for said in tuned.said for seed in said.seeds) == [1, 2, 3]
        assert len({said.text for said in tuned.said}) == len(tuned.said)
        assert tuned.right == sum(sum(said.scores) for said in tuned.said)


def test_long_texts_are_cut_so_that_the_page_stays_small(made: ModuleType) -> None:
    evidence = made.go(samples=200)
    long = replace(evidence, answers=tuple(replace(row, text=row.text + "x" * 9_000) for row in evidence.answers))
    found = sample_list(long)
    texts = [said.text for card in found.cards for side in card.sides for said in side.said]
    assert found.text_limit == 4_000
    assert all(len(text) == 4_001 and text.endswith("…") for text in texts)
    assert sum(len(text.encode()) for text in texts) <= module.TEXT_BUDGET_BYTES


def test_short_texts_are_whole(made: ModuleType) -> None:
    found = sample_list(made.go())
    assert found.text_limit is None
    assert {card.reference for card in found.cards} == {
        row.reference for row in made.go().samples if row.split == "holdout"
    }


def test_of_very_many_samples_the_changed_ones_are_kept(made: ModuleType) -> None:
    found = sample_list(made.go(samples=module.MOST_CARDS + 100))
    assert len(found.cards) == module.MOST_CARDS
    changed = sum(number for outcome, _, number in found.counts if outcome in ("improved", "regressed"))
    assert sum(card.outcome in ("improved", "regressed") for card in found.cards) == changed


def test_a_score_that_failed_says_why(made: ModuleType) -> None:
    evidence = made.go()
    broken = tuple(replace(row, score=None, error="no JSON") for row in evidence.scores)
    found = sample_list(replace(evidence, scores=broken))
    assert {card.outcome for card in found.cards} == {"unscored"}
    assert found.cards[0].sides[0].said[0].error == "no JSON"
