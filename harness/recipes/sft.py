"""Supervised fine-tuning: learn the reference answers, given the prompts as they will be served.

Who carries a recipe out: this package's trainer, another tuner, or several processes of ours.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from harness.recipes.base import Trained
from harness.recipes.continual import EWC, Mix, as_mix
from harness.types.protocols import Task

Backend = Literal["llamafactory", "axolotl", "unsloth"]
Sharing = Literal["ddp", "zero2", "zero3", "fsdp2"]


def check_carrier(recipe: "SFT") -> None:
    """Raise InvalidExperiment if the backend, or sharing among devices, cannot carry the recipe out."""
    recipe.check_counts(("devices",))
    if recipe.backend is not None and recipe.backend not in get_args(Backend):
        raise recipe.refused(
            f"backend={recipe.backend!r}", f"give one of {_listed(get_args(Backend))}, or leave it out"
        )
    if recipe.strategy is not None and recipe.strategy not in get_args(Sharing):
        raise recipe.refused(f"strategy={recipe.strategy!r}", f"give one of {_listed(get_args(Sharing))}")
    if recipe.strategy is not None and recipe.devices == 1:
        raise recipe.refused(f"strategy={recipe.strategy!r}", "shares among several devices; give devices=2 or more")
    if recipe.backend is not None:
        _check_backend(recipe, f"backend={recipe.backend!r}")
    elif recipe.devices > 1:
        _check_devices(recipe, f"devices={recipe.devices}")


def _check_backend(recipe: "SFT", said: str) -> None:
    adapter = recipe.adapter.for_tuners
    if adapter is None:
        raise recipe.refused(
            f"adapter={recipe.adapter.name}, {said}", "it trains LoRA, QLoRA or Full; leave backend out for others"
        )
    if not adapter.starts_at_zero:
        raise recipe.refused(
            f"adapter={recipe.adapter.name}, {said}", "its update starts at zero; leave init out, or leave backend out"
        )
    if recipe.devices > 1:
        raise recipe.refused(f"{said}, devices={recipe.devices}", "devices are shared by our own trainer; give one")


def _check_devices(recipe: "SFT", said: str) -> None:
    micro = recipe.micro_batch_size or recipe.batch_size
    if micro < recipe.devices:
        name = "batch_size" if recipe.micro_batch_size is None else "micro_batch_size"
        raise recipe.refused(
            f"{name}={micro}, {said}", f"a device would have no row of it; give {name}={recipe.devices} or more"
        )
    if recipe.sharing in ("zero3", "fsdp2") and not recipe.adapter.splits:
        raise recipe.refused(
            f"adapter={recipe.adapter.name}, strategy={recipe.sharing!r}",
            'only LoRA and Full have weights that can be split; give strategy="ddp"',
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_CHANGED = {"key": "changed"}


@dataclass(frozen=True, kw_only=True)
class SFT(Trained):
    """Train on (prompt, reference answer) pairs; the loss counts the answer's tokens and its end token only.

    The weights of the best dev loss are kept, or of the best score of `watch`. The fields down to `label` are those of
    every recipe.

    Args:
        adapter: Which weights are trained.
        epochs: Passes over the examples, above 0; a fraction is allowed.
        learning_rate: None is the adapter's own (LoRA 3e-4, full 2e-5) times the method's `rate_factor`; 0 is a control
            that must end as INVALID; "find" is what a range test on a copy suggests.
        batch_size: Examples of a step.
        micro_batch_size: How many of them are in memory at once, a divisor of `batch_size`; None is all.
        max_length: Tokens of prompt and answer; None is the model's context. A longer row is left out and counted,
            never cut: a cut answer would teach the model not to stop.
        warmup: Fraction of the steps in which the learning rate rises.
        schedule: How it falls afterwards: "cosine", "linear" or "constant".
        weight_decay: How strongly weights are drawn to 0, 0 or more.
        max_grad_norm: Longer gradients are cut to this length.
        patience: Evaluations without a better dev loss after which training ends; None trains to the end.
        evaluate_every: Steps between evaluations (and checkpoints); None is about ten in a run.
        evaluate_on: Dev examples in an evaluation, drawn once by the seed; None is all.
        watch: A metric of single answers. At each evaluation the dev examples are answered and scored, and the score,
            not the loss, chooses the checkpoint and exhausts patience.
        search: Fields of the recipe or its adapter -> what to try. A list is a choice: {"rank": [4, 8]} tries 4 and 8.
            A tuple of two numbers is a range: {"rank": (4, 8)} tries what lies between too, on a log scale if it spans
            ten times or more. The worse half of the trials is stopped early, and the best on DEV is kept.
        trials: How many recipes `search` trains, 2 or more; None is 8.
        limit: Train examples, drawn by the seed; None is all.
        prompt: How the tuned model is prompted, in training and in serving; None is the plain zero-shot prompt.
        label: The system's name on pages and in tables, in place of the one made from the fields.
        learn: "assistant" adds the assistant's earlier turns of each conversation to the loss, each with its end token;
            dev loss is of the answers in any case.
        backend: Another tuner that trains in this one's place, in the environment that `harness tuner install` makes;
            its adapter is brought back and judged as any other. None is this package's own trainer.
        devices: Processes that share each batch, one on each device.
        strategy: What they share besides the batch; None is "ddp" if there are several. "ddp" shares nothing else;
            "zero2" (DeepSpeed) shares gradients and optimiser state, "zero3" and "fsdp2" the weights as well.
        task: Whose examples are learned, for a step of `Steps`; None is the experiment's.
        mix: Examples of earlier tasks that are learned again, {task: how many for one new one}, drawn by the seed.
        keep: What holds the weights that earlier tasks need.

    Raises:
        InvalidExperiment: If a field is out of its range, or two contradict each other.

    Examples:
        >>> SFT(adapter=LoRA(rank=8), epochs=2).name
        'sft lora-r8 epochs=2'
        >>> SFT(search={"learning_rate": (1e-5, 1e-3), "rank": [4, 8]}).trials
        8
    """

    learn: Literal["answer", "assistant"] = field(default="answer", metadata=_CHANGED)
    backend: Backend | None = field(default=None, metadata=_CHANGED)
    devices: int = field(default=1, metadata=_CHANGED)
    strategy: Sharing | None = field(default=None, metadata=_CHANGED)

    # A plan keys tasks by their data: what they are made of need not have a fingerprint.
    task: Task | None = field(default=None, repr=False, metadata={"key": False})
    mix: Mix = field(default=(), repr=False, metadata={"key": False})
    keep: EWC | None = field(default=None, metadata=_CHANGED)

    trainer: ClassVar[str] = "harness.training.sft:fit"
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
