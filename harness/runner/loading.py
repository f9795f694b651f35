"""Stored rows -> answers, with values as the task reads them now."""

from collections.abc import Sequence
from typing import cast

from harness.errors import StageFailed
from harness.plan import choices_of
from harness.protocols import AsksItself, OnlyWeighed, Task
from harness.runner.context import Run, read_value
from harness.samples import Answer, Ended, Likelihood, Sample
from harness.store.rows import AnswerRow
from harness.systems import Stage


def load(run: Run, task: Task, stages: Sequence[Stage], samples: Sequence[Sample]) -> tuple[Answer, ...]:
    """Return stored answers with values as the task reads them now: editing a reader regenerates nothing."""
    if isinstance(task, OnlyWeighed):
        weighed = {name: found[0] for name, found in _likelihoods(run, task, stages[0]).items()}
        return tuple(Answer(sample_id=s.id, text="", likelihood=weighed[s.id]) for s in samples)
    rows = {row.sample_id: row for row in run.store.answers(stages[0].key)}
    missing = [sample.id for sample in samples if sample.id not in rows]
    if missing:
        run.store.forget([stages[0].key])
        raise StageFailed(
            f"{stages[0].label}: the engine gave no answer to {len(missing):,} of {len(samples):,} samples, first "
            f"{missing[0]!r}; mend the engine and run again: what it did answer is asked anew"
        )
    chosen_by = _likelihoods(run, task, stages[0])
    of_references = {name: found[0] for stage in stages[1:] for name, found in _likelihoods(run, task, stage).items()}
    answers = tuple(
        _answer(
            rows[sample.id],
            read_value(task, rows[sample.id].text, sample),
            likelihood=of_references.get(sample.id),
            likelihoods=chosen_by.get(sample.id, ()),
        )
        for sample in samples
    )
    changed = {answer.sample_id: answer.value for answer in answers if answer.value != rows[answer.sample_id].value}
    if changed:
        run.store.revalue(stages[0].key, changed)
    return answers


def _likelihoods(run: Run, task: Task, stage: Stage) -> dict[str, tuple[Likelihood, ...]]:
    """Return a stage's likelihoods by sample id, in the order of its choices; none where it wrote freely."""
    choices = choices_of(task)
    if stage.kind != "likelihood" and not choices and not isinstance(task, AsksItself):
        return {}
    places = {choice: place for place, choice in enumerate(choices)} | {"": 0}
    found: dict[str, dict[int, Likelihood]] = {}
    for row in run.store.likelihoods(stage.key):
        place = places[row.choice] if row.choice in places else int(row.choice)
        found.setdefault(row.sample_id, {})[place] = Likelihood(row.logprob, row.tokens, row.bytes, row.greedy)
    return {name: tuple(by_place[place] for place in sorted(by_place)) for name, by_place in found.items()}


def _answer(
    row: AnswerRow, value: object, *, likelihood: Likelihood | None, likelihoods: tuple[Likelihood, ...]
) -> Answer:
    return Answer(
        sample_id=row.sample_id,
        text=row.text,
        value=value,
        prompt=row.prompt,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        seconds=row.seconds,
        ended=cast(Ended, row.ended),
        reasoning=row.reasoning,
        likelihood=likelihood,
        likelihoods=likelihoods,
        timed_in_batch=row.timed_in_batch,
        lookup_seconds=row.lookup_seconds,
        retrieved=row.retrieved,
    )
