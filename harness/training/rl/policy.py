"""TRL's trainers of policies, on prompts as they are served, with our graders and an exact reward on DEV.

The model that training starts from, kept as it was: what a policy's divergence is measured against.

In which order a run meets its prompts.

TRL's trainers of policies, made to work on served prompts, with our completions, probabilities and rewards.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import Trainer

from harness.errors import StageFailed
from harness.inference.models.adapters import attach, is_adapted, switched_off
from harness.inference.models.loading import load_model, load_tokenizer
from harness.recipes import Reinforced
from harness.recipes.adapters import Adapter
from harness.training.adapter_setup import moved_its_base
from harness.training.callbacks import CheckpointGoal
from harness.training.config import Precision, StartingPoint, Unpublished, shared_settings
from harness.training.network import attend_fast
from harness.training.rl.checks import ends_check, flat_now, flat_reward, prompts_check, varies_check
from harness.training.rl.rewards import Grading, grading
from harness.training.rl.rollouts import Drawing, draw_completions, drawing, think, with_room
from harness.training.rows import TokenizedRow, draw_rows, make_rows
from harness.training.session import TrainingContext, TrainingSession
from harness.types.protocols import Progress
from harness.types.samples import Check


class Reference:
    """A new adapter's reference is its base, with the adapter switched off; any other is a second, frozen model."""

    def __init__(self, network: Any, ground: StartingPoint, adapter: Adapter, precision: Precision) -> None:
        self._network = network
        self.shared = is_adapted(network) and ground.adapter is None and not moved_its_base(network)
        if self.shared:
            return
        base = load_model(ground.model, dtype=precision.weights, quantize=adapter.quantization)
        kept = base if ground.adapter is None else attach(base, ground.adapter)
        self._network = kept.requires_grad_(False).eval()

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Give the network that computes as the start of training did."""
        if not self.shared:
            yield self._network
            return
        training = self._network.training
        self._network.eval()
        with switched_off(self._network):
            yield self._network
        self._network.train(training)


GOAL = CheckpointGoal(key="eval_reward", higher=True)
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
    """What a policy learns from.

    Attributes:
        rows: Prompts of TRAIN.
        dev: Prompts of DEV.
        how: How completions are drawn to them.
        generations: Completions to a prompt.
    """

    rows: list[TokenizedRow]
    dev: list[TokenizedRow]
    how: Drawing
    grading: Grading
    progress: Progress
    epochs: float
    generations: int

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


def policy(begun: TrainingContext, progress: Progress, *, generations: int = 1) -> tuple[Policy, tuple[Check, ...]]:
    """Return what the policy of `begun` learns from, and the checks on its prompts.

    Raises:
        StageFailed: If no prompt fits.
    """
    job, recipe = begun.job, begun.recipe
    how = drawing(recipe, job.task, begun.tokenizer, begun.network, begun.precision)
    rows, check = with_room(
        make_rows(begun.tokenizer, draw_rows(job.train, recipe.limit, seed=job.seed)),
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
        generations=generations,
    )
    return made, (check, dev_check)


def rollout_steps(recipe: Reinforced, prompts: int) -> int:
    """Return how many batches of prompts a run answers."""
    return max(1, math.ceil(recipe.epochs * prompts / recipe.batch_size))


def policy_settings(begun: TrainingContext, made: Policy) -> dict[str, Any]:
    """Return the arguments that TRL's configs of policies share. The whole run is one epoch, in our order."""
    recipe = begun.recipe
    steps = rollout_steps(recipe, len(made.rows))
    micro = recipe.micro_batch_size or recipe.batch_size
    return {
        **shared_settings(begun, steps=steps, goal=GOAL),
        "num_train_epochs": 1,
        "max_steps": steps,
        "per_device_train_batch_size": micro * made.generations,
        "per_device_eval_batch_size": micro * made.generations,
        "num_generations": made.generations,
        "max_completion_length": made.how.most,
        "temperature": made.how.temperature,
        "top_p": made.how.top_p,
        "beta": 0.0,  # TRL's reference is made otherwise: see `keep_reference`
        "remove_unused_columns": False,
    }


def policy_session(
    begun: TrainingContext,
    made: Policy,
    trainer: Any,
    checks: tuple[Check, ...],
    *,
    fed: Sequence[Sequence[int]] | None = None,
) -> TrainingSession:
    """Return the course of `trainer`. fed: the tokens it makes of each row's prompt; None is the rows' own."""
    answers = begun.recipe.batch_size * made.generations
    fed = [row.prompt for row in made.rows] if fed is None else fed
    tokenizer = begun.tokenizer
    end = str(tokenizer.convert_ids_to_tokens(made.how.ends[0]))

    def later() -> tuple[Check, ...]:
        made.grading.close()
        history = trainer.state.log_history
        ends = ends_check(history, answers=answers, most=made.how.most, end=end)
        return ends, varies_check(history), *made.grading.checks()

    return TrainingSession(
        trainer=trainer,
        rows=made.rows,
        steps=int(trainer.args.max_steps),
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


def keep_reference(trainer: Any, begun: TrainingContext, beta: float) -> None:
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


def _dev(begun: TrainingContext, how: Drawing) -> tuple[list[TokenizedRow], Check]:
    job = begun.job
    if not job.dev:
        detail = "there are no dev prompts: no early stopping, and the last weights are kept, not the best"
        return [], Check(name="dev prompts that fit", status="warning", detail=detail)
    drawn = draw_rows(job.dev, begun.recipe.evaluate_on, seed=job.seed)
    return with_room(make_rows(begun.tokenizer, drawn), most=how.most, longest=begun.longest, kind="dev")


@dataclass(frozen=True)
class Groups(Sampler[int]):
    """The prompts of a whole run, step by step; each step's prompts stand `generations` times, one after the other.

    A step's prompts come again for each part that a step is computed in: TRL reads them once a part, and answers them
    once. The order is that of one seed, so that a run that resumes finds it again.
    """

    size: int
    prompts: int
    generations: int
    repeats: int
    steps: int
    seed: int

    def __len__(self) -> int:
        return self.steps * self.repeats * self.prompts * self.generations

    def __iter__(self) -> Iterator[int]:
        stream = shuffled(self.size, seed=self.seed)
        for _ in range(self.steps):
            chosen = [next(stream) for _ in range(self.prompts)]
            for _ in range(self.repeats):
                for place in chosen:
                    yield from [place] * self.generations


def shuffled(size: int, *, seed: int) -> Iterator[int]:
    """Yield the places below `size` in a new order each time round, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(size, generator=generator).tolist()


class PolicyTrainer(Unpublished, Trainer):  # type: ignore[misc]
    """Beside a policy trainer of TRL, which it stands before: it works on a Policy.

    Args:
        twofold: Whether its generation returns probabilities beside the tokens.
    """

    twofold: ClassVar[bool]

    def __init__(self, *, policy: Policy, begun: TrainingContext, **arguments: Any) -> None:
        self._policy, self._begun = policy, begun
        super().__init__(
            model=begun.network,
            reward_funcs=[self._rewarded],
            train_dataset=_dataset(policy),
            processing_class=begun.tokenizer,
            **arguments,
        )
        # TRL knows those of the model's files, and would count an answer that the template ends as cut.
        self.eos_token_ids = list(policy.how.ends)

    def _generate_and_score_completions(self, *arguments: Any) -> Any:
        with warnings.catch_warnings():
            # TRL asks for a setting by a name that transformers has deprecated, at every step.
            warnings.simplefilter("ignore", FutureWarning)
            return super()._generate_and_score_completions(*arguments)

    def _rewarded(self, prompts: Any, completion_ids: Any, log_metric: Any, **_: Any) -> list[float]:
        return self._policy.rewards(prompts, completion_ids, log_metric)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return self._policy.tokens(prompts), None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> Any:
        found = [list(ids) for ids in draw_completions(self.model, prompt_ids, self._policy.how)]
        return (found, None) if self.twofold else found

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        if isinstance(model, Reference):
            with model.opened() as network, torch.no_grad():
                return self._get_per_token_logps_and_entropies(
                    network, input_ids, attention_mask, logits_to_keep, batch_size
                )
        size = batch_size or len(input_ids)
        with self._begun.precision.computing():
            parts = [
                think(model, (ids, mask), answer=logits_to_keep, temperature=self.temperature)
                for ids, mask in zip(torch.split(input_ids, size), torch.split(attention_mask, size), strict=True)
            ]
        return torch.cat([part.logprobs for part in parts]), torch.cat([part.entropy for part in parts]), None

    def _get_train_sampler(self, *_: Any, **__: Any) -> Sampler[int]:
        return Groups(
            len(self.train_dataset),
            prompts=self.args.generation_batch_size // self.num_generations,
            generations=self.num_generations,
            repeats=self.args.steps_per_generation,
            steps=self.args.max_steps,
            seed=self.args.seed,
        )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return and log the reward of greedy answers on DEV."""
        return evaluate(self, self._policy)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen
        super().log(logs, start_time)
        count_epochs(self, self._policy)
        if "loss" in logs and flat_now(self.state.log_history):
            self._policy.progress.say(str(flat_reward(self.state.log_history)))


def _dataset(made: Policy) -> Dataset:
    """Return what TRL holds of the prompts: where they stand."""
    return Dataset.from_dict({"prompt": [str(place) for place in range(len(made.rows))]})
