"""Optional members of recipes, tasks and metrics: who has them, and what holds for those without."""

from dataclasses import dataclass
from typing import ClassVar

from harness import DPO, KTO, SFT, ExactMatch, Perplexity, RewardModel, Split, Steps, TextTask
from harness.plan.training_steps import new_rows, replayed
from harness.recipes.continual import other_tasks
from harness.recipes.steps import makes_policy, needs_reward_model, task_of
from harness.types import protocols


@dataclass(frozen=True)
class Plain:
    """A recipe with the members that every recipe has, and no others."""

    name: str = "plain"
    prompt: None = None
    trainer: ClassVar[str] = "nowhere:fit"


class Ten:
    name = "ten"

    def samples(self, split: Split) -> range:
        return range(10)


def test_bundled_recipes_have_the_members_of_their_kind() -> None:
    for kind in (protocols.LearnsTask, protocols.KeepsTasks, protocols.LimitsExamples, protocols.HasEpochs):
        assert isinstance(SFT(), kind)
        assert not isinstance(Plain(), kind)
    assert isinstance(DPO(), protocols.LearnsPairs | protocols.LearnsPreferences)
    assert isinstance(KTO(), protocols.LearnsVotes)
    assert not isinstance(SFT(), protocols.LearnsPairs | protocols.LearnsVotes | protocols.LearnsPreferences)
    assert not makes_policy(RewardModel())


def test_a_recipe_without_them_learns_all_examples_of_the_experiments_task() -> None:
    task = Ten()
    assert task_of(Plain(), task) is task  # type: ignore[arg-type]
    assert (other_tasks(Plain()), replayed(Plain())) == ((), ())
    assert makes_policy(Plain())
    assert not needs_reward_model(Plain())
    assert new_rows(Plain(), task) == 10  # type: ignore[arg-type]
    assert new_rows(SFT(limit=4), task) == 4  # type: ignore[arg-type]
    assert makes_policy(Steps([Plain()]))


def test_a_task_and_a_metric_without_them_have_the_defaults() -> None:
    assert protocols.answer_tokens(Ten()) == 256
    assert protocols.answer_tokens(None) == 256
    assert protocols.needs_likelihood(Perplexity())
    assert not protocols.needs_likelihood(ExactMatch())
    assert isinstance(TextTask("general", "nowhere"), protocols.OnlyWeighed)
