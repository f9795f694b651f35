"""The plain prompt: what the task asks, and nothing else."""

from dataclasses import dataclass, field

from harness.prompting.messages import Several, check_text, single, system_name, with_instruction
from harness.types.models import AnyModel, as_model
from harness.types.protocols import Prompter, Task
from harness.types.samples import Messages, Sample


@dataclass(frozen=True)
class ZeroShot:
    """Ask as the task asks.

    Args:
        instruction: Replaces the task's system message, or adds one. Several are tried on DEV, each a baseline of its
            own; None is the task's own.
        model: Answers in place of the experiment's model; a string means `Model(string)`.
        label: The system's name on pages and in tables, if two would otherwise be called the same.

    Raises:
        InvalidExperiment: If an instruction is blank, or given twice.

    Examples:
        >>> ZeroShot(instruction="Answer with one word.").name
        'zero-shot'
        >>> ZeroShot(model=Endpoint("https://api.example.com/v1", "large")).name
        'zero-shot @ large'
    """

    instruction: Several[str | None] = None
    model: str | AnyModel | None = field(default=None, metadata={"key": False})
    label: str | None = field(default=None, metadata={"key": False}, kw_only=True)

    def __post_init__(self) -> None:
        check_text("ZeroShot", "instruction", self.instruction)
        if self.model is not None:
            object.__setattr__(self, "model", as_model(self.model))

    @property
    def name(self) -> str:
        return system_name("zero-shot", label=self.label, model=self.model)

    def messages(self, task: Task, sample: Sample) -> Messages:
        """Return the task's conversation under this strategy's instruction."""
        return with_instruction(task.prompt(sample), single("ZeroShot", "instruction", self.instruction))

    def bind(self, task: Task) -> Prompter:
        """Return the prompter of `task`; there is nothing to prepare."""
        return lambda sample: self.messages(task, sample)

    def reads(self, task: Task) -> object:
        """Return, for a cache key, what the prompts are made from besides the samples' own prompts."""
        return self
