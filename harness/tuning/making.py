"""What a recipe makes, a policy or a reward model: how its network is made, saved, and compared with what was saved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from harness.recipes import Trained
from harness.samples import Check
from harness.tuning.ground import Ground, ground
from harness.tuning.network import save, trainable
from harness.tuning.probe import in_memory, probe
from harness.tuning.scorer import prove_scorer, save_scorer, scorer, scores_in_memory


@dataclass(frozen=True, slots=True)
class Making:
    """The steps in which a policy and a reward model differ; each is called as the policy's function is."""

    ground: Callable[..., Ground]
    network: Callable[..., Any]
    save: Callable[..., None]
    in_memory: Callable[..., Sequence[torch.Tensor]]
    probe: Callable[..., tuple[Check, ...]]


_POLICY = Making(ground=ground, network=trainable, save=save, in_memory=in_memory, probe=probe)
_REWARD = Making(
    ground=partial(ground, anew=True),
    network=scorer,
    save=save_scorer,
    in_memory=scores_in_memory,
    probe=prove_scorer,
)


def making(recipe: Trained) -> Making:
    """Return how what `recipe` makes is made."""
    return _REWARD if recipe.makes == "reward" else _POLICY
