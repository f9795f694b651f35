"""What is known of local models before anything is asked of them: prompts render, adapters find their modules."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.plan import model_key, rendering_of
from harness.prompting import ZeroShot
from harness.recipes import Trained
from harness.runner.context import Run, Spent, bound, guarded, machine, stage_row
from harness.types.codec import to_json
from harness.types.jobs import Stage
from harness.types.models import ENGINES, Model
from harness.types.protocols import AsksItself, OnlyWeighed, Strategy, Task
from harness.types.samples import Check, Messages, Split

if TYPE_CHECKING:
    from harness.inference.models.embeddings import Unembedded


NAME = "chat template"
_SHOWN = 5
_MERGE, _BEGIN = 'declare Model(..., system="merge")', "begin with the user's"


@dataclass(frozen=True, slots=True)
class _Asked:
    """Prompts that one model is asked: those of a strategy for one split of a task."""

    strategy: Strategy
    task: Task
    split: Split


def model_checks(run: Run, *, baselines_only: bool = False) -> tuple[Check, ...]:
    """Return how each local model's chat template renders the prompts of every split, one check a model.

    Looked at once for each set of prompts, and kept in the store.

    Args:
        run: The run, of whose plan the models are.
        baselines_only: Leave out a model that no baseline asks: comparing endpoints needs no package that loads one.

    Raises:
        InvalidExperiment: Names the rows whose prompts the template refuses, or the tokens without an embedding.
    """
    models = {model_key(model): model for model, _ in _systems(run)}
    if baselines_only:
        asked = {model_key(system.model) for system in run.plan.baselines}
        models = {key: model for key, model in models.items() if key in asked}
    return tuple(_checked(run, key, model) for key, model in models.items())


def check_adapters(run: Run) -> None:
    """Raise InvalidExperiment where an adapter names modules that the model has not, before anything is measured.

    Only what is still to be trained is looked at.
    """
    for system in run.plan.tuned:
        if not _is_ours(system.model):
            continue
        assert isinstance(system.model, Model)
        for step in run.plan.steps(system, run.plan.experiment.seeds[0]):
            if isinstance(step.recipe, Trained) and run.store.stage(step.stage.key) is None:
                # Here: it brings torch and peft, which a run with nothing to train does without.
                from harness.training.preflight import check_places

                check_places(system.model, step.recipe, progress=run.progress)


def _systems(run: Run) -> Iterator[tuple[Model, tuple[_Asked, ...]]]:
    """Yield each local model with what it is asked."""
    plan, own = run.plan, run.plan.experiment.task
    for system in plan.baselines:
        if _is_ours(system.model):
            asked = [_Asked(system.strategy, own, split) for split in (Split.DEV, Split.HOLDOUT)]
            yield system.model, _rendered(asked)  # type: ignore[misc]
    for system in plan.tuned:
        if _is_ours(system.model):
            tasks = {id(task): task for task in (own, *plan.step_tasks(system), *plan.other_tasks)}.values()
            asked = [_Asked(system.strategy, task, split) for task in tasks for split in Split]
            yield system.model, _rendered(asked)  # type: ignore[misc]
    if _is_ours(plan.model):
        asked = [_Asked(plan.plain_prompt, guard.task, Split.HOLDOUT) for guard in plan.experiment.guards]
        yield plan.model, _rendered(asked)  # type: ignore[misc]


def _rendered(asked: Sequence[_Asked]) -> tuple[_Asked, ...]:
    return tuple(one for one in asked if not isinstance(one.task, AsksItself | OnlyWeighed))


def _is_ours(model: object) -> bool:
    return isinstance(model, Model) and model.engine in ENGINES.values()


def _checked(run: Run, key: str, model: Model) -> Check:
    found = [one for other, asked in _systems(run) if model_key(other) == key for one in asked]
    asked = {run.plan.contents.of_prompts(one.strategy, one.task, one.split): one for one in found}
    stage = Stage(
        key=fingerprint(["rendering", key, sorted(asked)]),
        kind="rendering",
        system=model.name,
        split=None,
        seed=0,
        task=run.plan.experiment.task.name,
    )
    stored = run.store.stage(stage.key)
    if stored is None:
        with run.lock(stage):
            stored = run.store.stage(stage.key)
            if stored is None:
                return _look(run, stage, model, list(asked.values()))
    assert stored.facts.check is not None
    return stored.facts.check


def _look(run: Run, stage: Stage, model: Model, asked: Sequence[_Asked]) -> Check:
    started, began = run.clock(), time.monotonic()
    with guarded(run, stage):
        check = _rendering(run, model, asked)
        spent = Spent(started, time.monotonic() - began)
        run.store.finish(stage_row(run, stage, spent, {**machine(), "check": to_json(check)}))
    return check


def _rendering(run: Run, model: Model, asked: Sequence[_Asked]) -> Check:
    # Here: the tokenizer brings transformers and torch, which a run with nothing to compute does without.
    from harness.inference.models.embeddings import unembedded_by_config
    from harness.inference.models.loading import load_tokenizer
    from harness.inference.models.rendering import prompt_text, template_refusal

    tokenizer = load_tokenizer(model, progress=run.progress)
    unknown = unembedded_by_config(model, tokenizer)
    prompts = [(one, *found) for one in asked for found in _prompts(one)]
    count = sum(stands_for for _, _, _, stands_for in prompts)
    systems = any(message.role == "system" for _, _, prompt, _ in prompts for message in prompt)
    refused = [
        f"{_row(one, name)} ({', '.join(message.role for message in prompt)}): {why}"
        for one, name, prompt, _ in prompts
        if (why := template_refusal(tokenizer, prompt)) is not None
    ]
    if refused:
        keeps = systems and model.system == "keep"
        more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise InvalidExperiment(
            f"the chat template of {model.name} refuses {len(refused):,} of {count:,} prompts: "
            f"{'; '.join(refused[:_SHOWN])}{more}. Join turns of one role that follow each other, "
            f"{_MERGE if keeps else _BEGIN}, or leave these rows out"
        )
    said = _said(model, systems=systems)
    if unknown is not None:
        for one, name, prompt, _ in prompts:
            _refuse_unknown(unknown, prompt_text(tokenizer, prompt), f"the prompt of {_row(one, name)}")
        for one in asked:
            for sample in one.task.samples(one.split):
                _refuse_unknown(unknown, sample.reference, f"the reference of {_row(one, sample.id)}")
        said.append(f"no prompt holds them, but {unknown.sentence}")
    for sentence in said:
        run.progress.say(f"{model.name}: {sentence}")
    what = f"{count:,} prompts of every split can be rendered" if tokenizer.chat_template else "it has none"
    detail = "; ".join([f"{model.name}: {what}", *said])
    return Check(name=NAME, status="ok" if unknown is None else "warning", detail=detail, kind="data")


def _row(asked: _Asked, name: str) -> str:
    return f"{asked.split.value} row {name} of {asked.task.name}"


def _refuse_unknown(unknown: "Unembedded", text: str, what: str) -> None:
    """Raise InvalidExperiment where a text holds a token that the model has no embedding for."""
    if used := unknown.used_in(text):
        raise InvalidExperiment(f"{what} holds {used!r}. {unknown.sentence}")


def _said(model: Model, *, systems: bool) -> list[str]:
    """Return in words what differs from the template as the model brings it."""
    found = rendering_of(model)
    if found is None:
        return []
    told = []
    if found.merges_system and systems:
        why = "" if model.system == "merge" else "its chat template knows no system message, so "
        told.append(f"{why}a system message is put before the first user message, in training and serving alike")
    if found.date is not None:
        told.append(
            f"its chat template writes today's date, and every prompt is rendered as on {found.date}; "
            'template_options={"date_string": ...} sets another day, and a saved model keeps it'
        )
    if found.options:
        options = ", ".join(f"{name}={value!r}" for name, value in found.options.items())
        told.append(f"rendered with {options} in training, evaluation and serving alike")
    return told


def _prompts(asked: _Asked) -> Iterator[tuple[str, Messages, int]]:
    """Yield (sample's id, prompt, how many samples it stands for).

    Every prompt of the plain strategy. Any other strategy adds the same turns to each prompt, unless the training rows
    that it adds differ in theirs: there one prompt stands for all of its turns.
    """
    samples = asked.task.samples(asked.split)
    if not samples:
        return
    prompter = bound(asked.strategy, asked.task)
    turns = [tuple(message.role for message in asked.task.prompt(sample)) for sample in samples]
    shots = {tuple(message.role for message in asked.task.prompt(one)) for one in asked.task.samples(Split.TRAIN)}
    if isinstance(asked.strategy, ZeroShot) or len(shots) > 1:
        yield from ((sample.id, prompter(sample), 1) for sample in samples)
        return
    first = {shape: place for place, shape in reversed(list(enumerate(turns)))}
    yield from ((samples[place].id, prompter(samples[place]), turns.count(shape)) for shape, place in first.items())
