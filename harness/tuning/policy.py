"""TRL's trainers of policies, on prompts as they are served, with our graders and an exact reward on DEV."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import Trainer

from harness.errors import StageFailed
from harness.protocols import Progress
from harness.recipes import Reinforced
from harness.samples import Check
from harness.tuning.course import Begun, Course
from harness.tuning.grading import Grading, grading
from harness.tuning.history import Goal
from harness.tuning.network import attend_fast
from harness.tuning.reference import Reference
from harness.tuning.rewarded import ends_check, prompts_check, varies_check
from harness.tuning.rollouts import Drawing, draw_completions, drawing, with_room
from harness.tuning.rows import Row, draw, make_rows
from harness.tuning.settings import shared_settings
from harness.weights.loading import load_tokenizer

GOAL = Goal(key="eval_reward", higher=True)
_LOGGED = {
    "reward": "reward",
    "reward_std": "reward_deviation",
    "frac_reward_zero_std": "groups_of_one_reward",
    "kl": "kl",
    "kl_per_answer": "kl_per_answer",
    "kl_coefficient": "kl_coefficient",
    "clip_fraction": "clip_fraction",
    "value_loss": "value_loss",
    "explained_variance": "explained_variance",
    "entropy": "entropy",
    "completions/mean_length": "completion_tokens",
    "completions/clipped_ratio": "completions_clipped",
    "eval_reward": "dev_reward",
}


@dataclass(frozen=True)
class Policy:
    """What a policy learns from. rows, dev: prompts of TRAIN and DEV. how: completions are drawn to them."""

    rows: list[Row]
    dev: list[Row]
    how: Drawing
    grading: Grading
    progress: Progress
    epochs: float

    def tokens(self, places: Sequence[str]) -> list[list[int]]:
        """Return the prompts' tokens. places: of rows, as text, which is what TRL holds for a prompt."""
        return [list(self.rows[int(place)].prompt) for place in places]

    def rewards(self, prompts: Sequence[str], completion_ids: Sequence[Sequence[int]], log_metric: Any) -> list[float]:
        """Return the rewards of completions; each grader's mean is logged."""
        examples = [self.rows[int(place)].example for place in prompts]
        marks = self.grading.grade(examples, [self.how.read(ids) for ids in completion_ids])
        for name, scores in marks.each.items():
            log_metric(f"grader/{name}", sum(scores) / len(scores))
        return list(marks.total)

    def dev_rewards(self, network: Any) -> dict[str, float]:
        """Return the mean reward, and each grader's mean, of greedy answers to the dev prompts."""
        found = draw_completions(network, [row.prompt for row in self.dev], self.how, greedy=True)
        marks = self.grading.grade([row.example for row in self.dev], [self.how.read(ids) for ids in found])
        each = {f"eval_grader/{name}": sum(scores) / len(scores) for name, scores in marks.each.items()}
        return {"eval_reward": marks.mean, **each}

    def logged(self) -> dict[str, str]:
        """Return what the trainer logs, its key -> the name in the training log."""
        graders = {f"grader/{name}": f"reward {name}" for name in self.grading.names}
        on_dev = {f"eval_grader/{name}": f"dev reward {name}" for name in self.grading.names}
        return {**_LOGGED, **graders, **on_dev}


def policy(begun: Begun, progress: Progress) -> tuple[Policy, tuple[Check, ...]]:
    """Return what the policy of `begun` learns from, and the checks on its prompts.

    Raises StageFailed where no prompt fits.
    """
    job, recipe = begun.job, begun.recipe
    how = drawing(recipe, job.task, begun.tokenizer, begun.network, begun.precision)
    rows, check = with_room(
        make_rows(begun.tokenizer, draw(job.train, recipe.limit, seed=job.seed)),
        most=how.most,
        longest=begun.longest,
        kind="train",
    )
    if not rows:
        raise StageFailed(f"there is no prompt to answer: {check.detail}")
    dev, dev_check = _dev(begun, how)
    attend_fast(begun.network, begun.precision, longest=max(len(row.prompt) for row in rows) + how.most)
    made = Policy(
        rows=rows,
        dev=dev,
        how=how,
        grading=grading(job, progress=progress),
        progress=progress,
        epochs=recipe.epochs,
    )
    return made, (check, dev_check)


def rollout_steps(recipe: Reinforced, prompts: int) -> int:
    """Return how many batches of prompts a run answers."""
    return max(1, math.ceil(recipe.epochs * prompts / recipe.batch_size))


def policy_settings(begun: Begun, made: Policy, *, generations: int) -> dict[str, Any]:
    """Return the arguments that TRL's configs of policies share. The whole run is one epoch, in our order."""
    recipe = begun.recipe
    steps = rollout_steps(recipe, len(made.rows))
    micro = recipe.micro_batch_size or recipe.batch_size
    return {
        **shared_settings(
            recipe,
            folder=begun.checkpoints,
            seed=begun.job.seed,
            steps=steps,
            every=recipe.evaluate_every or math.ceil(steps / 10),
            precision=begun.precision,
            goal=GOAL,
        ),
        "num_train_epochs": 1,
        "max_steps": steps,
        "per_device_train_batch_size": micro * generations,
        "per_device_eval_batch_size": micro * generations,
        "num_generations": generations,
        "max_completion_length": made.how.most,
        "temperature": made.how.temperature,
        "top_p": made.how.top_p,
        "beta": 0.0,  # TRL's reference is made otherwise: see `keep_reference`
        "remove_unused_columns": False,
    }


def policy_course(
    begun: Begun,
    made: Policy,
    trainer: Any,
    checks: tuple[Check, ...],
    *,
    answers: int,
    steps: int,
    fed: Sequence[Sequence[int]],
) -> Course:
    """Return the course of `trainer`. answers: completions a batch. fed: the tokens it makes of each row's prompt."""
    tokenizer = begun.tokenizer
    end = str(tokenizer.convert_ids_to_tokens(made.how.ends[0]))

    def later() -> tuple[Check, ...]:
        made.grading.close()
        history = trainer.state.log_history
        ends = ends_check(history, answers=answers, most=made.how.most, end=end)
        return ends, varies_check(history), *made.grading.checks()

    return Course(
        trainer=trainer,
        rows=made.rows,
        steps=steps,
        evaluates=bool(made.dev),
        checks=(*checks, prompts_check(fed, made.rows, load_tokenizer(begun.ground.model))),
        goal=GOAL,
        likelihood=False,
        logged=made.logged(),
        environment=lambda: {
            "train_rows": len(made.rows),
            "dev_rows": len(made.dev),
            "completions_a_batch": answers,
            "completion_tokens": made.how.most,
        },
        later=later,
    )


def keep_reference(trainer: Any, begun: Begun, beta: float) -> None:
    """Let `trainer` measure the divergence from what training starts from.

    TRL would put a second adapter beside the trained one, which not every method allows and which would be saved with
    it, or load a model anew from the path that its config names, which is not where an earlier step left it.
    """
    if "ref" in getattr(begun.network, "peft_config", {}):
        begun.network.delete_adapter("ref")
        begun.network.set_adapter("default")
    trainer.beta = beta
    if beta:
        trainer.ref_model = Reference(begun.network, begun.ground, begun.recipe.adapter, begun.precision)


def evaluate(trainer: Any, policy: Policy) -> dict[str, float]:
    """Return and log the reward of greedy answers on DEV, and tell those who watch."""
    metrics = policy.dev_rewards(trainer.model)
    Trainer.log(trainer, metrics)
    count_epochs(trainer, policy)
    trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, metrics)
    return metrics


def count_epochs(trainer: Any, policy: Policy) -> None:
    """Write passes over the prompts into the newest entry of the log: the whole run is one epoch to the trainer."""
    trainer.state.log_history[-1]["epoch"] *= policy.epochs


def _dev(begun: Begun, how: Drawing) -> tuple[list[Row], Check]:
    job = begun.job
    if not job.dev:
        detail = "there are no dev prompts: no early stopping, and the last weights are kept, not the best"
        return [], Check(name="dev prompts that fit", status="warning", detail=detail)
    drawn = draw(job.dev, begun.recipe.evaluate_on, seed=job.seed)
    return with_room(make_rows(begun.tokenizer, drawn), most=how.most, longest=begun.longest, kind="dev")
