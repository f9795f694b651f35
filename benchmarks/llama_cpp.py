"""Ours beside llama.cpp, through llama-cpp-python: many prompts at once, and one after another."""

import ctypes
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.generation import NEW_TOKENS
from benchmarks.row import Row, timed
from benchmarks.setting import SHOTS, home_prompts, tokenizer, version
from harness import Model
from harness.fingerprint import cache_folder
from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.models.rendering import end_id, prompt_ids
from harness.runner.context import SilentProgress
from harness.types.model_files import content_key, locate
from harness.types.samples import Decoding, Messages

OURS = Model("smollm2-135m-instruct", dtype="bfloat16")
PROMPTS = 32
_ALONE = 8
_CONTEXT = 2048
_Q8_0 = 7  # llama.cpp's number of the file type


def rows() -> Iterator[Row]:
    if importlib.util.find_spec("llama_cpp") is None:
        sys.stdout.write("llama_cpp: skipped: pip install llama-cpp-python (it compiles some 8 minutes)\n")
        return
    llama_cpp = importlib.import_module("llama_cpp")
    theirs = llama_cpp.Llama(str(_q8_0(llama_cpp)), n_ctx=_CONTEXT, n_threads=torch.get_num_threads(), verbose=False)
    ours = open_engine(OURS, progress=SilentProgress())
    prompts = home_prompts(PROMPTS + 1)
    _ours(ours, prompts[PROMPTS:])
    _theirs(theirs, prompts[PROMPTS:])
    many = prompts[:PROMPTS]
    yield _row(
        f"{PROMPTS} prompts at once", many, timed(lambda: _ours(ours, many)), timed(lambda: _theirs(theirs, many))
    )
    few = prompts[:_ALONE]
    # llama.cpp keeps what two prompts after one another share; asked one by one, ours computes each prompt whole.
    alone = timed(lambda: [_ours(ours, [prompt])[0] for prompt in few])
    yield _row(f"{_ALONE} prompts one by one", few, alone, timed(lambda: _theirs(theirs, few)))
    ours.close()


Spoken = tuple[tuple[float, ...], list[tuple[str, int]]]


def _row(how: str, prompts: Sequence[Messages], ours: Spoken, theirs: Spoken) -> Row:
    tokens = [sum(count for _, count in found) for _, found in (ours, theirs)]
    mine, other = (count / min(seconds) for count, (seconds, _) in zip(tokens, (ours, theirs), strict=True))
    same = sum(one[0] == two[0] for one, two in zip(ours[1], theirs[1], strict=True))
    winner = "ours" if mine > other else "llama.cpp"
    return Row(
        work=f"generation, {how}, {SHOTS} shots, up to {NEW_TOKENS} new tokens, ours in bfloat16",
        against=f"{version('llama-cpp-python')}, q8_0",
        ours=tuple(seconds / tokens[0] for seconds in ours[0]),
        theirs=tuple(seconds / tokens[1] for seconds in theirs[0]),
        equal=f"same text {same} of {len(prompts)}",
        note=f"new tokens a second: ours {mine:.0f}, llama.cpp {other:.0f}: {winner} wins",
    )


def _ours(engine: LocalEngine, prompts: Sequence[Messages]) -> list[tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    for places, batch in engine.generate(prompts, Decoding(max_tokens=NEW_TOKENS)):
        found |= {place: (item.text, item.tokens_out) for place, item in zip(places, batch, strict=True)}
    return [found[place] for place in range(len(prompts))]


def _theirs(llama: Any, prompts: Sequence[Messages]) -> list[tuple[str, int]]:
    """Greedy answers, one after another: llama-cpp-python has no batches of its own."""
    end, answers = end_id(tokenizer()), []
    for prompt in prompts:
        spoken: list[int] = []
        for token in llama.generate(prompt_ids(tokenizer(), prompt), temp=0.0, repeat_penalty=1.0):
            if token == end:
                break
            spoken.append(int(token))
            if len(spoken) == NEW_TOKENS:
                break
        answers.append((tokenizer().decode(spoken, skip_special_tokens=True), len(spoken)))
    return answers


def _q8_0(llama_cpp: Any) -> Path:
    """Return the default model in q8_0, made once from its packaged file."""
    files = locate(OURS)
    made = cache_folder() / "models" / f"{content_key(OURS)[:32]}-q8_0.gguf"
    if not made.is_file():
        made.parent.mkdir(parents=True, exist_ok=True)
        unfinished = made.with_suffix(".unfinished")
        wanted = llama_cpp.llama_model_quantize_default_params()
        wanted.ftype, wanted.allow_requantize = _Q8_0, True
        source = str(files.folder / str(files.gguf)).encode()
        if llama_cpp.llama_model_quantize(source, str(unfinished).encode(), ctypes.byref(wanted)):
            raise RuntimeError(f"llama.cpp could not write {unfinished}")
        unfinished.replace(made)
    return made
