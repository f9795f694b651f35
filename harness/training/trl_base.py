"""What TRL's trainers are made to do here: publish nothing, take rows as they are, compute in the run's formats.

`PRIVATE` lists every private member of transformers, TRL and PEFT that the harness calls, replaces or sets: what to
look at when one of them has a new version.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from harness.training.config import Precision, Unpublished

_OF_A_POLICY = {
    "_generate_and_score_completions": ("inputs",),
    "_tokenize_prompts": ("prompts",),
    "_generate_single_turn": ("prompt_ids", "images", "multimodal_fields"),
    "_get_per_token_logps_and_entropies": ("model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"),
    "_get_train_sampler": ("dataset",),
}
_OF_PAIRS = {
    "_prepare_dataset": ("dataset", "processing_class", "args", "dataset_name"),
    "_precompute_ref_logps": ("dataset", "name", "batch_size"),
}
# "package:Class" -> member -> its first parameters, None for what is no function.
PRIVATE: Mapping[str, Mapping[str, tuple[str, ...] | None]] = MappingProxyType(
    {
        "transformers:Trainer": {
            "_get_train_sampler": ("train_dataset",),
            "_prepare_inputs": ("inputs",),
            "_save_checkpoint": ("model", "trial"),
            "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
            "_save": ("output_dir", "state_dict"),
            "_save_optimizer_and_scheduler": ("output_dir",),
            "_load_optimizer_and_scheduler": ("checkpoint",),
            "_track_num_input_tokens": ("inputs",),
            "_clip_grad_norm": ("model",),
        },
        "trl:SFTTrainer": {"_send_telemetry": ()},
        "trl:DPOTrainer": _OF_PAIRS,
        "trl:KTOTrainer": _OF_PAIRS,
        "trl:RewardTrainer": {"_prepare_dataset": _OF_PAIRS["_prepare_dataset"]},
        "trl:GRPOTrainer": _OF_A_POLICY,
        "trl:RLOOTrainer": _OF_A_POLICY,
        "transformers:PreTrainedModel": {
            "_keys_to_ignore_on_save": None,
            "_supports_attention_backend": None,
            "_no_split_modules": None,
        },
        "transformers:PreTrainedConfig": {"_attn_implementation": None, "_name_or_path": None},
        "peft.tuners.adalora:RankAllocator": {"_set_budget_scheduler": ("model",)},
    }
)


class Formatted(Unpublished):
    """Beside a trainer: its loss is computed in the run's number formats."""

    def __init__(self, *, precision: Precision, **arguments: Any) -> None:
        self._precision = precision
        super().__init__(**arguments)

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        """Return TRL's loss."""
        with self._precision.computing():
            return super().compute_loss(*arguments, **named)  # type: ignore[misc]


class ReferencedRows(Formatted):
    """Beside a trainer that has a reference: rows are token ids, and hold the reference's log-probabilities."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset
