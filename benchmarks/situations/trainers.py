"""Trainers that go wrong in one way each: what a user's own pipeline may do."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from harness import InvalidExperiment, Model, ZeroShot
from harness.inference import scripted
from harness.inference.scripted import ScriptedTuning
from harness.types.jobs import TuneJob, TuneResult
from harness.types.protocols import Progress, Strategy
from harness.types.samples import Example

_TOKENIZER = Model("smollm2-135m-instruct")


@dataclass(frozen=True, kw_only=True)
class Lucky:
    """Learns another share of the rows with each seed: (seed, share) pairs."""

    shares: tuple[tuple[int, float], ...]
    name: str = "lucky"
    prompt: Strategy = field(default_factory=ZeroShot)

    trainer: ClassVar[str] = "benchmarks.situations.trainers:fit_by_luck"


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """Makes its training rows with a real tokenizer and the named fault, and has them checked as every trainer does."""

    fault: str
    name: str = "faulty"
    prompt: Strategy = field(default_factory=ZeroShot)

    trainer: ClassVar[str] = "benchmarks.situations.trainers:fit_with_fault"


def fit_by_luck(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train as the scripted engine does, as far as this seed is lucky."""
    if not isinstance(job.recipe, Lucky):
        raise InvalidExperiment(f"fit_by_luck carries out Lucky, not {type(job.recipe).__name__}")
    learn = dict(job.recipe.shares)[job.seed]
    return scripted.fit(replace(job, recipe=ScriptedTuning(learn=learn)), progress=progress)


def fit_with_fault(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train as the scripted engine does, and return the parity check of rows that were made wrongly."""
    from harness.inference.models.loading import load_tokenizer
    from harness.training.rows import check_parity

    if not isinstance(job.recipe, Faulty):
        raise InvalidExperiment(f"fit_with_fault carries out Faulty, not {type(job.recipe).__name__}")
    tokenizer = load_tokenizer(_TOKENIZER, progress=progress)
    examples = [replace(example, answer=f"{example.answer}, without any doubt") for example in job.train]
    rows = [_row(example, job.recipe.fault, tokenizer) for example in examples]
    trained = scripted.fit(replace(job, recipe=ScriptedTuning()), progress=progress)
    return replace(trained, checks=(*trained.checks, check_parity(rows, examples, tokenizer)))


def _row(example: Example, fault: str, tokenizer: Any) -> Any:
    """Return what the model would see of one example; labels count the answer."""
    from harness.training.rows import IGNORED, Collated

    turns = [{"role": message.role, "content": message.content} for message in example.prompt]

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    served = ids(str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)))
    prompt = {
        "double BOS": (tokenizer.bos_token_id, *served),
        "no generation prompt": ids(str(tokenizer.apply_chat_template(turns, tokenize=False))),
        "bypassed template": ids(example.prompt[-1].content),
    }.get(fault, served)
    answer = (*ids(example.answer), tokenizer.eos_token_id)
    answer = {"no end": answer[:-1], "truncated": answer[:-2]}.get(fault, answer)
    learned = (IGNORED,) * len(answer) if fault == "masked" else answer
    return Collated((*prompt, *answer), (*(IGNORED for _ in prompt), *learned))
