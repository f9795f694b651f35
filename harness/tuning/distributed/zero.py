"""DeepSpeed's ZeRO: optimiser state and gradients (stage 2), or the weights too (stage 3), split among processes."""

import os
from typing import Any, Literal

from harness.errors import MissingPackage


def start_deepspeed(*, on_cpu: bool) -> None:
    """Connect the processes before the trainer is made.

    Without that DeepSpeed counts one process where there are several, and its batch arithmetic fails for stage 3.

    Raises MissingPackage where DeepSpeed is not installed.
    """
    if on_cpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    try:
        import deepspeed
    except ModuleNotFoundError as error:
        raise missing() from error
    deepspeed.init_distributed("gloo" if on_cpu else "nccl", verbose=False)


def missing() -> MissingPackage:
    return MissingPackage('strategy="zero2" and "zero3" need DeepSpeed; bring it with: pip install deepspeed==0.19.8')


def deepspeed_settings(stage: Literal[2, 3]) -> dict[str, Any]:
    """Return DeepSpeed's settings; what is "auto" is the trainer's own.

    The weights are gathered when a checkpoint is saved, so that it is one that a single process reads.
    """
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": False},  # autocast is opened where the method computes
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": False,
            "stage3_gather_16bit_weights_on_model_save": True,
            "stage3_param_persistence_threshold": 0,
        },
    }
