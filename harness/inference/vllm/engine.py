"""A local model that vLLM answers with: a server on 127.0.0.1, in an environment of its own."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.environments import shown_vllm, vllm_executable
from harness.errors import StageFailed
from harness.inference.models import adapters
from harness.inference.models.loading import (
    choose_device,
    choose_dtype,
    describe_hardware,
    dtype_name,
    load_tokenizer,
    tokenizer_of,
    weights_folder,
)
from harness.inference.models.rendering import answer_ids, end_id, prompt_ids, prompt_text
from harness.inference.openai.client import Client, HttpRequest, Result
from harness.inference.openai.echo_check import PROMPT_LOGPROBS, Echoes, TokenScore, likelihood_of, scored_branches
from harness.inference.openai.replies import ParsedReply, text_reply
from harness.inference.vllm.server import BASE, Serving, VllmServer
from harness.types.models import Endpoint, Model
from harness.types.numbers import equals_before
from harness.types.protocols import Batch, LikelihoodBatch, Progress
from harness.types.samples import Completion, Decoding, Likelihood, Messages

# As many as vLLM decodes at once on a CPU gain nothing beyond; its own scheduler makes the batches.
_CONCURRENCY = 64
_TIMEOUT_SECONDS = 600.0
# Prompts whose likelihoods are handed over, and so stored, together; one may have a hundred choices.
_GROUPS_PER_BATCH = 64
# vLLM's own limit on `logprob_token_ids`.
_MOST_NEXT_TOKENS = 128
# The ranks that vLLM can make room for.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_MERGED = (
    ", or merge it, since whole models are served: PeftModel.from_pretrained(model, adapter).merge_and_unload()"
    ".save_pretrained(folder), then Model(folder)"
)


def open_engine(model: Model, *, progress: Progress) -> "VllmEngine":
    """Return what answers with `model`. The server starts with the first request.

    Raises:
        MissingPackage: If vLLM's environment is missing, and what `harness.types.model_files.locate` raises.
    """
    vllm_executable()
    return VllmEngine(model, progress=progress)


class VllmEngine:
    """One model behind a server of its own; see `harness.types.protocols.Engine`.

    Prompts and answers go as token ids, rendered as the transformers engine renders them. shares: answers to one
    prompt are weighed as a tree in the prefix cache; False echoes each whole, four times slower with 20 choices.
    """

    def __init__(self, model: Model, *, progress: Progress) -> None:
        self._model, self._progress = model, progress
        self._device = choose_device(model.device)
        self._dtype = choose_dtype(model.dtype, self._device)
        self._base = weights_folder(model, progress=progress)
        self._base_tokenizer = self._tokenizer = load_tokenizer(model, progress=progress)
        self._adapter: Path | None = None
        self._folder, self._rank = self._base, 0
        self.shares = True
        self._open: _Open | None = None

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return describe_hardware(self._device, self._dtype) | {
            "engine": "vllm",
            "vllm": shown_vllm(),
            "model": self._model.name,
            "adapter": None if self._adapter is None else self._adapter.name,
        }

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        """Yield completions a batch. A temperature of 0 is greedy.

        Raises:
            StageFailed: Names the position of a prompt that the server refuses, as it does one that its context
                cannot hold, and with the tail of its log if the server died.
        """
        missing = [position for position in range(len(prompts)) if position not in done]
        if not missing:
            return
        server = self._opened()
        ends = [end_id(self._tokenizer)]
        draws = equals_before(prompts)  # several answers to one prompt are drawn apart

        def ask(place: int) -> Completion:
            ids = prompt_ids(self._tokenizer, prompts[place])
            drawn = replace(decoding, seed=decoding.seed + draws[place])
            body = _body(server.name, ids, drawn, ends, room=server.context - len(ids))
            rendered = prompt_text(self._tokenizer, prompts[place])
            request = HttpRequest("/completions", body, f"prompt at position {place}")
            reply = server.client.post(request, partial(text_reply, prompt=rendered), kind="completion")
            # A row's share: those that are answered beside it take the rest.
            found = self._completion(rendered, len(ids), reply.value, reply.seconds / min(len(missing), _CONCURRENCY))
            return found if len(prompts) == 1 else replace(found, timed_in_batch=0)

        for answered in server.each(missing, ask):
            yield tuple(answered), tuple(answered.values())

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        """Yield, a batch, the log-likelihoods of the answers given their prompts; the end token is not scored."""
        missing = [position for position in range(len(requests)) if position not in done]
        if not missing:
            return
        server = self._opened()
        groups = _groups([(place, requests[place][0]) for place in missing], shares=self.shares)

        def weigh(group: int) -> dict[int, Likelihood]:
            prompt, places = groups[group]
            answers = [requests[place][1] for place in places]
            return dict(
                zip(places, self._weighed(server, prompt, answers, f"text at position {places[0]}"), strict=True)
            )

        for answered in server.each(range(len(groups)), weigh, batch=_GROUPS_PER_BATCH):
            weighed = {place: item for group in answered.values() for place, item in group.items()}
            yield tuple(weighed), tuple(weighed.values())

    def use(self, adapter: Path | None) -> None:
        """Answer with the LoRA adapter or whole model in folder `adapter`, or with the base model.

        An adapter joins the running server, which starts anew only for the first one, for a higher rank than before
        and for a whole model.

        Raises:
            StageFailed: For an adapter that vLLM cannot serve.
        """
        if adapter == self._adapter:
            return
        if adapter is None or adapters.is_adapter(adapter):
            wanted, tokenizer = self._base, self._base_tokenizer
            rank = self._rank if adapter is None else max(self._rank, _rank_of(adapter))
        else:
            stored = any((adapter / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
            wanted, tokenizer = adapter, tokenizer_of(adapter) if stored else self._base_tokenizer
            rank = 0
        if (wanted, rank) != (self._folder, self._rank):
            self.close()
        self._adapter, self._folder, self._rank, self._tokenizer = adapter, wanted, rank, tokenizer

    def close(self) -> None:
        """End the server; the next request starts it anew."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _opened(self) -> "_Open":
        if self._open is None:
            stored = self._tokenizer is not self._base_tokenizer
            serving = Serving(
                folder=self._folder,
                tokenizer=self._folder if stored else self._base,
                dtype=dtype_name(self._dtype),
                adapter_rank=self._rank,
                trust_remote_code=self._model.trust_remote_code,
                on_cpu=self._device.type == "cpu",
            )
            self._open = _Open(VllmServer(serving, progress=self._progress))
        whole = self._folder == self._adapter
        self._open.serve(None if whole else self._adapter)
        return self._open

    def _weighed(self, server: "_Open", prompt: Messages, answers: list[str], about: str) -> list[Likelihood]:
        """Return the likelihoods of all `answers`, which share one prompt."""
        before = tuple(prompt_ids(self._tokenizer, prompt))
        branches = [tuple(answer_ids(self._tokenizer, answer, end=False)) for answer in answers]
        sizes = [len(answer.encode()) for answer in answers]
        # With room for adapters, vLLM's CPU build dies of `prompt_logprobs`: its head expects one row a request.
        if len(answers) == 1 and not self._rank:
            echoes = Echoes(server.client, server.name, self._tokenizer, trusted=PROMPT_LOGPROBS)
            return [echoes.likelihood(before, branches[0], bytes_=sizes[0], about=about)]
        scores = scored_branches(
            branches, lambda node, tokens: server.next_tokens((*before, *node), tokens, about), most=_MOST_NEXT_TOKENS
        )
        return [likelihood_of(row, bytes_=size) for row, size in zip(scores, sizes, strict=True)]

    def _completion(self, rendered: str, tokens_in: int, said: ParsedReply, seconds: float) -> Completion:
        return Completion(
            text=said.text,
            prompt=rendered,
            tokens_in=tokens_in,
            tokens_out=len(said.text.split()) if said.tokens[1] is None else said.tokens[1],
            seconds=seconds,
            ended=said.ended,
            reasoning=said.reasoning,
        )


class _Open:
    """A running server and what talks to it. name: what answers now, the base model or an adapter."""

    def __init__(self, server: VllmServer) -> None:
        self._server = server
        endpoint = Endpoint(server.url, BASE, concurrency=_CONCURRENCY, timeout_seconds=_TIMEOUT_SECONDS, retries=2)
        self.client = Client(endpoint, key=lambda: server.key, proxied=False)
        self.context = server.context()
        self.name = BASE
        self._loaded: dict[Path, str] = {}

    def serve(self, adapter: Path | None) -> None:
        """Answer with `adapter`, loading it if it is new to the server; None is the base model."""
        if adapter is not None and adapter not in self._loaded:
            name = f"adapter-{len(self._loaded)}"
            self._server.load_adapter(name, adapter)
            self._loaded[adapter] = name
        self.name = BASE if adapter is None else self._loaded[adapter]

    def next_tokens(self, ids: Sequence[int], tokens: Sequence[int], about: str) -> dict[int, TokenScore]:
        """Return what the model thinks of each of `tokens` after `ids`."""
        body = {"model": self.name, "prompt": list(ids), "max_tokens": 1, "temperature": 0, "logprobs": 1}
        body |= {"logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True}

        def read(reply: Any) -> dict[int, TokenScore]:
            told = reply["choices"][0]["logprobs"]
            # The token that it would say itself is told beside those asked for.
            (said,), (values,) = told["tokens"], told["top_logprobs"]
            names = {token: f"token_id:{token}" for token in tokens}
            return {token: TokenScore(float(values[name]), name == said) for token, name in names.items()}

        return self.client.post(HttpRequest("/completions", body, about), read, kind="completion").value

    def each(
        self, places: Sequence[int], ask: Callable[[int], Result], *, batch: int | None = None
    ) -> Iterator[dict[int, Result]]:
        """Yield what `Client.each` does; where the server died, the error carries the tail of its log."""
        try:
            yield from self.client.each(places, ask, batch=batch)
        except StageFailed as error:
            raise self._server.explained(error) from error

    def close(self) -> None:
        self.client.close()
        self._server.stop()


def _body(name: str, ids: list[int], decoding: Decoding, ends: list[int], *, room: int) -> dict[str, Any]:
    return {
        "model": name,
        "prompt": ids,
        "max_tokens": max(1, min(decoding.max_tokens, room)),
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "seed": decoding.seed,
        "stop": list(decoding.stop),
        "stop_token_ids": ends,
    }


def _groups(prompts: Sequence[tuple[int, Messages]], *, shares: bool) -> list[tuple[Messages, list[int]]]:
    """Return each prompt with the places it stands at; every place alone if nothing is shared."""
    if not shares:
        return [(prompt, [place]) for place, prompt in prompts]
    places: dict[Messages, list[int]] = {}
    for place, prompt in prompts:
        places.setdefault(prompt, []).append(place)
    return list(places.items())


def _merges(config: dict[str, Any]) -> bool:
    """Tell whether the adapter can become part of its model's weights; virtual tokens cannot."""
    return not any(key in config for key in ("num_virtual_tokens", "adapter_len"))


def _rank_of(adapter: Path) -> int:
    """Return the smallest room that vLLM makes for the adapter.

    Raises:
        StageFailed: Names what of it vLLM does not compute.
    """
    if adapters.is_own(adapter):
        raise StageFailed(
            f"vLLM serves plain LoRA adapters, and {adapter} holds modules of the harness's own; "
            "use Model(..., engine='transformers') for it"
        )
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    refused = [name for name in ("use_dora", "modules_to_save", "trainable_token_indices") if config.get(name)]
    if config.get("bias", "none") != "none":
        refused.append(f"bias={config['bias']!r}")
    if config.get("peft_type") != "LORA":
        refused = [f"peft_type {config.get('peft_type')}"]
    rank = max([int(config.get("r") or 0), *(int(value) for value in (config.get("rank_pattern") or {}).values())])
    if not refused and rank > _RANKS[-1]:
        refused = [f"rank {rank}"]
    if refused:
        raise StageFailed(
            f"vLLM serves plain LoRA adapters up to rank {_RANKS[-1]}, and {adapter} has {', '.join(refused)}; "
            f"use Model(..., engine='transformers') for it{_MERGED if _merges(config) else ''}"
        )
    return next(room for room in _RANKS if room >= rank)
