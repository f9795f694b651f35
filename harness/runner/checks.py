"""The audit of the data: what the holdout shares with what is trained on, a stage like any other.

How each measured system's answers ended, and whether enough of the baseline's are answers to judge by.

Is a tuned system asked as it was trained? The prompts that an engine stored, against training's own rendering.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Literal, TypeGuard

from harness.analysis.endings import MOST_MISSING, AnswerRule, Endings, endings
from harness.analysis.slices import languages
from harness.data.leakage.audit import audit, leaked_holdout_ids
from harness.data.leakage.equal_inputs import as_asked
from harness.errors import HarnessError
from harness.fingerprint import fingerprint
from harness.plan import Plan
from harness.runner.answers import Answered, BySeed
from harness.runner.context import Run, Spent, bound, guarded, machine, read_value, stage_row
from harness.runner.scoring import one_score
from harness.types.codec import to_json
from harness.types.jobs import Stage, System
from harness.types.models import Endpoint, Model
from harness.types.protocols import (
    AsksItself,
    BatchMetric,
    ChecksReferences,
    Executed,
    HasCorpus,
    HasDataChecks,
    JudgedMetric,
    KnowsLanguages,
    Metric,
    Named,
    OnlyWeighed,
    PairMetric,
    Task,
    choices_of,
    judges_refusals,
)
from harness.types.samples import Answer, Check, Example, Sample, Split

# Names and loan words make a few references look foreign.
_FOREIGN_SHARE = 0.1


def data_checks(run: Run) -> tuple[Check, ...]:
    """Return the audit of the data: what reading it found, told anew each time; leakage, duplicates, sizes."""
    stage = run.plan.audit()
    found = run.store.stage(stage.key)
    if found is None:
        with run.lock(stage):
            found = run.store.stage(stage.key)
            if found is None:
                _audit(run)
                found = run.store.stage(stage.key)
    assert found is not None
    return (*_reading_checks(run), *found.facts.checks)


def _reading_checks(run: Run) -> tuple[Check, ...]:
    """Return what each task says of its data, under the task's name unless it is the experiment's own."""
    own = run.plan.experiment.task
    guards = (guard.task for guard in run.plan.experiment.guards)
    others = {id(task): task for task in (*run.plan.other_tasks, *guards) if task is not own}
    checks = tuple(own.data_checks()) if isinstance(own, HasDataChecks) else ()
    for task in others.values():
        if isinstance(task, HasDataChecks):
            checks += tuple(replace(check, name=f"{check.name} of {task.name}") for check in task.data_checks())
    return checks


def reference_checks(run: Run) -> tuple[Check, ...]:
    """Return what the metrics find wrong with the references that they are to score, those of guards included."""
    experiment = run.plan.experiment
    splits = (Split.DEV, Split.HOLDOUT)
    own = [sample for split in splits for sample in run.samples(experiment.task, split)]
    asked: list[tuple[Named, list[Sample]]] = [(metric, own) for metric in experiment.metrics]
    asked += [(guard.metric, list(run.samples(guard.task, Split.HOLDOUT))) for guard in experiment.guards]
    found = [metric.check_references(samples) for metric, samples in asked if isinstance(metric, ChecksReferences)]
    found += [_foreign(metric, samples) for metric, samples in asked if isinstance(metric, KnowsLanguages)]
    return tuple(check for check in found if check is not None)


def _foreign(metric: KnowsLanguages, samples: Sequence[Sample]) -> Check | None:
    """Return a warning where the references are in languages that the metric does not know."""
    known = metric.known_languages
    if known is None or not samples:
        return None
    texts = [sample.reference for sample in samples]
    told = [_alphabet(text) if code == "und" else code for code, text in zip(languages(texts), texts, strict=True)]
    foreign = {code: count for code, count in Counter(told).most_common() if code not in (*known, "und")}
    if sum(foreign.values()) <= _FOREIGN_SHARE * len(samples):
        return None
    shares = ", ".join(f"{code} {count / len(samples):.0%}" for code, count in foreign.items())
    detail = (
        f"{metric.name} knows {', '.join(known)}, and the references are in other languages ({shares}): unrelated "
        "texts may look alike to it; Chrf() serves every language, and so does an encoder that learned them, such as "
        'BERTScore(model="xlm-roberta-base")'
    )
    return Check(name=f"language of {metric.name}", status="warning", detail=detail, kind="data")


def _alphabet(text: str) -> str:
    """Return "another alphabet" where most letters of a text in no certain language are not Latin, else "und"."""
    letters = [letter for letter in text if letter.isalpha()]
    return "another alphabet" if 2 * sum(letter > "\u024f" for letter in letters) > len(letters) else "und"


def _audit(run: Run) -> None:
    stage, task = run.plan.audit(), run.plan.experiment.task
    started, began = run.clock(), time.monotonic()
    with guarded(run, stage):
        pools = {split.value: samples for split, samples in as_asked(task).items()}
        corpus = task.corpus() if isinstance(task, HasCorpus) else ()
        checks = audit(
            pools,
            corpus,
            corpus_is_lookup=bool(getattr(task, "corpus_is_lookup", False)),
            looked_up={split.value: task.samples(split) for split in Split},
        )
        for other in run.plan.other_tasks:
            checks += _other_checks(other, task.samples(Split.HOLDOUT))
        spent = Spent(started, time.monotonic() - began)
        told = {**machine(), "checks": to_json(checks)}
        run.store.finish(stage_row(run, stage, spent, told))


def _other_checks(other: Task, holdout: Sequence[Sample]) -> tuple[Check, ...]:
    """Return whether another task that a step trains on brings the holdout's texts, under the names of the leaks."""
    # Ids and groups mean something within one task only.
    train = [replace(sample, id=f"{other.name}/{sample.id}", group=None) for sample in other.samples(Split.TRAIN)]
    plain = [replace(sample, group=None) for sample in holdout]
    found = audit({"train": train, "dev": (), "holdout": plain})
    leaks = [check for check in found if check.status == "invalid" and leaked_holdout_ids([check])]
    if leaks:
        return tuple(
            replace(check, detail=f"in task {other.name}, on which a step trains: {check.detail}") for check in leaks
        )
    detail = f"none of its {len(train):,} training texts is one of the holdout's"
    return (Check(name=f"holdout text in task {other.name}", status="ok", detail=detail, kind="data"),)


ENDINGS = "how answers ended"


def endings_of(
    run: Run, by_seed: BySeed, split: Split, *, left_out: frozenset[str] = frozenset()
) -> tuple[Endings, ...]:
    """Return how one system's answers to the experiment's task ended; none if it writes no answers.

    Args:
        left_out: Ids of samples that the verdict leaves out.
    """
    task = run.plan.experiment.task
    if isinstance(task, OnlyWeighed):
        return ()
    answered = [
        (sample, answer)
        for one in by_seed
        for sample, answer in zip(one.samples, one.answers, strict=True)
        if sample.id not in left_out
    ]
    system = by_seed[0].system
    return (endings(system.name, split.value, answered, _reading(run, task, system)),)


def baseline_checks(run: Run, best: Sequence[Endings], others: Sequence[Endings] = ()) -> Iterator[Check]:
    """Yield whether the compared baseline answers often enough, and which other might be better than it looks."""
    for found in best:
        # lm-eval and the like ask, cut and read by rules of their own, which are the same everywhere.
        bars = found.too_many and not isinstance(run.plan.experiment.task, AsksItself)
        yield _endings_check(found, "invalid" if bars else "warning" if found.too_many else "ok")
    for found in others:
        if found.too_many:
            yield _endings_check(found, "warning")


def tuned_checks(found: Sequence[Endings]) -> Iterator[Check]:
    """Yield how the tuned system's answers ended: those that are none count as what they are, wrong."""
    for one in found:
        yield _endings_check(one, "warning" if one.too_many else "ok")


def _endings_check(found: Endings, status: Literal["ok", "warning", "invalid"]) -> Check:
    bars = f"; above {MOST_MISSING:.0%} a baseline is not measured" if status == "invalid" else ""
    return Check(
        name=ENDINGS,
        status=status,
        detail=f"{found.sentence}{bars}{'; ' if found.remedy else ''}{found.remedy}",
        items=tuple(asdict(one) for one in found.examples),
    )


def _reading(run: Run, task: Task, system: System) -> AnswerRule:
    metrics = run.plan.experiment.metrics
    wanted = {name for rule in run.plan.experiment.go_if for name in rule.metrics}
    judged = [metric for metric in metrics if metric.name in wanted]

    def settled(sample: Sample, answer: Answer) -> bool:
        """Whether the right answer, had it come behind the cut, or the rest of a word, would change nothing."""
        if answer.value is None:
            return False
        longer = [answer.text + more for more in (f"\n{sample.reference}", "1", "x")]
        try:
            # The metrics of the criteria may look at the text beside the value.
            return all(read_value(task, text, sample) == answer.value for text in longer) and all(
                one_score(metric, sample, replace(answer, text=text)) == one_score(metric, sample, answer)
                for metric in judged
                if _reads_one(metric)
                for text in longer
            )
        except HarnessError:
            return False  # a text of our own making that reader or metric cannot take

    return AnswerRule(
        settled=settled,
        refusals=any(judges_refusals(one) for one in (task, *metrics)),
        limit=run.plan.decoding(task).max_tokens,
        hosted=isinstance(system.model, Endpoint),
    )


def _reads_one(metric: object) -> TypeGuard[Metric | BatchMetric]:
    """Whether the metric scores a single answer, at once."""
    return isinstance(metric, Metric | BatchMetric) and not isinstance(metric, PairMetric | JudgedMetric | Executed)


PARITY = "prompt parity in evaluation"
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
        return Check(name=PARITY, status="ok", detail=f"{system.name}: not compared, {why}")
    stage = parity_stage(answered.stage)
    found = run.store.stage(stage.key)
    if found is None:
        with run.lock(stage):
            found = run.store.stage(stage.key)
            if found is None:
                return _compare(run, stage, system, answered)
    assert found.facts.check is not None
    return found.facts.check


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
        check = _parity_check(run, system, answered)
        spent = Spent(started, time.monotonic() - began)
        run.store.finish(stage_row(run, stage, spent, {**machine(), "check": to_json(check)}))
    return check


def _parity_check(run: Run, system: System, answered: Answered) -> Check:
    faults = list(_faults(run, system, answered))
    asked = min(PROMPTS, len(answered.answers))
    if not faults:
        detail = f"{system.name}: {asked:,} prompts were asked with the text and the number of tokens of training"
        return Check(name=PARITY, status="ok", detail=detail)
    first = faults[0]
    return Check(
        name=PARITY,
        status="invalid",
        detail=f"{system.name}: {len(faults):,} of {asked:,} prompts were asked otherwise than in training; "
        f"{first['id']}: {first['fault']}",
        items=tuple(faults[:_SHOWN]),
    )


def _faults(run: Run, system: System, answered: Answered) -> Iterator[dict[str, str]]:
    # Here: the tokenizer brings transformers and torch, which a run with nothing to compute does without.
    from harness.inference.models.loading import load_tokenizer

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
    from harness.inference.models.rendering import prompt_ids, prompt_text
    from harness.training.rows import prompt_fault

    ids = prompt_ids(tokenizer, trained.prompt)
    if asked != prompt_text(tokenizer, trained.prompt):
        given = tokenizer(asked, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
        return prompt_fault(tuple(given), trained.prompt, tokenizer)
    if tokens == len(ids) + 1:
        return f"{tokens} tokens were asked where training has {len(ids)}: a BOS or an end token is added to the prompt"
    if tokens != len(ids):
        return f"{tokens} tokens were asked where training has {len(ids)}: the text is tokenised otherwise"
    return ""
