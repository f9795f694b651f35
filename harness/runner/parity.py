"""Is a tuned system asked as it was trained? The prompts that an engine stored, against training's own rendering."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from harness.fingerprint import fingerprint
from harness.models import Model
from harness.plan import Plan, choices_of
from harness.protocols import AsksItself
from harness.runner.answering import Answered
from harness.runner.context import Run, bound
from harness.runner.streaming import guarded, machine, stage_row
from harness.samples import Check, Example
from harness.systems import Stage, System

NAME = "prompt parity in evaluation"
# Prompts rendered anew, evenly spread: a fault of rendering is seldom one of few prompts.
PROMPTS = 256

_SHOWN = 20


def evaluation_parity(run: Run, system: System, answered: Answered) -> Check:
    """Return whether each prompt of `answered` is, text and number of tokens, what `system` was trained to answer.

    The prompts are rendered with the tokenizer of training and compared with what the engine says that it asked,
    whichever engine served: transformers or vLLM. Computed once for each set of answers, and kept in the store.
    """
    why = why_not_compared(run.plan, system)
    if why:
        return Check(name=NAME, status="ok", detail=f"{system.name}: not compared, {why}")
    stage = parity_stage(answered.stage)
    found = run.store.stage(stage.key)
    if found is None:
        with run.lock(stage):
            found = run.store.stage(stage.key)
            if found is None:
                return _compare(run, stage, system, answered)
    assert isinstance(found.environment, dict)
    stored = found.environment["check"]
    return Check(**{**stored, "items": tuple(stored["items"])})


def parity_key(stage: Stage) -> str:
    """Return the key of the comparison of this stage's prompts."""
    return fingerprint(["parity", stage.key])


def parity_stage(answers: Stage) -> Stage:
    """Return the comparison of these answers' prompts."""
    return replace(answers, key=parity_key(answers), kind="parity")


def why_not_compared(plan: Plan, system: System) -> str:
    """Return why the prompts of a tuned system are not compared; empty if they are."""
    task = plan.experiment.task
    if not isinstance(system.model, Model):
        return f"{type(system.model).__name__} has no tokenizer to render with"
    if system.served is not None:
        return "it is asked otherwise than it was trained, as declared"
    if isinstance(task, AsksItself):
        return f"{task.name} renders its own requests"
    if choices_of(task):
        return "its choices are weighed, and no prompt is stored as rendered"
    return ""


def _compare(run: Run, stage: Stage, system: System, answered: Answered) -> Check:
    started, began = run.clock(), time.monotonic()
    with guarded(run, stage):
        check = _check(run, system, answered)
        run.store.finish(
            stage_row(
                run,
                stage,
                started=started,
                seconds=time.monotonic() - began,
                tokens=(0, 0),
                environment={**machine(), "check": asdict(check)},
            )
        )
    return check


def _check(run: Run, system: System, answered: Answered) -> Check:
    faults = list(_faults(run, system, answered))
    asked = min(PROMPTS, len(answered.answers))
    if not faults:
        detail = f"{system.name}: {asked:,} prompts were asked with the text and the number of tokens of training"
        return Check(name=NAME, status="ok", detail=detail)
    first = faults[0]
    return Check(
        name=NAME,
        status="invalid",
        detail=f"{system.name}: {len(faults):,} of {asked:,} prompts were asked otherwise than in training; "
        f"{first['id']}: {first['fault']}",
        items=tuple(faults[:_SHOWN]),
    )


def _faults(run: Run, system: System, answered: Answered) -> Iterator[dict[str, str]]:
    # Here: the tokenizer brings transformers and torch, which a run with nothing to compute does without.
    from harness.weights.loading import load_tokenizer

    assert isinstance(system.model, Model)
    tokenizer = load_tokenizer(system.model, progress=run.progress)
    prompter = bound(system.strategy, run.plan.experiment.task)
    count = len(answered.answers)
    for place in sorted({at * count // min(PROMPTS, count) for at in range(min(PROMPTS, count))}):
        sample, answer = answered.samples[place], answered.answers[place]
        trained = Example(id=sample.id, prompt=prompter(sample), answer=sample.reference)
        fault = _fault(trained, answer.prompt, answer.tokens_in, tokenizer)
        if fault:
            yield {"id": sample.id, "fault": fault}


def _fault(trained: Example, asked: str, tokens: int, tokenizer: object) -> str:
    from harness.tuning.prompt_faults import prompt_fault
    from harness.weights.rendering import prompt_ids, prompt_text

    ids = prompt_ids(tokenizer, trained.prompt)
    if asked != prompt_text(tokenizer, trained.prompt):
        given = tokenizer(asked, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
        return prompt_fault(tuple(given), trained.prompt, tokenizer)
    if tokens == len(ids) + 1:
        return f"{tokens} tokens were asked where training has {len(ids)}: a BOS or an end token is added to the prompt"
    if tokens != len(ids):
        return f"{tokens} tokens were asked where training has {len(ids)}: the text is tokenised otherwise"
    return ""
