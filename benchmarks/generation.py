"""Greedy answers to prompts with one long beginning, against lm-eval's `generate_until` over `model.generate`."""

from collections.abc import Iterator

from lm_eval.api.instance import Instance

from benchmarks.row import Row, timed
from benchmarks.setting import SAMPLES, SHOTS, engine, home_prompts, lm_eval, tokenizer, version
from harness.inference.models.rendering import prompt_text
from harness.types.samples import Decoding, Messages

NEW_TOKENS = 48
# Of 1, 8 and 16 the fastest for lm-eval: 2.4, 1.5 and 1.3 s a sample. Larger ones were not tried.
_THEIR_BATCH = 16
_THEIR_SAMPLES = 32


def rows() -> Iterator[Row]:
    prompts = home_prompts(SAMPLES)
    few = prompts[:_THEIR_SAMPLES]
    ours, got = timed(lambda: generated(prompts))
    theirs, expected = timed(lambda: generated_by_lm_eval(few))
    same = sum(a == b for a, b in zip(got, expected, strict=False))
    yield Row(
        work=f"generation, {SHOTS} shots, up to {NEW_TOKENS} new tokens, a sample of {len(prompts)}",
        against=f"{version('lm-eval')}, HF generate, batches of {_THEIR_BATCH}, a sample of {len(few)}",
        ours=tuple(seconds / len(prompts) for seconds in ours),
        theirs=tuple(seconds / len(few) for seconds in theirs),
        equal=f"same text {same} of {len(few)}",
        target=3.0,
    )


def generated(prompts: list[Messages]) -> list[str]:
    found: dict[int, str] = {}
    for places, completions in engine().generate(prompts, Decoding(max_tokens=NEW_TOKENS)):
        found |= {place: item.text for place, item in zip(places, completions, strict=True)}
    return [found[place] for place in range(len(prompts))]


def generated_by_lm_eval(prompts: list[Messages]) -> list[str]:
    arguments = {"until": [tokenizer().eos_token], "max_gen_toks": NEW_TOKENS, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (prompt_text(tokenizer(), prompt), arguments), place)
        for place, prompt in enumerate(prompts)
    ]
    return list(lm_eval(_THEIR_BATCH).generate_until(requests, disable_tqdm=True))
