"""Group relative policy optimisation with TRL, on prompts as they are served and with graders of ours.

REINFORCE leave-one-out with TRL, on prompts as they are served and with graders of ours or a reward model.
"""

from functools import partial

from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from harness.errors import StageFailed
from harness.recipes import GRPO, RLOO
from harness.training.rl.policy import PolicyTrainer, keep_reference, policy, policy_session, policy_settings
from harness.training.session import TrainingContext, TrainingSession, carry_out
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a GRPO) on the prompts of `job.train`, and return the system of the best reward on DEV.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does, if there is no reward, and if a grader fails.
    """
    if not job.train:
        raise StageFailed("there is no prompt to answer; give the task samples in Split.TRAIN")
    return carry_out(job, GRPO, partial(_prepare, progress=progress), progress=progress)


def _prepare(begun: TrainingContext, *, progress: Progress) -> TrainingSession:
    recipe: GRPO = begun.recipe
    made, checks = policy(begun, progress, generations=recipe.generations)
    config = GRPOConfig(
        **policy_settings(begun, made),
        loss_type=recipe.loss,
        scale_rewards=recipe.scale,
    )
    trainer = ServedGRPO(policy=made, begun=begun, args=config)
    keep_reference(trainer, begun, recipe.beta)
    return policy_session(
        begun,
        made,
        trainer,
        checks,
        fed=trainer._tokenize_prompts([str(place) for place in range(len(made.rows))])[0],
    )


class ServedGRPO(PolicyTrainer, GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer on prompts as they are served."""

    twofold = True


def fit_rloo(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (an RLOO) on the prompts of `job.train`, and return the system of the best reward on DEV.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does, if there is no reward, and if a grader fails.
    """
    if not job.train:
        raise StageFailed("there is no prompt to answer; give the task samples in Split.TRAIN")
    return carry_out(job, RLOO, partial(_prepare_rloo, progress=progress), progress=progress)


def _prepare_rloo(begun: TrainingContext, *, progress: Progress) -> TrainingSession:
    recipe: RLOO = begun.recipe
    made, checks = policy(begun, progress, generations=recipe.generations)
    config = RLOOConfig(
        **policy_settings(begun, made),
        normalize_advantages=recipe.normalise,
    )
    try:
        trainer = ServedRLOO(policy=made, begun=begun, args=config)
    except (AttributeError, ValueError) as error:
        # TRL puts a copy of the adapter beside it, which some methods do not allow.
        raise StageFailed(
            f"{recipe.adapter.name} cannot be trained by RLOO: {str(error).splitlines()[0]}; give LoRA(), or use GRPO"
        ) from error
    keep_reference(trainer, begun, recipe.beta)
    return policy_session(
        begun,
        made,
        trainer,
        checks,
        fed=trainer._tokenize_prompts([str(place) for place in range(len(made.rows))])[0],
    )


class ServedRLOO(PolicyTrainer, RLOOTrainer):  # type: ignore[misc]
    """RLOOTrainer on prompts as they are served."""

    twofold = False
