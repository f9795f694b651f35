"""The audit of the data: what the holdout shares with what is trained on, a stage like any other."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

from harness.data.inputs import as_asked
from harness.data.leakage import audit, leaked_holdout_ids
from harness.insights.languages import languages
from harness.protocols import ChecksReferences, HasCorpus, HasDataChecks, KnowsLanguages, Named, Task
from harness.runner.context import Run
from harness.runner.streaming import guarded, machine, stage_row
from harness.samples import Check, Sample, Split

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
    assert isinstance(found.environment, dict)
    audited = tuple(Check(**{**item, "items": tuple(item["items"])}) for item in found.environment["checks"])
    return (*_reading_checks(run), *audited)


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
        run.store.finish(
            stage_row(
                run,
                stage,
                started=started,
                seconds=time.monotonic() - began,
                tokens=(0, 0),
                environment={**machine(), "checks": [asdict(check) for check in checks]},
            )
        )


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
