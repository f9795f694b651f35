"""The tree of token sequences."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.inference.models.prefix_tree import TokenTree, common_length, token_tree

SEQUENCES = st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=8)


def test_shared_beginnings_are_held_once() -> None:
    assert token_tree([(1, 2, 3), (1, 2, 4, 5), (1, 6)]) == TokenTree(
        tokens=(1, 2, 3, 4, 5, 6),
        depths=(0, 1, 2, 2, 3, 1),
        ends=(6, 5, 3, 5, 5, 6),
        paths=((0, 1, 2), (0, 1, 3, 4), (0, 5)),
    )


def test_a_token_sees_its_ancestors_and_itself() -> None:
    tree = token_tree([(1, 2), (1, 3)])
    seen = torch.tensor([[True, False, False], [True, True, False], [True, False, True]])
    assert torch.equal(tree.visible(torch.device("cpu")), seen)


@given(SEQUENCES)
def test_every_path_spells_its_sequence_and_sees_exactly_itself(sequences: list[list[int]]) -> None:
    tree = token_tree(sequences)
    seen = tree.visible(torch.device("cpu"))
    for path, sequence in zip(tree.paths, sequences, strict=True):
        assert [tree.tokens[place] for place in path] == sequence
        assert [tree.depths[place] for place in path] == list(range(len(sequence)))
        for length, place in enumerate(path, start=1):
            assert seen[place].nonzero().flatten().tolist() == list(path[:length])


@given(SEQUENCES)
def test_there_are_as_many_tokens_as_distinct_beginnings(sequences: list[list[int]]) -> None:
    beginnings = {tuple(sequence[:length]) for sequence in sequences for length in range(1, len(sequence) + 1)}
    assert len(token_tree(sequences)) == len(beginnings)


@given(st.lists(st.integers(0, 2), max_size=5), st.lists(st.integers(0, 2), max_size=5))
def test_common_length_is_the_longest_shared_beginning(one: list[int], other: list[int]) -> None:
    length = common_length(one, other)
    assert one[:length] == other[:length]
    assert one[: length + 1] != other[: length + 1] or length == min(len(one), len(other))
