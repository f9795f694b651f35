from hypothesis import given
from hypothesis import strategies as st

from harness.inference.models.prefix_tree import common_prefix, plan_batches

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)


def test_batches_go_from_long_to_short_within_the_budget() -> None:
    assert plan_batches([3, 9, 4, 9, 1], tokens=18, rows=3) == ((1, 3), (2, 0, 4))


def test_a_row_beyond_the_budget_is_alone() -> None:
    assert plan_batches([50, 2, 2], tokens=10, rows=8) == ((0,), (1, 2))


@given(st.lists(st.integers(0, 40)), st.integers(1, 60), st.integers(1, 5))
def test_every_position_is_in_one_batch_that_fits(lengths: list[int], budget: int, rows: int) -> None:
    batches = plan_batches(lengths, tokens=budget, rows=rows)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget


@given(st.lists(tokens, min_size=1, max_size=6))
def test_the_common_prefix_is_the_longest_that_leaves_each_a_token(sequences: list[tuple[int, ...]]) -> None:
    longest = min(len(sequence) for sequence in sequences) - 1
    expected = max(length for length in range(longest + 1) if len({sequence[:length] for sequence in sequences}) == 1)
    assert common_prefix(sequences) == expected


def test_nothing_shares_nothing() -> None:
    assert common_prefix([]) == 0
