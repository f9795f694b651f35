"""What flows between the floors: samples, messages, answers, likelihoods, scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from harness.errors import InvalidExperiment
from harness.types.codec import SPARSE

# In the detail of a score that is a time: the batch it is a share of, None if it was taken by itself.
TIMED_IN_BATCH = "timed_in_batch"

Role = Literal["system", "user", "assistant", "tool"]
# How an answer ended: at its end token, at the token limit, by a content filter, by declining, as a tool call, or
# with nothing said.
Ended = Literal["stop", "length", "filter", "refusal", "tool", "empty"]


class Split(str, Enum):
    """The three parts of a task's samples.

    Attributes:
        TRAIN: Recipes learn it; examples and passages come from it.
        DEV: Baselines and recipes are chosen on it.
        HOLDOUT: The verdict is made on it.

    Examples:
        >>> [split.value for split in Split]
        ['train', 'dev', 'holdout']
    """

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

    Args:
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

    Examples:
        >>> Message("user", "What is the capital of France?").role
        'user'
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

    Args:
        id: Unlike any other of the task.
        input: The text that leakage checks and retrieval look at.
        reference: The right answer, written as the model should write it.
        messages: The conversation up to the answer, if the data gave one; empty if the task builds it.
        group: Template, document or user: samples of one group never cross splits and are one cluster in intervals.
            None stands alone.
        tags: Name -> value, for tables by tag.
        expected: `task.read(reference)`; the runner fills it in.
        rejected: A worse answer, if the data gave one; recipes that learn from preferences take it.
        cluster: What is one piece of evidence with it, the group or the samples that ask the same; the runner fills it
            in.

    Examples:
        >>> Sample(id="1", input="Turn on the lamp", reference='{"intent": "on"}', tags={"room": "kitchen"}).tags
        {'room': 'kitchen'}
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
    """One text that retrieval may bring.

    Args:
        id: Unlike any other of the corpus.
        text: What is put into the prompt.
        sample_id: The sample that it was made from, if any; `RAG` never shows a sample its own.
        group: The group of that sample, if any.

    Examples:
        >>> Passage("faq#1", "Refunds take five days.").sample_id is None
        True
    """

    id: str
    text: str
    sample_id: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-likelihood of a reference answer given its prompt.

    Attributes:
        logprob: Sum over the answer's tokens, in nats.
        tokens: How many were scored (end-of-turn token not counted).
        bytes: UTF-8 bytes of the answer.
        greedy: Every scored token was the model's first choice.
    """

    logprob: float
    tokens: int
    bytes: int
    greedy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a system said to one sample.

    Attributes:
        sample_id: Which sample.
        text: The answer, without what was thought aloud before it.
        value: `task.read(text)`, None if it could not be read.
        prompt: The text as really rendered.
        repeat: Which of several drawn answers, from 0.
        tokens_in: Tokens of the prompt.
        tokens_out: Tokens of the answer.
        seconds: Time that it took, `lookup_seconds` included.
        ended: At its end ("stop"), at the token limit ("length"), by a content filter ("filter"), by declining
            ("refusal"), as a tool call ("tool"), or with nothing said ("empty").
        reasoning: What the model thought aloud before it.
        likelihood: Of the reference; present only if a metric asked for it.
        likelihoods: Of each choice, in their order, if the answer was chosen by likelihood.
        timed_in_batch: The batch whose time was dealt out evenly, None if the answer was timed by itself.
        lookup_seconds: Time that looking something up for the prompt took.
        retrieved: Texts that were found for it, None if nothing is looked up.

    Examples:
        >>> sample = Sample(id="1", input="The capital of France?", reference="Paris", expected="Paris")
        >>> ExactMatch().score(sample, Answer(sample_id="1", text="Paris", value="Paris"))
        1.0
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

    Args:
        value: The score; NaN if there is none.
        detail: JSON-able evidence (rules hit, labels compared).
        error: Why there is no score, in words; the sample is then left out of the comparison.

    Examples:
        >>> Score(0.5, detail={"wrong": ["slots.area"]}).value
        0.5
    """

    value: float
    detail: object = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How answers are generated; temperature 0 is greedy.

    Args:
        max_tokens: Most tokens of an answer.
        temperature: 0 or more.
        top_p: The share of probability that is drawn from, above 0 to 1.
        stop: Strings that end an answer.
        seed: Of the draw.
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
    """Answers drawn instead of greedy: each sample is asked `repeats` times and counts once, by its mean score.

    Args:
        temperature: Above 0.
        top_p: The share of probability that is drawn from, above 0 to 1.
        repeats: Answers of each sample, 1 or more.

    Raises:
        InvalidExperiment: If a number is out of its range.

    Examples:
        >>> Sampling(temperature=0.7, repeats=5).repeats
        5
    """

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

    Attributes:
        text: The answer.
        prompt: The text as really rendered.
        tokens_in: Tokens of the prompt.
        tokens_out: Tokens of the answer.
        seconds: This row's share of its batch's wall time.
        ended: "length" if generation ended at `max_tokens`; "stop" is an end token or stop string, and becomes "empty"
            if nothing was said.
        reasoning: What the model thought aloud before `text`, which holds nothing of it.
        likelihoods: Of each choice, if the text was chosen by them.
        timed_in_batch: Which batch `seconds` is a share of, None if the row was timed by itself.
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

    Attributes:
        id: Of the sample.
        prompt: The conversation before the answer.
        answer: What is learned.
        sample: Where it came from, for graders and metrics.
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

    Attributes:
        name: What was looked at.
        status: "ok", "warning" (shown) or "invalid" (the evidence cannot be trusted).
        detail: One sentence with names and numbers.
        items: The offending pairs or ids, JSON-able.
        kind: What it looks at: the data, the protocol of the run, or whether it is time to tune at all.
        excused: The verdict leaves the holdout samples out that it names.
    """

    name: str
    status: Literal["ok", "warning", "invalid"]
    detail: str
    items: tuple[object, ...] = ()
    kind: Literal["data", "protocol", "readiness"] = "protocol"
    excused: bool = field(default=False, metadata=SPARSE)
