"""Plans and layouts of packed rows."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.inference.models.prefix_tree import Limits, Sequences, lay_out, plan_packs, token_tree

TOKENS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=20).map(tuple), max_size=30)
CPU = torch.device("cpu")


def question(number: int, *choices: int) -> list[tuple[int, ...]]:
    """Return sequences that share twelve tokens, one for each choice."""
    return [(*range(number, number + 12), choice) for choice in choices]


def test_choices_of_one_question_are_one_item_and_questions_share_a_pack() -> None:
    tokens = question(100, 1, 2, 3) + question(200, 4, 5) + question(300, 6)
    plan = plan_packs(Sequences(tokens, [1] * 6), Limits(tokens=30, item=20, scored=100))
    assert plan == (((0, 1, 2), (3, 4)), ((5,),))


def test_an_item_past_its_limit_is_cut() -> None:
    tokens = question(100, 1, 2, 3, 4)
    assert plan_packs(Sequences(tokens, [1] * 4), Limits(tokens=100, item=14, scored=100)) == (((0, 1), (2, 3)),)


def test_packs_hold_no_more_scored_positions_than_fit() -> None:
    tokens = question(100, 1) + question(200, 2) + question(300, 3)
    plan = plan_packs(Sequences(tokens, [5, 5, 5]), Limits(tokens=100, item=50, scored=10))
    assert plan == (((0,), (1,)), ((2,),))


@given(TOKENS, st.integers(1, 60), st.integers(1, 30))
def test_every_position_is_planned_once_within_the_limits(tokens: list[tuple[int, ...]], most: int, item: int) -> None:
    sequences = Sequences(tokens, [min(3, len(row)) for row in tokens])
    plan = plan_packs(sequences, Limits(tokens=most, item=min(item, most), scored=40))
    assert sorted(position for pack in plan for found in pack for position in found) == list(range(len(tokens)))
    for pack in plan:
        sizes = [len(token_tree([tokens[position] for position in found])) for found in pack]
        assert sum(sizes) <= most or len(pack) == 1
        for found, size in zip(pack, sizes, strict=True):
            assert size <= item or len(found) == 1


@given(TOKENS.filter(bool))
def test_a_laid_out_sequence_sees_itself_and_nothing_else(tokens: list[tuple[int, ...]]) -> None:
    sequences = Sequences(tokens, [1] * len(tokens))
    ((*items,),) = plan_packs(sequences, Limits(tokens=10_000, item=10_000, scored=10_000))
    pack = lay_out(items, sequences, device=CPU, dtype=torch.float32)
    flat = pack.spread.flatten()
    assert flat[pack.gather].tolist() == list(range(pack.tokens.shape[1]))
    for number, item in enumerate(items):
        for position in item:
            path = pack.paths[position]
            assert tuple(pack.tokens[0, path].tolist()) == tokens[position]
            assert pack.depths[0, path].tolist() == list(range(len(path)))
            place = pack.gather[path[-1]] - number * pack.spread.shape[1]
            # Without a mask, a token sees all before it in its item.
            seen = (
                torch.arange(place + 1) if pack.mask is None else (pack.mask[number, 0, place] == 0).nonzero().flatten()
            )
            assert pack.spread[number, seen].tolist() == path.tolist()


def test_only_items_that_branch_need_a_mask() -> None:
    apart, branching = [(1, 2, 3), (4, 5)], [(1,) * 9 + (2,), (1,) * 9 + (3,)]
    for tokens, needed in ((apart, False), (branching, True)):
        sequences = Sequences(tokens, [1, 1])
        (items,) = plan_packs(sequences, Limits(tokens=100, item=100, scored=100))
        pack = lay_out(items, sequences, device=CPU, dtype=torch.float32)
        assert (pack.mask is not None) is needed
