"""What lm-eval does besides prompts with a long beginning: long texts, and several tuned systems of one base."""

import gc
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import torch
from lm_eval.models.huggingface import HFLM

from benchmarks.row import Row, timed
from benchmarks.setting import MODEL, SHOTS, engine, network, tokenizer, version
from harness import FewShot, Split
from harness.inference.lm_eval_model import HarnessLM
from harness.inference.local.engine import open_engine
from harness.inference.models.loading import load_model, weights_folder
from harness.inference.models.rendering import prompt_text
from harness.runner.context import SilentProgress
from tasks.home_commands import HomeCommands

WINDOW = 2048
_WINDOWS = 2
SYSTEMS = 5
# Samples of the holdout that ours and theirs weigh choices for, and how many choices a sample has.
_OUR_SAMPLES, _THEIR_SAMPLES, _CHOICES = 10, 1, 6
_THEIR_BATCH = 8
_RANK = 8

Pairs = list[tuple[str, str]]


def rows() -> Iterator[Row]:
    yield long_text()
    with tempfile.TemporaryDirectory() as folder:
        yield tuned_systems(made_adapters(Path(folder)))


def long_text() -> Row:
    asked = [SimpleNamespace(args=(prose(),))]
    reader = HarnessLM(engine(), max_length=WINDOW)
    reference = HFLM(pretrained=network(), tokenizer=tokenizer(), batch_size=1, device="cpu", max_length=WINDOW)
    # Once a network the engine computes its first rows both ways, to see whether rows can share: here of a short text.
    reader.loglikelihood_rolling([SimpleNamespace(args=("A short text.",))], disable_tqdm=True)
    ours, (got,) = timed(lambda: reader.loglikelihood_rolling(asked, disable_tqdm=True))
    theirs, (expected,) = timed(lambda: reference.loglikelihood_rolling(asked, disable_tqdm=True))
    return Row(
        work=f"perplexity of a text of {WINDOW * _WINDOWS} tokens, in windows of {WINDOW}",
        against=f"{version('lm-eval')} HF backend, loglikelihood_rolling, batches of 1",
        ours=ours,
        theirs=theirs,
        equal=f"log-likelihoods {got:.2f} and {expected:.2f}",
        target=1.0,
        note="without the engine's one trial of whether rows can share, which is made on a short text first",
    )


def prose() -> str:
    """Return a text of a few windows, cut from this repository's own pages."""
    folder = Path(__file__).parents[1]
    pages = [folder / "README.md", folder / "CONTRIBUTING.md", *sorted((folder / "docs").glob("*.md"))]
    whole = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    return str(tokenizer().decode(tokenizer().encode(whole, add_special_tokens=False)[: WINDOW * _WINDOWS]))


def tuned_systems(adapters: list[Path]) -> Row:
    pairs = choice_pairs(_OUR_SAMPLES)
    few = pairs[: _THEIR_SAMPLES * _CHOICES]
    ours, got = timed(lambda: weighed_here(adapters, pairs))
    loading, weighing, expected = weighed_by_lm_eval(adapters, few)
    # Their loads are paid once a system, whatever the holdout; their weighing grows with it.
    theirs = loading + weighing * _OUR_SAMPLES / _THEIR_SAMPLES
    same = sum(a == b for m, o in zip(got, expected, strict=True) for a, b in zip(best(m), best(o), strict=True))
    worst = max(abs(a - b) for m, o in zip(got, expected, strict=True) for a, b in zip(m, o, strict=False))
    return Row(
        work=f"{SYSTEMS} tuned systems (LoRA), {_OUR_SAMPLES} samples of {_CHOICES} choices, {SHOTS} shots",
        against=f"{SYSTEMS} runs of {version('lm-eval')} with peft=, batches of {_THEIR_BATCH}",
        ours=ours,
        theirs=(theirs,) * len(ours),
        equal=f"same choice {same} of {SYSTEMS * _THEIR_SAMPLES}; log-likelihoods within {worst:.1e}",
        target=5.0,
        note=f"with loading: ours one base, theirs base and adapter {SYSTEMS} times ({loading:.1f} s); theirs weighs "
        f"{_THEIR_SAMPLES} of the {_OUR_SAMPLES} samples, once, counted {_OUR_SAMPLES // _THEIR_SAMPLES} times",
    )


def made_adapters(folder: Path) -> list[Path]:
    """Return folders of adapters whose every weight is drawn, so that no two systems answer alike."""
    model: Any = peft.get_peft_model(
        load_model(MODEL), peft.LoraConfig(r=_RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    made = []
    for seed in range(SYSTEMS):
        generator = torch.Generator().manual_seed(seed)
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.data.normal_(0, 0.02, generator=generator)
        made.append(folder / f"system-{seed}")
        model.save_pretrained(str(made[-1]))
    return made


@cache
def choice_pairs(samples: int) -> Pairs:
    """Return (context, choice) of each sample and choice: answers of other samples beside the right one."""
    task = HomeCommands(language="en")
    prompter = FewShot(shots=SHOTS).bind(task)
    asked = task.samples(Split.HOLDOUT)[:samples]
    answers = list(dict.fromkeys(sample.reference for sample in task.samples(Split.DEV)))
    pairs: Pairs = []
    for place, sample in enumerate(asked):
        others = [text for text in answers[place:] + answers[:place] if text != sample.reference][: _CHOICES - 1]
        context = prompt_text(tokenizer(), prompter(sample))
        pairs += [(context, choice) for choice in (sample.reference, *others)]
    return pairs


def weighed_here(adapters: list[Path], pairs: Pairs) -> list[list[float]]:
    """Return each system's log-likelihoods, of one base that is loaded here and now."""
    opened = open_engine(MODEL, progress=SilentProgress())
    found = []
    for adapter in adapters:
        opened.use(adapter)
        found.append(_weighed(HarnessLM(opened), pairs))
    opened.close()
    return found


def weighed_by_lm_eval(adapters: list[Path], pairs: Pairs) -> tuple[float, float, list[list[float]]]:
    """Return seconds of loading, seconds of weighing, and each system's log-likelihoods."""
    loading, weighing, found = 0.0, 0.0, []
    for adapter in adapters:
        began = time.perf_counter()
        model = HFLM(
            pretrained=str(weights_folder(MODEL)),
            peft=str(adapter),
            dtype="float32",
            device="cpu",
            batch_size=_THEIR_BATCH,
        )
        loaded = time.perf_counter()
        found.append(_weighed(model, pairs))
        loading, weighing = loading + loaded - began, weighing + time.perf_counter() - loaded
        del model
        gc.collect()
    return loading, weighing, found


def _weighed(model: Any, pairs: Pairs) -> list[float]:
    requests = [SimpleNamespace(args=pair) for pair in pairs]
    return [value for value, _ in model.loglikelihood(requests, disable_tqdm=True)]


def best(values: list[float]) -> list[int]:
    """Return the likeliest choice of each sample that theirs weighed."""
    samples = [values[start : start + _CHOICES] for start in range(0, _THEIR_SAMPLES * _CHOICES, _CHOICES)]
    return [max(range(_CHOICES), key=own.__getitem__) for own in samples]
