"""The loop of proximal policy optimisation, within transformers' Trainer: its optimiser, schedule and checkpoints.

Proximal policy optimisation: from a TuneJob to a tuned system on disk, with its log and its checks.
"""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments

from harness.errors import StageFailed
from harness.recipes import PPO
from harness.training.adapter_setup import has_virtual_tokens
from harness.training.config import Unpublished, shared_settings
from harness.training.rl.checks import CLIPPED, REWARD, SAME, flat_now, flat_reward
from harness.training.rl.policy import (
    GOAL,
    Groups,
    Policy,
    Reference,
    count_epochs,
    evaluate,
    policy,
    policy_session,
    rollout_steps,
)
from harness.training.rl.ppo_math import (
    Answers,
    Coefficient,
    Rollout,
    ValueHead,
    explained_variance,
    gae,
    lay_out_batch,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)
from harness.training.rl.rewards import Completed, Grades
from harness.training.rl.rollouts import ThoughtTokens, draw_completions, think
from harness.training.session import TrainingContext, TrainingSession, carry_out
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress
from harness.types.samples import Check

_COEFFICIENT = "kl_coefficient.json"


class PPOTrainer(Unpublished, Trainer):  # type: ignore[misc]
    """A step is one update; every `passes * minibatches` steps a new batch of answers is drawn.

    Checkpoints are made between batches only, so that a run that resumes draws the batches of an undisturbed one.
    Dropout is off throughout: a ratio compares two policies, not two draws of one.
    """

    def __init__(self, *, policy: Policy, begun: TrainingContext, args: TrainingArguments) -> None:
        self._policy, self._begun = policy, begun
        self._recipe: PPO = begun.recipe
        self._reference = Reference(begun.network, begun.ground, begun.recipe.adapter, begun.precision)
        width = int(begun.network.config.get_text_config().hidden_size)
        self.head = ValueHead(width).to(begun.precision.device)
        self.coefficient = Coefficient(self._recipe.beta, self._recipe.kl_target, self._recipe.kl_horizon)
        self.updates = self._recipe.passes * self._recipe.minibatches
        self._rollout: Rollout | None = None
        self._order = torch.empty(0, dtype=torch.long)
        self._noted: dict[str, float] = {}
        super().__init__(
            model=begun.network,
            args=args,
            data_collator=list,
            train_dataset=list(range(len(policy.rows))),
            processing_class=begun.tokenizer,
        )

    def training_step(self, model: Any, inputs: list[int], num_items_in_batch: Any = None) -> torch.Tensor:
        """Learn from a minibatch, and return its mean loss of a token."""
        place = self.state.global_step % self.updates
        if place == 0 or self._rollout is None:
            self._rollout = self._roll_out(inputs)
        if place % self._recipe.minibatches == 0:
            self._order = torch.randperm(len(self._rollout))
        rows = self._order.chunk(self._recipe.minibatches)[place % self._recipe.minibatches]
        model.eval()
        # The trainer clears the gradients of its model alone.
        self.head.zero_grad(set_to_none=True)
        return self._learn(model, self._rollout.take(rows.to(self._rollout.ids.device)))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return the policy's optimiser, with the value head in a group of its own."""
        fresh = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if fresh:
            group = {"params": list(self.head.parameters()), "lr": self._recipe.value_rate, "weight_decay": 0.0}
            optimizer.add_param_group(group)
        return optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return and log the reward of greedy answers on DEV."""
        return evaluate(self, self._policy)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen
            logs |= self._noted
            self._noted.clear()
        super().log(logs, start_time)
        count_epochs(self, self._policy)
        if "loss" in logs and SAME in logs and flat_now(self.state.log_history):
            self._policy.progress.say(str(flat_reward(self.state.log_history)))

    def _get_train_sampler(self, *_: Any, **__: Any) -> Sampler[int]:
        return Groups(
            len(self._policy.rows),
            prompts=self._recipe.batch_size,
            generations=1,
            repeats=self.updates,
            steps=self.args.max_steps // self.updates,
            seed=self.args.seed,
        )

    def _save_checkpoint(self, *arguments: Any, **named: Any) -> None:
        super()._save_checkpoint(*arguments, **named)
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        self.head.save(folder)
        (folder / _COEFFICIENT).write_text(json.dumps({"beta": self.coefficient.beta}), encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        folder = Path(resume_from_checkpoint)
        self.head.load(folder)
        beta = float(json.loads((folder / _COEFFICIENT).read_text(encoding="utf-8"))["beta"])
        self.coefficient = Coefficient(beta, self._recipe.kl_target, self._recipe.kl_horizon)

    def _learn(self, model: Any, batch: Rollout) -> torch.Tensor:
        recipe, tokens = self._recipe, batch.drawn.sum()
        total, clipped, missed = torch.zeros((), device=batch.ids.device), 0.0, 0.0
        for part in batch.parts(recipe.micro_batch_size or len(batch)):
            with self._begun.precision.computing():
                thought = self._think(model, Answers(part.ids, part.mask, part.drawn))
            assert thought.states is not None
            moved = policy_loss(thought.logprobs, part.logprobs, part.advantages, part.drawn, clip=recipe.clip)
            foreseen = value_loss(
                self.head(thought.states), part.values, part.returns, part.drawn, clip=recipe.value_clip
            )
            self.accelerator.backward((moved.total + foreseen.total) / tokens)
            total += moved.total.detach() / tokens
            clipped += float(moved.clipped / tokens)
            missed += float(foreseen.total.detach() / tokens)
        self._noted["clip_fraction"], self._noted["value_loss"] = clipped, missed
        return total

    def _think(self, network: Any, answers: Answers) -> ThoughtTokens:
        return think(
            network,
            (answers.ids, answers.mask),
            answer=answers.width,
            temperature=self._recipe.temperature,
            states=True,
        )

    def _roll_out(self, places: list[int]) -> Rollout:
        """Draw an answer to each prompt, grade it, and say what each token was worth."""
        rows = [self._policy.rows[place] for place in places]
        prompts = [row.prompt for row in rows]
        how = self._policy.how
        found = [how.read(ids) for ids in draw_completions(self.model, prompts, how)]
        marks = self._policy.grading.grade([row.example for row in rows], found)
        answers = lay_out_batch(prompts, found, pad=how.pad, device=self._begun.precision.device)
        self.state.num_input_tokens_seen += int(answers.mask.sum())
        with torch.no_grad(), self._begun.precision.computing():
            now = self._in_parts(self.model, answers)
            with self._reference.opened() as network:
                start = self._in_parts(network, answers)
        assert now.states is not None
        values = self.head(now.states).detach() * answers.drawn
        apart = (now.logprobs - start.logprobs) * answers.drawn
        self._watch_divergence(float(apart.sum(dim=-1).mean()))
        rewards = token_rewards(
            torch.tensor(marks.total, dtype=torch.float32, device=apart.device),
            apart,
            answers.drawn,
            beta=self.coefficient.beta,
        )
        advantages, returns = gae(rewards, values, answers.drawn, gamma=self._recipe.gamma, trace=self._recipe.trace)
        self._describe(marks, found, apart, now.entropy, answers)
        self._noted["explained_variance"] = explained_variance(values, returns, answers.drawn)
        self.coefficient = self.coefficient.after(float(apart.sum(dim=-1).mean()), answers=len(rows))
        return Rollout(
            ids=answers.ids,
            mask=answers.mask,
            drawn=answers.drawn,
            logprobs=now.logprobs,
            values=values,
            advantages=whiten(advantages, answers.drawn),
            returns=returns,
        )

    def _in_parts(self, network: Any, answers: Answers) -> ThoughtTokens:
        training = network.training
        network.eval()
        size = self._recipe.micro_batch_size or len(answers.ids)
        parts = [
            self._think(network, Answers(ids, mask, drawn))
            for ids, mask, drawn in zip(
                *(torch.split(each, size) for each in (answers.ids, answers.mask, answers.drawn)), strict=True
            )
        ]
        network.train(training)
        return ThoughtTokens(
            logprobs=torch.cat([part.logprobs for part in parts]),
            entropy=torch.cat([part.entropy for part in parts]),
            states=torch.cat([part.states for part in parts if part.states is not None]),
        )

    def _watch_divergence(self, nats: float) -> None:
        """Raise StageFailed where the policy has run away from what it started as."""
        if math.isfinite(nats) and nats <= self._recipe.kl_limit:
            return
        raise StageFailed(
            f"step {self.state.global_step} of {self.state.max_steps}: the policy has run away from what it started "
            f"as, by {nats:.3g} nats an answer (kl_limit is {self._recipe.kl_limit:g}; learning rate "
            f"{self._recipe.rate:g}, beta {self.coefficient.beta:.3g}). Lower learning_rate or raise beta, then run "
            "again"
        )

    def _describe(
        self, marks: Grades, found: list[Completed], apart: torch.Tensor, entropy: torch.Tensor, answers: Answers
    ) -> None:
        tokens = answers.drawn.sum()
        rewards = torch.tensor(marks.total, dtype=torch.float64)
        self._noted |= {
            REWARD: marks.mean,
            "reward_std": float(rewards.std(correction=0)),
            SAME: float(bool((rewards == rewards[0]).all())),
            "kl": float(apart.sum() / tokens),
            "kl_per_answer": float(apart.sum(dim=-1).mean()),
            "kl_coefficient": self.coefficient.beta,
            "entropy": float((entropy * answers.drawn).sum() / tokens),
            "completions/mean_length": float(tokens / len(found)),
            CLIPPED: sum(one.cut for one in found) / len(found),
            **{f"grader/{name}": sum(scores) / len(scores) for name, scores in marks.each.items()},
        }


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (a PPO) on the prompts of `job.train`, and return the system of the best reward on DEV.

    The value head lies beside the result, as `job.folder / "value_head.safetensors"`; nothing serves it.

    Raises:
        StageFailed: As `harness.training.session.carry_out` does, if there is no reward, if a grader fails, and if
            the policy runs away from what it started as.
    """
    if not job.train:
        raise StageFailed("there is no prompt to answer; give the task samples in Split.TRAIN")
    return carry_out(job, PPO, partial(_prepare, progress=progress), progress=progress)


def _prepare(begun: TrainingContext, *, progress: Progress) -> TrainingSession:
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
        **shared_settings(begun, steps=batches * updates, every=every, goal=GOAL),
        "num_train_epochs": 1,
        "max_steps": batches * updates,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": 1,
        "remove_unused_columns": False,
    }
    trainer = PPOTrainer(policy=made, begun=begun, args=TrainingArguments(**settings))
    course = policy_session(begun, made, trainer, checks)

    def later() -> tuple[Check, ...]:
        trainer.head.save(begun.job.folder)
        return course.later()

    return replace(course, later=later)
