"""What a search tries, and what it says of where the best was found."""

import pytest

from harness.recipes import SFT
from harness.tuning.proposing import Trial, at_an_edge


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
    ],
)
def test_the_best_at_an_edge_of_what_was_searched_is_told(space: dict, tried: dict, said: list[str]) -> None:
    chosen = Trial(number=0, tried=tried, places={}, state="complete", value=1.0, along={})
    assert at_an_edge(SFT(search=space, trials=2), chosen) == said
