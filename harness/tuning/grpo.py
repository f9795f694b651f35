"""Group relative policy optimisation with TRL, on prompts as they are served and with graders of ours."""

from functools import partial

from trl import GRPOConfig, GRPOTrainer

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.protocols import Progress
from harness.recipes import GRPO
from harness.tuning.course import Begun, Course, carry_out
from harness.tuning.policy import keep_reference, policy, policy_course, policy_settings
from harness.tuning.policy_trainer import PolicyTrainer


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a GRPO) on the prompts of `job.train`, and return the system of the best reward on DEV.

    Raises StageFailed as `harness.tuning.course.carry_out` does, where there is no reward, and where a grader fails.
    """
    if not job.train:
        raise StageFailed("there is no prompt to answer; give the task samples in Split.TRAIN")
    return carry_out(job, GRPO, partial(_prepare, progress=progress), progress=progress)


def _prepare(begun: Begun, *, progress: Progress) -> Course:
    recipe: GRPO = begun.recipe
    made, checks = policy(begun, progress)
    config = GRPOConfig(
        **policy_settings(begun, made, generations=recipe.generations),
        loss_type=recipe.loss,
        scale_rewards=recipe.scale,
    )
    trainer = ServedGRPO(policy=made, begun=begun, args=config)
    keep_reference(trainer, begun, recipe.beta)
    return policy_course(
        begun,
        made,
        trainer,
        checks,
        answers=recipe.batch_size * recipe.generations,
        steps=config.max_steps,
        fed=trainer._tokenize_prompts([str(place) for place in range(len(made.rows))])[0],
    )


class ServedGRPO(PolicyTrainer, GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer on prompts as they are served."""

    twofold = True
