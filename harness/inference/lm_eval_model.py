"""The local engine as a model of lm-eval: its tasks and prompts, our computing, the numbers of its own HF backend.

lm-eval's own command line with our model in it: `python -m harness.inference.lm_eval_model run --model harness ...`.

lm-eval 0.4.13 looks for models in a table of its own and asks no installed package, so the entry is made here first.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

from jinja2 import TemplateError
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    resolve_max_length,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm
from transformers import AutoTokenizer

from harness.errors import InvalidExperiment, MissingPackage
from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.local.loglikelihood import LogLikelihood
from harness.inference.local.scheduler import Generated, TokenRequest
from harness.types.models import Model
from harness.types.samples import Decoding

_log = logging.getLogger(__name__)
# What lm-eval's HF backend generates where a task names no limit.
_MAX_GEN_TOKS = 256
# Arguments of a task's generation_kwargs that are read here, and those that change nothing in a greedy answer.
_UNDERSTOOD = {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k"}

Dtype = Literal["auto", "bfloat16", "float32", "float16"]
Tokens = list[int]


class HarnessLM(TemplateLM):  # type: ignore[misc]  # lm_eval has no types
    """A model of lm-eval whose forward passes are those of `LocalEngine`.

    Args:
        pretrained: A packaged name, a folder, a GGUF file, or an open engine, whose dtype and device then hold.
        peft: Folder of an adapter, or of a whole tuned model.
        dtype: "auto" is what this machine computes fastest in.
        max_length: Most tokens of a request, those beyond it are cut from its left; None is the model's context.
        add_bos_token, prefix_token_id: As in `lm_eval.models.huggingface.HFLM`.
        batch_size, max_batch_size: Lm-eval hands them to every model; unused, for the engine plans batches by
            tokens.

    Raises:
        InvalidExperiment: If `peft` is no folder, `dtype` is unknown or `max_length` exceeds the context.
    """

    def __init__(
        self,
        pretrained: str | LocalEngine,
        *,
        peft: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        max_length: int | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(pretrained, LocalEngine):
            self.engine = pretrained
        else:
            model = Model(
                pretrained,
                revision=revision,
                trust_remote_code=trust_remote_code,
                dtype=_dtype(dtype),
                device=device or "auto",
            )
            self.engine = open_engine(model, progress=_Bars())
        if peft is not None:
            self.engine.use(_folder(peft))
        self.tokenizer: Any = _dressed(self.engine.tokenizer, add_bos_token, trust_remote_code=trust_remote_code)
        self.max_length = _length(self.engine, max_length)
        self._add_bos_token = add_bos_token
        self._prefix_token_id = prefix_token_id

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token that stands before a text without context: what was asked for, else BOS, else EOS."""
        known = (self._prefix_token_id, self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return next(int(token) for token in known if token is not None)

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: object) -> Tokens:
        """Return the tokens of `string`; a text that begins with the prefix token's text gets no special tokens."""
        return self._encoded(string, add_special_tokens, bos=self.tokenizer.decode(self.prefix_token_id))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the conversation as text; without its system message where the template refuses that role."""
        try:
            return self._templated(chat_history, add_generation_prompt)
        except TemplateError:
            _log.warning("the chat template refuses the conversation; its system message is left out")
            rest = [message for message in chat_history if message["role"] != "system"]
            return self._templated(rest, add_generation_prompt)

    def get_model_info(self) -> dict[str, object]:
        """Return what lm-eval writes beside its results."""
        return {"model_dtype": self.engine.description["dtype"], "harness": self.engine.description}

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str] | None, Tokens, Tokens]],
        disable_tqdm: bool = False,
        **_: object,
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood, whether greedy) of each continuation; requests are (texts, context, continuation)."""
        rows = [self._row(context, continuation) for _, context, continuation in requests]
        answers: dict[int, tuple[float, bool]] = {}
        with tqdm(total=len(rows), desc="Running loglikelihood requests", disable=disable_tqdm) as bar:
            for positions, batch in self.engine.likelihoods_of_tokens(rows):
                for position, likelihood in zip(positions, batch, strict=True):
                    answers[position] = (likelihood.logprob, likelihood.greedy)
                    texts = requests[position][0]
                    if texts is not None:  # None is a window of a rolling request, which is kept whole
                        self.cache_hook.add_partial("loglikelihood", texts, answers[position])
                bar.update(len(positions))
        return [answers[position] for position in range(len(rows))]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text, read in windows that share no token."""
        windows = [self.windows(*request.args) for request in requests]
        rows = [(None, [*window.prompt], [*window.answer]) for own in windows for window in own]
        scores = iter(self._loglikelihood_tokens(rows, disable_tqdm=disable_tqdm))
        totals = [sum(next(scores)[0] for _ in own) for own in windows]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the greedy answer to each context, up to the first of its stop strings.

        Raises:
            InvalidExperiment: If a task asks for sampling, beams or penalties.
        """
        asked: dict[Decoding, list[int]] = {}
        for position, request in enumerate(requests):
            asked.setdefault(self.decoding(request.args[1]), []).append(position)
        answers: dict[int, str] = {}
        with tqdm(total=len(requests), desc="Running generate_until requests", disable=disable_tqdm) as bar:
            for decoding, places in asked.items():
                contexts = [requests[place].args[0] for place in places]
                for place, answer in self.generated(self.prompts(contexts, decoding), decoding):
                    answers[places[place]] = answer.text
                    self.cache_hook.add_partial("generate_until", requests[places[place]].args, answer.text)
                    bar.update()
        return [answers[position] for position in range(len(requests))]

    def pair(self, context: str, continuation: str) -> LogLikelihood:
        """Return the tokens of a continuation after its context, split as `loglikelihood` splits them."""
        if context:
            return self._row(*self._encode_pair(context, continuation))
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens and tokens[0] == self.prefix_token_id:
            return self._row(tokens[:1], tokens[1:])
        return self._row([self.prefix_token_id], tokens)

    def windows(self, text: str) -> list[LogLikelihood]:
        """Return the windows in which `loglikelihood_rolling` reads `text`; they share no scored token."""
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        return [self._row(*make_disjoint_window(window)) for window in windows]

    def decoding(self, arguments: Mapping[str, Any]) -> Decoding:
        """Return a task's generation_kwargs as the engine takes them.

        Raises:
            InvalidExperiment: If they ask for sampling, beams or penalties.
        """
        normal = dict(normalize_gen_kwargs(dict(arguments), _MAX_GEN_TOKS))
        unknown = sorted(set(normal) - _UNDERSTOOD)
        if normal["do_sample"] or unknown:
            raise InvalidExperiment(
                f"generation_kwargs {dict(arguments)}: answers are greedy here, without "
                f"{', '.join(unknown) or 'sampling'}; set do_sample: false and leave the rest out, or use --model hf"
            )
        if normal["max_gen_toks"] >= self.max_length:
            raise InvalidExperiment(
                f"max_gen_toks={normal['max_gen_toks']} leaves no room for a prompt in max_length={self.max_length}"
            )
        stop = handle_stop_sequences(normal["until"], self.tokenizer.decode(self.eot_token_id))
        return Decoding(max_tokens=normal["max_gen_toks"], stop=_needed(stop))

    def prompts(self, contexts: Sequence[str], decoding: Decoding) -> list[TokenRequest]:
        """Return the contexts in tokens, cut from the left to leave room for the answer."""
        most = self.max_length - decoding.max_tokens
        prompts = [self._encoded(text, None, bos=self.tokenizer.bos_token)[-most:] for text in contexts]
        return [TokenRequest(tuple(prompt or [self.prefix_token_id]), decoding.max_tokens) for prompt in prompts]

    def generated(
        self, prompts: Sequence[TokenRequest], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[tuple[int, Generated]]:
        """Yield (place in `prompts`, answer) as answers are complete."""
        ends = self.engine.end_tokens | self._special(decoding.stop)
        yield from self.engine.generate_from_tokens(prompts, decoding, ends=ends, done=done)

    def _encoded(self, string: str, add_special_tokens: bool | None, *, bos: str | None) -> Tokens:
        if add_special_tokens is None:
            add_special_tokens = False if has_bos_prefix(string, bos) else self._add_bos_token
        # The tokenizer's own default is not the same as True: it is asked by saying nothing.
        said = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return [int(token) for token in self.tokenizer.encode(string, **said)]

    def _templated(self, turns: list[dict[str, str]], answer_follows: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=answer_follows, continue_final_message=not answer_follows
            )
        )

    def _row(self, context: Tokens, continuation: Tokens) -> LogLikelihood:
        if not 0 < len(continuation) <= self.max_length:
            raise InvalidExperiment(
                f"a continuation of {len(continuation)} tokens cannot be scored: 1 to max_length={self.max_length} can"
            )
        # The last token is only predicted, so one more than max_length fits.
        kept = tuple(context[max(0, len(context) + len(continuation) - self.max_length - 1) :])
        return LogLikelihood(kept, tuple(continuation), 0)

    def _special(self, stop: Sequence[str]) -> frozenset[int]:
        """Return the special tokens that hold a stop string.

        They never show in an answer's text, yet lm-eval looks for stop strings in a text that shows them.
        """
        added = self.tokenizer.added_tokens_decoder
        return frozenset(
            token for token, entry in added.items() if entry.special and any(text in entry.content for text in stop)
        )


class _Bars:
    """A `harness.types.protocols.Progress` for lm-eval's terminal."""

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator["_Bar"]:
        with tqdm(total=total, initial=done, desc=label, unit=unit) as bar:
            yield _Bar(bar)

    def say(self, line: str) -> None:
        _log.info(line)


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)


def _dtype(name: str) -> Dtype:
    if name not in get_args(Dtype):
        raise InvalidExperiment(f"dtype={name!r} is none of {', '.join(get_args(Dtype))}")
    return cast("Dtype", name)


def _folder(peft: str) -> Path:
    if not Path(peft).is_dir():
        raise InvalidExperiment(f"peft={peft!r} is no folder; give the folder that holds adapter_config.json")
    return Path(peft)


def _dressed(tokenizer: Any, add_bos_token: bool | None, *, trust_remote_code: bool) -> Any:
    """Return the tokenizer told whether to write a BOS, which it learns only when it is loaded."""
    if add_bos_token is None:
        return tokenizer
    return AutoTokenizer.from_pretrained(
        tokenizer.name_or_path,
        add_bos_token=add_bos_token,
        trust_remote_code=trust_remote_code,
        local_files_only=True,
    )


def _length(engine: LocalEngine, asked: int | None) -> int:
    context = engine.context
    if asked is not None and context is not None and asked > context:
        raise InvalidExperiment(f"max_length={asked}: the model's context holds {context} tokens")
    return asked or context or int(resolve_max_length(None, engine.tokenizer))


def _needed(stop: Sequence[str]) -> tuple[str, ...]:
    """Return `stop` without what an earlier one makes superfluous.

    lm-eval cuts an answer at each string in turn, so a later string that holds an earlier one never cuts.
    """
    kept: list[str] = []
    for text in stop:
        if text and not any(earlier in text for earlier in kept):
            kept.append(text)
    return tuple(kept)


def register() -> None:
    """Make `lm_eval.simple_evaluate(model="harness", model_args=...)` find the local engine.

    Raises:
        MissingPackage: If lm-eval is absent.
    """
    try:
        # Imported for what it does: lm-eval fills an empty table only, and ours alone would hide its own models.
        import lm_eval.models  # noqa: F401
        from lm_eval.api.registry import model_registry
    except ModuleNotFoundError as error:
        if error.name != "lm_eval":
            raise
        raise MissingPackage("the model of lm-eval needs the package lm-eval: pip install 'lm-eval>=0.4.13'") from error
    if "harness" not in model_registry:
        model_registry.register("harness", target="harness.inference.lm_eval_model:HarnessLM")


def main() -> None:
    """Run `lm_eval` with this process's arguments."""
    try:
        register()
    except MissingPackage as error:
        sys.exit(str(error))
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
