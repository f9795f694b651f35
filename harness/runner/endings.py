"""How each measured system's answers ended, and whether enough of the baseline's are answers to judge by."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Literal, TypeGuard

from harness.errors import HarnessError
from harness.insights.endings import MOST_MISSING, Endings, Reading, endings
from harness.models import Endpoint
from harness.protocols import AsksItself, BatchMetric, Executed, JudgedMetric, Metric, OnlyWeighed, PairMetric, Task
from harness.runner.answering import BySeed
from harness.runner.context import Run, read_value
from harness.runner.scoring import one_score
from harness.samples import Answer, Check, Sample, Split
from harness.systems import System

NAME = "how answers ended"


def endings_of(
    run: Run, by_seed: BySeed, split: Split, *, left_out: frozenset[str] = frozenset()
) -> tuple[Endings, ...]:
    """Return how one system's answers to the experiment's task ended; none where it writes no answers.

    left_out: ids of samples that the verdict leaves out.
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
        yield _check(found, "invalid" if bars else "warning" if found.too_many else "ok")
    for found in others:
        if found.too_many:
            yield _check(found, "warning")


def tuned_checks(found: Sequence[Endings]) -> Iterator[Check]:
    """Yield how the tuned system's answers ended: those that are none count as what they are, wrong."""
    for one in found:
        yield _check(one, "warning" if one.too_many else "ok")


def _check(found: Endings, status: Literal["ok", "warning", "invalid"]) -> Check:
    bars = f"; above {MOST_MISSING:.0%} a baseline is not measured" if status == "invalid" else ""
    return Check(
        name=NAME,
        status=status,
        detail=f"{found.sentence}{bars}{'; ' if found.remedy else ''}{found.remedy}",
        items=tuple(asdict(one) for one in found.examples),
    )


def _reading(run: Run, task: Task, system: System) -> Reading:
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

    return Reading(
        settled=settled,
        refusals=any(getattr(one, "judges_refusals", False) for one in (task, *metrics)),
        limit=run.plan.decoding(task).max_tokens,
        hosted=isinstance(system.model, Endpoint),
    )


def _reads_one(metric: object) -> TypeGuard[Metric | BatchMetric]:
    """Whether the metric scores a single answer, at once."""
    return isinstance(metric, Metric | BatchMetric) and not isinstance(metric, PairMetric | JudgedMetric | Executed)
