"""Any OpenAI-compatible server: answers over /chat/completions, likelihoods over /completions if they are right."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import StageFailed
from harness.inference.openai.client import Client, HttpRequest, Refused, Reply
from harness.inference.openai.echo_check import Echoes
from harness.inference.openai.parameters import Change, change_asked
from harness.inference.openai.replies import ParsedReply, chat_reply, filtered
from harness.types.models import Endpoint, Model
from harness.types.protocols import Batch, LikelihoodBatch, Progress
from harness.types.samples import Completion, Decoding, Likelihood, Message, Messages, tools_on_offer

# English text has some four characters a token; only the pace of requests is guessed with it, and put right after.
_CHARACTERS_PER_TOKEN = 4
# The parameter that holds a reply to a form, and the statuses with which servers refuse one that they do not take.
_FORM = "response_format"
_NOT_TAKEN = frozenset({400, 422, 501})


def open_engine(endpoint: Endpoint, *, progress: Progress) -> "EndpointEngine":
    """Return what asks `endpoint`. Nothing is sent before the first prompt."""
    return EndpointEngine(endpoint, progress=progress)


class EndpointEngine:
    """One server; see `harness.types.protocols.Engine`. first_wait_seconds: as in `client.Client`."""

    def __init__(self, endpoint: Endpoint, *, progress: Progress, first_wait_seconds: float = 1.0) -> None:
        self._endpoint = endpoint
        self._progress = progress
        self._client = Client(endpoint, first_wait_seconds=first_wait_seconds)
        self._counted_by_words = False
        self._tokens_scored = 0
        self._lock = threading.Lock()
        self._left_out: Counter[str] = Counter()
        # Parameters that the server refused: name -> the one it asked for instead, None where it is left out.
        self._changes: dict[str, str | None] = {}

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        shown: dict[str, str | int | float | bool | None] = {
            "engine": "endpoint",
            "url": self._client.shown,
            "model": self._endpoint.model,
            "concurrency": self._endpoint.concurrency,
            "token_counts": "words, the server gave no usage" if self._counted_by_words else "server",
        }
        if self._endpoint.parameters:
            shown["parameters"] = json.dumps(dict(self._endpoint.parameters), ensure_ascii=False, sort_keys=True)
        if self._endpoint.omit:
            shown["omitted"] = ", ".join(self._endpoint.omit)
        if self._changes:
            shown["refused_parameters"] = ", ".join(_changed(*change) for change in sorted(self._changes.items()))
        if self._left_out:
            shown["parts_left_out"] = ", ".join(f"{kind} ({count})" for kind, count in sorted(self._left_out.items()))
        # What a server charges for likelihoods: the prompt is sent with each text, only the text is scored.
        return shown | ({"likelihood_tokens_sent": self._echoes.tokens_sent} if self._tokens_scored else {})

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        """Yield completions a batch, `concurrency` requests at a time.

        A prompt that the server's content filter refuses is an answer that ended so. A parameter of decoding that the
        server refuses is renamed or left out as its error asks, from then on, and the description says so.

        Raises:
            StageFailed: Names address, status and the beginning of the body if the server refuses a request or goes
                on failing after all retries; what the rest of the batch was answered is yielded first.
        """
        missing = [position for position in range(len(prompts)) if position not in done]
        for answered in self._client.each(missing, lambda place: self._ask(place, prompts[place], decoding)):
            yield tuple(answered), tuple(answered.values())

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        """Yield log-likelihoods a batch; the prompt is rendered with the chat template of the declared tokenizer.

        Raises:
            StageFailed: If no tokenizer is declared, or if the server gives no log-probabilities of given tokens or
                wrong ones.
        """
        if self._endpoint.tokenizer is None:
            self._refuse(
                "gives no log-likelihoods of given answers, which Perplexity and tasks with choices need, as long as "
                "its tokenizer is not known; where the server has them (vLLM does), declare Endpoint(tokenizer=...)"
            )
        return self._likelihoods(requests, done)

    def use(self, adapter: Path | None) -> None:
        """Raise StageFailed for an adapter: a server's weights are not ours to change."""
        if adapter is not None:
            self._refuse(f"cannot load the tuned weights in {adapter}")

    def close(self) -> None:
        self._client.close()

    def _refuse(self, what: str) -> NoReturn:
        raise StageFailed(f"Endpoint {self._endpoint.model} at {self._client.shown} {what}; use a local Model for that")

    def _likelihoods(self, requests: Sequence[tuple[Messages, str]], done: frozenset[int]) -> Iterator[LikelihoodBatch]:
        # Imported here: transformers takes seconds, which an endpoint that only generates need not pay.
        from harness.inference.models.rendering import answer_ids, prompt_ids

        def weigh(place: int) -> Likelihood:
            prompt, answer = requests[place]
            ids = prompt_ids(self._tokenizer, prompt), answer_ids(self._tokenizer, answer, end=False)
            return self._echoes.likelihood(*ids, bytes_=len(answer.encode()), about=f"text at position {place}")

        missing = [position for position in range(len(requests)) if position not in done]
        if missing:
            self._echoes.check(prompt_ids(self._tokenizer, requests[missing[0]][0]))
        for weighed in self._client.each(missing, weigh):
            self._tokens_scored += sum(item.tokens for item in weighed.values())
            yield tuple(weighed), tuple(weighed.values())

    @cached_property
    def _tokenizer(self) -> Any:
        from harness.inference.models.loading import load_tokenizer

        declared = self._endpoint.tokenizer
        assert isinstance(declared, Model)  # the declaration turns a string into one
        return load_tokenizer(declared, progress=self._progress)

    @cached_property
    def _echoes(self) -> Echoes:
        return Echoes(self._client, self._endpoint.model, self._tokenizer)

    def _ask(self, position: int, prompt: Messages, decoding: Decoding) -> Completion:
        characters = sum(len(message.text) for message in prompt)
        expected = characters // _CHARACTERS_PER_TOKEN + decoding.max_tokens
        read = partial(chat_reply, tools=bool(tools_on_offer(prompt)))
        while True:
            body = self._body(prompt, decoding)
            request = HttpRequest("/chat/completions", body, f"prompt at position {position}", expected)
            try:
                return self._completion(self._client.post(request, read, kind="chat completion"), prompt)
            except Refused as refusal:
                if filtered(refusal.body):
                    return self._completion(Reply(ParsedReply("", "filter"), 0.0), prompt)
                if not self._adapts(refusal, body):
                    raise

    def _body(self, prompt: Messages, decoding: Decoding) -> dict[str, Any]:
        body = _request_body(self._endpoint.model, prompt, decoding) | _template_options(self._endpoint)
        parameters = self._endpoint.parameters or {}
        if "max_completion_tokens" in parameters:
            del body["max_tokens"]
        body |= parameters
        for name, instead in {**dict.fromkeys(self._endpoint.omit), **self._changes}.items():
            if name in body:
                value = body.pop(name)
                body |= {} if instead is None else {instead: value}
        return body

    def _adapts(self, refusal: Refused, sent: dict[str, Any]) -> bool:
        """Tell whether to ask again, otherwise: each parameter is changed once, as the server's error asks."""
        change = change_asked(refusal.body, sent)
        if change is None and _FORM in sent and refusal.status in _NOT_TAKEN:
            change = Change(_FORM, None)  # servers that know no schemas say so in as many ways as there are servers
        if change is None or change.name in (self._endpoint.parameters or {}):
            return False
        with self._lock:
            if change.name not in self._changes:
                self._changes[change.name] = change.instead
                self._progress.say(f"{self._endpoint.model} refuses {change.name}: {_changed(*change)} from now on")
        return True

    def _completion(self, reply: Reply[ParsedReply], prompt: Messages) -> Completion:
        said = reply.value
        shown = "\n\n".join(f"{message.role}: {message.text}" for message in prompt)
        with self._lock:
            self._left_out.update(said.left_out)
        if None in said.tokens and said.ended != "filter":
            self._counted_by_words = True
        words = len(shown.split()), len(said.text.split()) + len(said.reasoning.split())
        tokens_in, tokens_out = (
            by_words if counted is None else counted for counted, by_words in zip(said.tokens, words, strict=True)
        )
        return Completion(
            text=said.text,
            prompt=shown,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            seconds=reply.seconds,
            ended=said.ended,
            reasoning=said.reasoning,
        )


def _request_body(model: str, prompt: Messages, decoding: Decoding) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [_turn(message) for message in prompt],
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
    }
    tools = tools_on_offer(prompt)
    if tools:
        body["tools"] = json.loads(tools)
    if decoding.top_p < 1:
        body["top_p"] = decoding.top_p
    if decoding.stop:
        body["stop"] = list(decoding.stop)
    if decoding.schema:
        schema = {"name": "reply", "schema": json.loads(decoding.schema), "strict": True}
        body[_FORM] = {"type": "json_schema", "json_schema": schema}
    return body


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        turn["content"] = message.content or None
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.role == "tool":
        turn["tool_call_id"] = message.call_id
    return turn


def _template_options(endpoint: Endpoint) -> dict[str, Any]:
    """Return what makes the server render as the declared tokenizer does."""
    options = endpoint.tokenizer.template_options if isinstance(endpoint.tokenizer, Model) else None
    return {"chat_template_kwargs": dict(options)} if options else {}


def _changed(name: str, instead: str | None) -> str:
    return f"without {name}" if instead is None else f"{instead} in place of {name}"
