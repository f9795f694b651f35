"""A reward model, trained by an earlier step, as what gives completions their rewards."""

from collections.abc import Sequence

import numpy as np

from harness.errors import StageFailed
from harness.jobs import TuneJob
from harness.models import Model
from harness.protocols import Progress
from harness.samples import Check, Example
from harness.tuning.grading import Completed, Marks
from harness.weights.adapted import collect
from harness.weights.loading import tokenizer_of
from harness.weights.rendering import answer_ids, prompt_ids
from harness.weights.rewarding import load_reward, rewards

_NAME = "reward_model"


class RewardModelGrading:
    """Reads completions as the reward model was trained to: served prompt, answer, end token where it ended."""

    def __init__(self, job: TuneJob, *, progress: Progress) -> None:
        assert job.reward is not None
        assert isinstance(job.model, Model)
        progress.say(f"rewards come from the reward model in {job.reward}")
        self._network = load_reward(job.model, job.reward)
        self._tokenizer = tokenizer_of(job.reward)
        self._given: list[float] = []

    @property
    def names(self) -> tuple[str, ...]:
        return (_NAME,)

    def grade(self, examples: Sequence[Example], completions: Sequence[Completed]) -> Marks:
        """Return the rewards. Raises StageFailed where one is not finite."""
        read = [
            [
                *prompt_ids(self._tokenizer, example.prompt),
                *answer_ids(self._tokenizer, completion.text, end=not completion.cut),
            ]
            for example, completion in zip(examples, completions, strict=True)
        ]
        found = tuple(rewards(self._network, self._tokenizer, read))
        if not np.isfinite(found).all():
            raise StageFailed(
                f"the reward model gives {next(one for one in found if not np.isfinite(one))} for a completion: its "
                "weights are broken; train it again with a lower learning_rate"
            )
        self._given += found
        return Marks(total=found, each={_NAME: found})

    def checks(self) -> tuple[Check, ...]:
        """Return the range of the rewards given: a policy may find answers that the model was never taught."""
        detail = (
            f"it gave {len(self._given):,} completions {min(self._given):.3g} to {max(self._given):.3g}"
            if self._given
            else "it was not asked"
        )
        return (Check(name="reward model", status="ok", detail=detail),)

    def close(self) -> None:
        self._network = None
        collect()
