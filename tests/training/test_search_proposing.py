"""What a search tries, and what it says of where the best was found."""

from dataclasses import replace

import pytest

from harness.fingerprint import fingerprint
from harness.recipes import SFT
from harness.recipes.yaml.mapping import write_recipe
from harness.training.search import SearchTrial, at_an_edge, combinations, proposed, values_of


@pytest.mark.parametrize(
    ("space", "tried", "said"),
    [
        ({"learning_rate": (1e-4, 1e-3, 1e-2)}, {"learning_rate": 1e-3}, []),
        (
            {"learning_rate": (1e-4, 1e-3, 1e-2)},
            {"learning_rate": 1e-2},
            ["learning_rate=0.01 is the highest that was searched"],
        ),
        ({"learning_rate": (1e-4, 1e-2)}, {"learning_rate": 3e-3}, []),
        (
            {"rank": (2, 4, 8), "epochs": (1, 2, 3)},
            {"rank": 2, "epochs": 3},
            ["rank=2 is the lowest that was searched", "epochs=3 is the highest that was searched"],
        ),
        ({"schedule": ("linear", "cosine")}, {"schedule": "linear"}, []),
        ({"rslora": (False, True)}, {"rslora": True}, []),
        ({"rank": [4, 8]}, {"rank": 8}, ["rank=8 is the highest that was searched"]),
    ],
)
def test_the_best_at_an_edge_of_what_was_searched_is_told(space: dict, tried: dict, said: list[str]) -> None:
    chosen = SearchTrial(number=0, tried=tried, places={}, state="complete", value=1.0, along={})
    assert at_an_edge(SFT(search=space, trials=2), chosen) == said


@pytest.mark.parametrize(
    ("values", "tried"),
    [
        ([4, 8], {4, 8}),
        (range(4, 6), {4, 5}),
        ([0.5, 2], {0.5, 2}),
        ((4, 8), {4, 5, 6, 7, 8}),
        ((4, 8, 16), {4, 8, 16}),
    ],
    ids=str,
)
def test_a_list_is_a_choice_and_a_tuple_of_two_numbers_a_range(values: object, tried: set[float]) -> None:
    name = "rank" if all(isinstance(one, int) for one in values) else "epochs"  # type: ignore[attr-defined]
    recipe = SFT(search={name: values}, trials=40)  # type: ignore[dict-item]
    seen = {values_of(recipe, proposed(recipe, [], seed=seed, number=0).params)[name] for seed in range(40)}
    assert seen <= tried
    assert len(seen) > 1
    assert len(combinations(recipe)) == (0 if len(tried) > 3 else len(tried))


def test_a_choice_of_two_numbers_is_another_recipe_than_their_range() -> None:
    choice, between = SFT(search={"rank": [4, 8]}), SFT(search={"rank": (4, 8)})
    assert (choice.name, between.name) == (
        "sft lora-r16 search=rank:4|8 trials=8",
        "sft lora-r16 search=rank:4+8 trials=8",
    )
    assert len({fingerprint(choice), fingerprint(between)}) == 2
    assert fingerprint(SFT(search={"rank": [4, 8, 16]})) == fingerprint(SFT(search={"rank": (4, 8, 16)}))
    assert replace(choice, epochs=1).search == choice.search
    assert eval(write_recipe(choice), {"SFT": SFT}) == choice
