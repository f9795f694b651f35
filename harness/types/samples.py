"""What flows between the floors: samples, messages, answers, likelihoods, scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from harness.errors import InvalidExperiment
from harness.types.codec import SPARSE

# In the detail of a score that is a time: the batch it is a share of, None where it was taken by itself.
TIMED_IN_BATCH = "timed_in_batch"

Role = Literal["system", "user", "assistant", "tool"]
# How an answer ended: at its end token, at the token limit, by a content filter, by declining, as a tool call, or
# with nothing said.
Ended = Literal["stop", "length", "filter", "refusal", "tool", "empty"]


class Split(str, Enum):
    """Baselines and recipes are chosen on DEV; the verdict is made on HOLDOUT."""

    TRAIN = "train"
    DEV = "dev"
    HOLDOUT = "holdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool that the assistant calls.

    Attributes:
        name: Of the function.
        arguments: The JSON text of an object.
        id: What the tool's turn refers to.
    """

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks. What a tool says is the result of a call.
        content: The words; may be empty beside `calls`.
        verbatim: The prompt is plain text and this a piece of it, spaces and line ends included: no chat template is
            used.
        calls: The tools that the assistant calls in this turn.
        tools: The JSON text of the list of tools on offer, in the form that chat templates and servers take. The last
            turn of a prompt that has one counts.
        name: Of the tool that speaks, if known.
        call_id: Of the call that the tool answers.
        learned: False for a turn that no recipe learns.
    """

    role: Role
    content: str
    # No part of a strategy's key: the key of the samples' own prompts holds it, and older stores keep theirs.
    verbatim: bool = field(default=False, metadata={"key": False})
    calls: tuple[ToolCall, ...] = field(default=(), metadata={"key": "changed"})
    tools: str = field(default="", metadata={"key": "changed"})
    name: str = field(default="", metadata={"key": "changed"})
    call_id: str = field(default="", metadata={"key": "changed"})
    learned: bool = field(default=True, metadata={"key": "changed"})

    @property
    def text(self) -> str:
        """The words, and below them the calls as JSON: one object, or a list of several."""
        return "\n".join(part for part in (self.content, calls_text(self.calls)) if part)


Messages = tuple[Message, ...]


def calls_text(calls: Sequence[ToolCall]) -> str:
    """Return calls as the JSON text of {"name", "arguments"}, a list of them if there are several; "" for none."""
    found = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in calls]
    return json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False) if found else ""


def tools_on_offer(prompt: Messages) -> str:
    """Return the tools of the prompt's last turn that has any, as JSON text; "" for none."""
    return next((message.tools for message in reversed(prompt) if message.tools), "")


def plain_message(message: Message) -> list[object]:
    """Return role, content and, if there are any, the parts that concern tools and learning, as JSON values."""
    more = [
        ["calls", [[call.name, call.arguments, call.id] for call in message.calls]] if message.calls else None,
        *([name, getattr(message, name)] if getattr(message, name) else None for name in ("tools", "name", "call_id")),
        None if message.learned else ["learned", False],
    ]
    return [message.role, message.content, *(part for part in more if part is not None)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question with its reference answer.

    input: the text that leakage checks and retrieval look at.
    reference: the gold answer, written as the model should write it.
    rejected: a worse answer, where the data gave one; recipes that learn from preferences take it.
    messages: the conversation up to the answer, where the data gave one; empty where the task builds it.
    group: template, document or user; samples of one group never cross splits and are one cluster in intervals.
    expected: `task.read(reference)`; the runner fills it in.
    cluster: what is one piece of evidence with it, the group or the samples that ask the same; the runner fills it in.
    """

    id: str
    input: str
    reference: str
    messages: Messages = ()
    group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    expected: object = None
    rejected: str | None = None
    # No part of any key: it follows from the samples' groups and prompts, which are.
    cluster: str | None = field(default=None, metadata={"key": False})


@dataclass(frozen=True, slots=True)
class Passage:
    """One text that retrieval may bring; `sample_id` names the sample it was made from, if any."""

    id: str
    text: str
    sample_id: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-likelihood of a reference answer given its prompt.

    logprob: sum over the answer's tokens, in nats. tokens: how many were scored (end-of-turn token not counted).
    bytes: UTF-8 bytes of the answer. greedy: every scored token was the model's first choice.
    """

    logprob: float
    tokens: int
    bytes: int
    greedy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a system said to one sample.

    prompt: the text as really rendered. value: `task.read(text)`, None where it could not be read.
    reasoning: what the model thought aloud before it; `text` holds nothing of it.
    likelihood: of the reference; present only where a metric asked for it.
    likelihoods: of each choice, in their order, where the answer was chosen by likelihood.
    seconds: with those that looking something up for the prompt took, lookup_seconds. retrieved: texts that were found
    for it, None where nothing is looked up. timed_in_batch: the batch whose time was dealt out evenly, None where the
    answer was timed by itself.
    """

    sample_id: str
    text: str
    value: object = None
    prompt: str = ""
    repeat: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    ended: Ended = "stop"
    reasoning: str = ""
    likelihood: Likelihood | None = None
    likelihoods: tuple[Likelihood, ...] = ()
    timed_in_batch: int | None = None
    lookup_seconds: float = 0.0
    retrieved: int | None = None

    @property
    def cut(self) -> bool:
        """Whether it ended at the token limit."""
        return self.ended == "length"


@dataclass(frozen=True, slots=True)
class Score:
    """One metric's score of one answer.

    detail: JSON-able evidence (rules hit, labels compared).
    error: why there is no score, in words; `value` is then NaN, and the sample is left out of the comparison.
    """

    value: float
    detail: object = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How answers are generated; temperature 0 is greedy.

    schema: JSON Schema, as text, that a server holds the answer to if it can; others answer as they like.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    schema: str | None = field(default=None, metadata={"key": "changed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Answers drawn instead of greedy: each sample is asked `repeats` times and counts once, by its mean score."""

    temperature: float
    top_p: float = 1.0
    repeats: int = 1

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InvalidExperiment(
                f"Sampling(temperature={self.temperature}): give more than 0; greedy is the default"
            )
        if not 0 < self.top_p <= 1:
            raise InvalidExperiment(f"Sampling(top_p={self.top_p}): give a share above 0, at most 1")
        if isinstance(self.repeats, bool) or not isinstance(self.repeats, int) or self.repeats < 1:
            raise InvalidExperiment(f"Sampling(repeats={self.repeats!r}): give a whole number of 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an engine returns for one prompt.

    seconds: this row's share of its batch's wall time. timed_in_batch: which batch that was, None where the row was
    timed by itself.
    ended: "length" where generation ended at `max_tokens`; "stop" is an end token or stop string, and becomes "empty"
    where nothing was said.
    reasoning: what the model thought aloud before `text`, which holds nothing of it.
    likelihoods: of each choice, where the text was chosen by them.
    """

    text: str
    prompt: str
    tokens_in: int
    tokens_out: int
    seconds: float
    ended: Ended = "stop"
    reasoning: str = ""
    likelihoods: tuple[Likelihood, ...] = ()
    timed_in_batch: int | None = None

    def __post_init__(self) -> None:
        if self.ended == "stop" and not self.text.strip() and not self.likelihoods:
            object.__setattr__(self, "ended", "empty")

    @property
    def cut(self) -> bool:
        """Whether it ended at the token limit."""
        return self.ended == "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One training example: the prompt exactly as it will be served, and the answer to learn.

    sample: where it came from, for graders and metrics.
    """

    id: str
    prompt: Messages
    answer: str
    sample: Sample | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one prompt, of which the first is preferred."""

    id: str
    prompt: Messages
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One answer to one prompt, found good or bad."""

    id: str
    prompt: Messages
    answer: str
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One protocol check and its outcome.

    status: "ok", "warning" (shown) or "invalid" (the evidence cannot be trusted).
    detail: one sentence with names and numbers. items: the offending pairs or ids, JSON-able.
    kind: what it looks at: the data, the protocol of the run, or whether it is time to tune at all.
    excused: the verdict leaves the holdout samples out that it names.
    """

    name: str
    status: Literal["ok", "warning", "invalid"]
    detail: str
    items: tuple[object, ...] = ()
    kind: Literal["data", "protocol", "readiness"] = "protocol"
    excused: bool = field(default=False, metadata=SPARSE)
