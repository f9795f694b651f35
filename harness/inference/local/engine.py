"""A model that runs here, through transformers."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from harness.errors import HarnessError, StageFailed
from harness.inference.local.loglikelihood import (
    LogLikelihood,
    Result,
    Row,
    Scorer,
    free_memory,
    give_up_unless_halved,
)
from harness.inference.local.scheduler import DecodingModel, Generated, TokenRequest, generate
from harness.inference.models import adapters
from harness.inference.models.embeddings import unembedded
from harness.inference.models.loading import (
    choose_device,
    choose_dtype,
    describe_hardware,
    keep_gradients,
    load_model,
    load_tokenizer,
    model_of,
    tokenizer_of,
)
from harness.inference.models.prefix_tree import SharedPrefix, shared_prefix, virtual_prefix
from harness.inference.models.rendering import answer_ids, end_id, marker_tokens, prompt_ids, prompt_text, thought_apart
from harness.types.models import Model
from harness.types.protocols import Batch, LikelihoodBatch, Progress
from harness.types.samples import Completion, Decoding, Messages

# Most answers in the making at once, where the memory holds their keys and values: decoding is bound by reading the
# weights, so many are nearly free. Scoring is bound by arithmetic: more tokens a pass than these gain nothing.
_DECODE_ROWS = {"cpu": 128, "cuda": 512}
_SCORE_TOKENS = {"cpu": 1 << 11, "cuda": 1 << 14}
# Requests that are answered as one group, for each answer in the making at once. What is computed beside what changes
# the last digits, so a group that a kill interrupted is computed again as a whole.
_GROUP = 2
# Answers are handed over when this part of those in the making is complete.
_HANDED_OVER = 4


def open_engine(model: Model, *, progress: Progress) -> "LocalEngine":
    """Load `model` and return what answers with it.

    Raises MissingPackage and InvalidExperiment as `harness.types.model_files.locate` does.
    """
    return LocalEngine(model, progress=progress)


class LocalEngine:
    """One loaded model; see `harness.types.protocols.Engine`."""

    def __init__(self, model: Model, *, progress: Progress) -> None:
        self._model = model
        self._device = choose_device(model.device)
        self._dtype = choose_dtype(model.dtype, self._device)
        self._hardware = describe_hardware(self._device, self._dtype)
        self._progress = progress
        self._base_tokenizer = load_tokenizer(model, progress=progress)
        self._tokenizer = self._base_tokenizer
        self._network: Any = self._load_base()
        self._adapter: Path | None = None
        self._adapted: Any = None
        self._attends_itself = False  # an adapter changes attention, so that no other may take its place
        self._virtual = SharedPrefix()
        self._shares: bool | None = None  # whether rows can be packed; known once some were computed both ways

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return self._hardware | {
            "engine": "transformers",
            "model": self._model.name,
            "adapter": None if self._adapter is None else self._adapter.name,
            **({} if self._model.quantize is None else {"quantize": self._model.quantize}),
        }

    @property
    def tokenizer(self) -> Any:
        """The present system's tokenizer."""
        return self._tokenizer

    @property
    def context(self) -> int | None:
        """How many tokens prompt and answer may have together; None if the model's config sets no limit."""
        context = getattr(self._open().config, "max_position_embeddings", None)
        return None if context is None else int(context) - self._virtual.positions

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer by the model's own files."""
        configured = self._open().generation_config.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        return frozenset(int(token) for token in (*listed, self._tokenizer.eos_token_id) if token is not None)

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        """Yield completions a batch. A temperature of 0 is greedy.

        Raises:
            StageFailed: Names the position of a prompt that the model's context cannot hold.
        """
        seen: Counter[tuple[int, ...]] = Counter()
        requests = []
        for prompt in prompts:
            ids = tuple(prompt_ids(self._tokenizer, prompt))
            requests.append(TokenRequest(ids, decoding.max_tokens, draw=seen[ids]))
            seen[ids] += 1
        ends = self.end_tokens | {end_id(self._tokenizer)}
        # Many answers are in the making before the first is complete: handed over singly, the first would look slow.
        size = max(1, min(len(requests), self._most_rows) // _HANDED_OVER)
        markers = marker_tokens(self._tokenizer)
        answers = self.generate_from_tokens(requests, decoding, ends=ends, markers=markers, done=done)
        while found := dict(islice(answers, size)):
            yield (
                tuple(found),
                tuple(self._completion(prompts[place], requests[place], answer) for place, answer in found.items()),
            )

    def generate_from_tokens(
        self,
        wanted: Sequence[TokenRequest],
        decoding: Decoding,
        *,
        ends: frozenset[int],
        markers: frozenset[int] = frozenset(),
        done: frozenset[int] = frozenset(),
    ) -> Iterator[tuple[int, Generated]]:
        """Yield (position, answer) as answers are complete.

        Args:
            ends: Tokens that end an answer.
            markers: Special tokens that its text shows.

        Raises:
            StageFailed: Names the position of a prompt that the model's context cannot hold.
        """
        for position, request in enumerate(wanted):
            self._check_known(position, request.prompt)
        requests = [
            TokenRequest(request.prompt, self._room(position, len(request.prompt), request.room), request.draw)
            for position, request in enumerate(wanted)
        ]
        if done.issuperset(range(len(requests))):
            return
        prefix = self._prefix([request.prompt for request in requests])
        shares = self._can_share(
            [LogLikelihood(request.prompt, request.prompt[-1:], 1) for request in requests], prefix
        )
        speaker = DecodingModel(
            self._open(),
            self._tokenizer,
            ends,
            self._scorer().limits,
            shares=shares,
            markers=markers,
        )

        def answer(asked: Sequence[TokenRequest], rows: int) -> Iterator[tuple[int, Generated]]:
            return generate(speaker, asked, decoding, prefix, rows=rows)

        for number, (positions, rows) in enumerate(self._groups(requests, prefix, shares=shares)):
            if not done.issuperset(positions):
                group = [requests[position] for position in positions]
                batch = number if len(group) > 1 else None
                for place, found in narrowing(answer, group, rows):
                    yield positions[place], replace(found, timed_in_batch=batch)

    @property
    def _most_rows(self) -> int:
        return _DECODE_ROWS.get(self._device.type, _DECODE_ROWS["cpu"])

    def _groups(
        self, requests: Sequence[TokenRequest], prefix: SharedPrefix, *, shares: bool
    ) -> Iterator[tuple[tuple[int, ...], int]]:
        """Yield (positions, how many of them are answered at once), longest first; it depends on lengths alone."""
        shared = prefix.tokens if shares else 0
        sizes = [len(request.prompt) - shared + request.room for request in requests]
        order = sorted(range(len(sizes)), key=lambda position: (-sizes[position], position))
        start = 0
        while start < len(order):
            rows = rows_that_fit(self._open(), sizes[order[start]], most=self._most_rows)
            size = rows * _GROUP if shares else rows
            yield tuple(order[start : start + size]), rows
            start += size

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        """Yield, a batch, the log-likelihoods of the answers given their prompts; the end token is not scored.

        Raises:
            StageFailed: Names the position of a request that the model's context cannot hold.
        """
        tokens_of_prompt = cache(lambda prompt: tuple(prompt_ids(self._tokenizer, prompt)))
        tokens_of_answer = cache(lambda text: tuple(answer_ids(self._tokenizer, text, end=False)))
        # A prompt comes once for each choice, and a choice once for each prompt.
        rows = [
            LogLikelihood(tokens_of_prompt(prompt), tokens_of_answer(text), len(text.encode()))
            for prompt, text in requests
        ]
        yield from self.likelihoods_of_tokens(rows, done=done)

    def likelihoods_of_tokens(
        self, rows: Sequence[LogLikelihood], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        """Yield what `likelihoods` does, of prompts and answers that are tokens already."""
        for position, row in enumerate(rows):
            self._check_known(position, row.read)
            self._room(position, len(row.read) - 1, 1)
        if done.issuperset(range(len(rows))):
            return
        prefix = self._prefix([row.prompt for row in rows])
        scorer = self._scorer()
        yield from (scorer.packed if self._can_share(rows, prefix) else scorer.plain)(rows, prefix, done=done)

    def use(self, adapter: Path | None) -> None:
        """Answer with the adapter or whole model in folder `adapter`, or with the base model.

        The base model's weights stay loaded under an adapter; a whole tuned model takes their place.
        """
        if adapter == self._adapter:
            return
        self._back_to_base()
        if adapter is None:
            return
        if adapters.is_adapter(adapter):
            self._adapted = adapters.attach(self._open(), adapter)
            if adapters.is_prompt_learning(self._adapted):
                self._virtual = virtual_prefix(self._adapted)
            self._attends_itself = adapters.changes_attention(self._adapted)
            if self._attends_itself:
                self._progress.say(
                    f"{adapter.name}: its layers attend to a prefix of their own, so rows share no beginnings; "
                    "plain batches are used"
                )
        else:
            self._replace(adapter)
        self._adapter = adapter

    def close(self) -> None:
        """Free the weights; the engine answers nothing afterwards."""
        self._network = self._adapted = None
        self._virtual = SharedPrefix()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _scorer(self) -> Scorer:
        return Scorer(self._open(), pad=self._tokenizer.pad_token_id or 0, tokens=self._budget(_SCORE_TOKENS))

    def _can_share(self, rows: Sequence[LogLikelihood], prefix: SharedPrefix) -> bool:
        """Tell whether rows may share their beginnings, having computed the first few both ways once a network."""
        if self._attends_itself:
            return False
        if self._shares is None:
            self._shares = self._scorer().packs_right(rows, prefix)
            if not self._shares:
                self._progress.say(
                    f"{self._model.name}: its attention cannot share beginnings between rows; plain batches are used"
                )
        return self._shares

    def _load_base(self) -> Any:
        network = load_model(self._model, dtype=self._dtype, quantize=self._model.quantize, progress=self._progress)
        self._rows = network.get_input_embeddings().num_embeddings
        unembedded(self._rows, self._base_tokenizer)
        keep_gradients(network)
        prepack(network)
        return network

    def _open(self) -> Any:
        """Return the network whose forward computes the present system."""
        if self._network is None:
            raise StageFailed(f"the engine of {self._model.name} is closed; open a new one")
        return self._network

    def _back_to_base(self) -> None:
        if self._adapted is not None:
            self._network = adapters.detach(self._adapted)
        elif self._adapter is not None:
            self._network = self._shares = None
            self._network = self._load_base()
        self._adapted, self._adapter, self._virtual = None, None, SharedPrefix()
        self._attends_itself = False
        self._tokenizer = self._base_tokenizer

    def _replace(self, folder: Path) -> None:
        self._network = self._shares = None  # freed first: two whole models may not fit
        try:
            self._network = model_of(folder, device=self._device, dtype=self._dtype, quantize=self._model.quantize)
            self._rows = self._network.get_input_embeddings().num_embeddings
            keep_gradients(self._network)
            prepack(self._network)
            self._tokenizer = self._tokenizer_of(folder)
        except HarnessError:
            self._network = self._load_base()
            raise

    def _tokenizer_of(self, folder: Path) -> Any:
        stored = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
        return tokenizer_of(folder) if stored else self._base_tokenizer

    def _prefix(self, sequences: Sequence[tuple[int, ...]]) -> SharedPrefix:
        if getattr(self._open().config.get_text_config(), "sliding_window", None) is not None:
            return self._virtual  # padding would stand between prefix and text, and count as distance in the window
        with torch.inference_mode():
            return shared_prefix(self._open(), sequences, virtual=self._virtual)

    def _budget(self, budgets: dict[str, int]) -> int:
        return budgets.get(self._device.type, budgets["cpu"])

    def _check_known(self, position: int, tokens: Sequence[int]) -> None:
        highest = max(tokens, default=0)
        if highest >= self._rows:
            raise StageFailed(
                f"sample at position {position}: it holds the token {self._tokenizer.convert_ids_to_tokens(highest)!r} "
                f"({highest}), and {self._model.name} has embeddings for tokens 0 to {self._rows - 1:,}; resize them "
                "with model.resize_token_embeddings(len(tokenizer)), or take the token out of the tokenizer"
            )

    def _room(self, position: int, length: int, wanted: int) -> int:
        """Return how many tokens may follow a prompt of `length` tokens."""
        context = self.context
        left = wanted if context is None else context - length
        if left < 1:
            raise StageFailed(
                f"sample at position {position}: its prompt has {length} tokens, the context of {self._model.name} "
                f"holds {context}; use fewer shots or passages, or shorter texts"
            )
        return min(wanted, left)

    def _completion(self, prompt: Messages, request: TokenRequest, answer: Generated) -> Completion:
        rendered = prompt_text(self._tokenizer, prompt)
        thought = thought_apart(answer.text, prompt=rendered)
        return Completion(
            text=thought.text,
            prompt=rendered,
            tokens_in=len(request.prompt),
            tokens_out=answer.tokens,
            seconds=answer.seconds,
            ended="length" if answer.cut else "stop",
            reasoning=thought.reasoning,
            timed_in_batch=answer.timed_in_batch,
        )


# The share of the memory beside the weights that keys and values may take; activations and logits have the rest.
_SHARE = 0.5


def narrowing(
    compute: Callable[[Sequence[Row], int], Iterator[tuple[int, Result]]], rows: Sequence[Row], width: int
) -> Iterator[tuple[int, Result]]:
    """Yield (place in `rows`, result) of `compute(rows, width)`, with half the width where the memory does not hold it.

    Rows whose results came before the memory ran out are not computed again.

    Raises:
        StageFailed: If a width of 1 does not fit.
    """
    left = list(range(len(rows)))
    while left:
        try:
            asked = list(left)
            for place, result in compute([rows[place] for place in asked], width):
                left.remove(asked[place])
                yield asked[place], result
        except RuntimeError as error:
            give_up_unless_halved(error, width)
            width = min(width, len(left)) // 2 or 1
            free_memory()


def rows_that_fit(network: Any, tokens: int, *, most: int) -> int:
    """Return how many rows' keys and values, of `tokens` each, the memory holds beside the weights: 1 to `most`.

    It is the whole memory that counts, not what is free just now: a resumed stage plans as the first run did.
    """
    config = network.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row = 2 * config.num_hidden_layers * heads * width * network.dtype.itemsize * max(1, tokens)
    weights = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    return max(1, min(most, int(_SHARE * (memory_bytes(network.device) - weights) / row)))


def memory_bytes(device: torch.device) -> int:
    """Return the memory of `device`; of a CPU, what the machine or the process's control group allows."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(total, int(allowed)) if allowed.isdecimal() else total


# Up to so many rows a product is faster prepacked.
_PREPACKED_ROWS = 192
# Most of the machine's memory that the second copy may take.
_PACKED_SHARE = 0.2


def prepack(network: nn.Module) -> bool:
    """Give the linear layers of `network` a second, prepacked copy of their weights, made at the first use.

    Returns whether it was done: it is not on another device than a CPU, in another dtype than bfloat16, where the CPU
    has no products in bfloat16, or where the memory is short.
    """
    layers = [module for module in network.modules() if type(module) is nn.Linear]
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    weights = next(network.parameters())
    if weights.device.type != "cpu" or weights.dtype != torch.bfloat16 or not _multiplies_bfloat16():
        return False
    if size > _PACKED_SHARE * memory_bytes(weights.device):
        return False
    for layer in layers:
        layer.forward = MethodType(_Prepacked(), layer)  # type: ignore[method-assign]
    return True


def _multiplies_bfloat16() -> bool:
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Prepacked:
    """The forward pass of one layer. The copy is made anew when the weight was written to."""

    def __init__(self) -> None:
        self._of: tuple[int, int] | None = None
        self._copy: Any = None

    def __call__(self, layer: nn.Linear, states: torch.Tensor) -> torch.Tensor:
        rows = states.numel() // layer.in_features
        if rows > _PREPACKED_ROWS or not torch.is_inference_mode_enabled() or states.dtype != layer.weight.dtype:
            return linear(states, layer.weight, layer.bias)
        now = (layer.weight.data_ptr(), layer.weight._version)
        if now != self._of:
            self._copy, self._of = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows), now
        packed: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self._copy, layer.bias, "none", [], "")
        return packed
