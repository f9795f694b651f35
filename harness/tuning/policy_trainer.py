"""TRL's trainers of policies, made to work on served prompts, with our completions, probabilities and rewards."""

import warnings
from typing import Any, ClassVar

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import Trainer

from harness.tuning.course import Begun
from harness.tuning.groups import Groups
from harness.tuning.policy import Policy, count_epochs, evaluate
from harness.tuning.reference import Reference
from harness.tuning.rewarded import flat_now, flat_reward
from harness.tuning.rollouts import draw_completions, think
from harness.tuning.trl_trainers import Unpublished


class PolicyTrainer(Unpublished, Trainer):  # type: ignore[misc]
    """Beside a policy trainer of TRL, which it stands before: it works on a Policy.

    twofold: whether its generation returns probabilities beside the tokens.
    """

    twofold: ClassVar[bool]

    def __init__(self, *, policy: Policy, begun: Begun, **arguments: Any) -> None:
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
                think(model, ids, mask, answer=logits_to_keep, temperature=self.temperature)
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
