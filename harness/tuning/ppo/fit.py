"""Proximal policy optimisation: from a TuneJob to a tuned system on disk, with its log and its checks."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

from transformers import TrainingArguments

from harness.errors import StageFailed
from harness.jobs import TuneJob, TuneResult
from harness.protocols import Progress
from harness.recipes import PPO
from harness.samples import Check
from harness.tuning.aligned import has_virtual_tokens
from harness.tuning.course import Begun, Course, carry_out
from harness.tuning.policy import GOAL, policy, policy_course, rollout_steps
from harness.tuning.ppo.trainer import PPOTrainer
from harness.tuning.settings import shared_settings


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a PPO) on the prompts of `job.train`, and return the system of the best reward on DEV.

    The value head lies beside the result, as `job.folder / "value_head.safetensors"`; nothing serves it.

    Raises StageFailed as `harness.tuning.course.carry_out` does, where there is no reward, where a grader fails, and
    where the policy runs away from what it started as.
    """
    if not job.train:
        raise StageFailed("there is no prompt to answer; give the task samples in Split.TRAIN")
    return carry_out(job, PPO, partial(_prepare, progress=progress), progress=progress)


def _prepare(begun: Begun, *, progress: Progress) -> Course:
    recipe: PPO = begun.recipe
    if has_virtual_tokens(begun.network):
        raise StageFailed(
            f"{recipe.adapter.name} cannot be trained by PPO, whose value head reads states that virtual tokens "
            "displace; give LoRA()"
        )
    made, checks = policy(begun, progress)
    batches = rollout_steps(recipe, len(made.rows))
    updates = recipe.passes * recipe.minibatches
    every = math.ceil((recipe.evaluate_every or math.ceil(batches * updates / 10)) / updates) * updates
    settings: dict[str, Any] = {
        **shared_settings(
            recipe,
            folder=begun.checkpoints,
            seed=begun.job.seed,
            steps=batches * updates,
            every=every,
            precision=begun.precision,
            goal=GOAL,
        ),
        "num_train_epochs": 1,
        "max_steps": batches * updates,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": 1,
        "remove_unused_columns": False,
    }
    trainer = PPOTrainer(policy=made, begun=begun, args=TrainingArguments(**settings))
    course = policy_course(
        begun,
        made,
        trainer,
        checks,
        answers=recipe.batch_size,
        steps=batches * updates,
        fed=[row.prompt for row in made.rows],
    )

    def later() -> tuple[Check, ...]:
        trainer.head.save(begun.job.folder)
        return course.later()

    return replace(course, later=later)
