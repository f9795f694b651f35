"""A split by hash is disjoint by group and moves no row when others come, go or change places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.splits import split_of, split_samples, take
from harness.types.samples import Sample, Split

FRACTIONS = (0.6, 0.2, 0.2)


def samples_of(groups: list[str]) -> list[Sample]:
    return [Sample(id=str(place), input=f"text {place}", reference="", group=name) for place, name in enumerate(groups)]


rows = st.lists(st.text(max_size=4), max_size=30).map(samples_of)


def test_the_split_of_a_key_is_the_same_on_every_machine() -> None:
    keys = ["a", "b", "c", "d", "e", "厨房", ""]

    splits = [split_of(key, fractions=(0.4, 0.3, 0.3), salt="one").value for key in keys]

    assert splits == ["train", "train", "train", "dev", "train", "train", "dev"]


@given(rows)
def test_groups_never_cross_splits_and_no_sample_is_lost(samples: list[Sample]) -> None:
    splits = split_samples(samples, fractions=FRACTIONS)

    groups = [{sample.group for sample in splits[split]} for split in Split]
    assert len(set().union(*groups)) == sum(map(len, groups))
    assert sorted(sample.id for split in Split for sample in splits[split]) == sorted(sample.id for sample in samples)


@given(rows, st.randoms(use_true_random=False))
def test_reordering_moves_no_sample(samples: list[Sample], random: object) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    before, after = (split_samples(order, fractions=FRACTIONS) for order in (samples, shuffled))

    assert {split: set(map(id, before[split])) for split in Split} == {
        split: set(map(id, after[split])) for split in Split
    }


@given(rows, rows)
def test_more_rows_move_no_sample(samples: list[Sample], more: list[Sample]) -> None:
    before = split_samples(samples, fractions=FRACTIONS)
    after = split_samples([*samples, *more], fractions=FRACTIONS)

    for split in Split:
        assert after[split][: len(before[split])] == before[split]


def test_without_groups_a_text_in_another_dress_stays_with_its_like() -> None:
    texts = [f"Open the {thing}" for thing in range(50)]
    samples = [Sample(id=f"{case}{text}", input=case(text), reference="") for text in texts for case in (str, shout)]

    splits = split_samples(samples, fractions=FRACTIONS)

    assert all(len(splits[split]) % 2 == 0 and splits[split] for split in Split)


def shout(text: str) -> str:
    return f"  {text.upper()}!! "


def test_sizes_come_out_near_the_fractions_and_a_salt_draws_anew() -> None:
    samples = samples_of([f"user {number}" for number in range(5_000)])

    one, two = (split_samples(samples, fractions=(0.8, 0.1, 0.1), salt=salt) for salt in ("one", "two"))

    assert [len(one[split]) for split in Split] == pytest.approx([4_000, 500, 500], abs=90)
    assert one[Split.HOLDOUT] != two[Split.HOLDOUT]


@given(rows, st.integers(1, 10))
def test_a_limit_keeps_the_order_and_does_not_depend_on_it(samples: list[Sample], limit: int) -> None:
    taken = take(samples, limit)

    assert len(taken) == min(limit, len(samples))
    assert [sample for sample in samples if sample in taken] == list(taken)
    assert {sample.id for sample in take(samples[::-1], limit)} == {sample.id for sample in taken}


def test_no_limit_takes_all() -> None:
    samples = samples_of(["a", "b"])

    assert take(samples, None) == tuple(samples)
