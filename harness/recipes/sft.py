"""Supervised fine-tuning: learn the reference answers, given the prompts as they will be served."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from harness.protocols import Task
from harness.recipes.carriers import Backend, Sharing, check_carrier
from harness.recipes.continual import EWC, Mix, as_mix
from harness.recipes.trained import Trained

_CHANGED = {"key": "changed"}


@dataclass(frozen=True, kw_only=True)
class SFT(Trained):
    """Train on (prompt, reference answer) pairs; the loss counts the answer's tokens and its end token only.

    learn: "assistant" adds the assistant's earlier turns of each conversation to the loss, each with its end token;
    dev loss is of the answers in any case.
    task: whose examples are learned, for a step of `Steps`; None is the experiment's. mix: examples of earlier tasks
    that are learned again, {task: how many for one new one}, drawn by the seed. keep: what holds the weights that
    earlier tasks need.
    backend: another tuner that trains in this one's place, in the environment that `harness tuner install` makes;
    its adapter is brought back and judged as any other. None is this package's own trainer.
    devices: processes that share each batch, one a device. strategy: what they share besides the batch; None is
    "ddp" where there are several. "ddp" shares nothing else; "zero2" (DeepSpeed) shares gradients and optimiser state,
    "zero3" and "fsdp2" the weights as well.
    """

    learn: Literal["answer", "assistant"] = field(default="answer", metadata=_CHANGED)
    backend: Backend | None = field(default=None, metadata=_CHANGED)
    devices: int = field(default=1, metadata=_CHANGED)
    strategy: Sharing | None = field(default=None, metadata=_CHANGED)

    # A plan keys tasks by their data: what they are made of need not have a fingerprint.
    task: Task | None = field(default=None, repr=False, metadata={"key": False})
    mix: Mix = field(default=(), repr=False, metadata={"key": False})
    keep: EWC | None = field(default=None, metadata=_CHANGED)

    trainer: ClassVar[str] = "harness.tuning.sft:fit"
    method: ClassVar[str] = "sft"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mix", as_mix(self.mix))
        if (self.mix or self.keep) and self.backend is not None:
            raise self.refused(f"backend={self.backend!r}, mix or keep", "another tuner knows no earlier task")
        if self.keep is not None and self.devices > 1:
            raise self.refused(f"devices={self.devices}, keep={self.keep.name}", "weights are held on one device only")
        if self.learn not in ("answer", "assistant"):
            raise self.refused(f"learn={self.learn!r}", 'give "answer" or "assistant"')
        check_carrier(self)

    @property
    def sharing(self) -> Sharing:
        """The strategy, with its default filled in."""
        return self.strategy or "ddp"
