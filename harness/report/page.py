"""Evidence -> the page of one experiment.

One example of each system's prompt, as really rendered, with its token count.
"""

from dataclasses import asdict, dataclass

from markupsafe import Markup

from harness.report.costs import all_tokens, serving_chart, spendings, training_cost
from harness.report.draw import heat_tables, ladder_view
from harness.report.insights import (
    TITLES,
    assurances,
    criterion_views,
    level_text,
    levels_note,
    paragraph,
    sections_of,
    slice_tables,
)
from harness.report.proof import proof, seal_tag, sealed
from harness.report.provenance import (
    check_groups,
    check_lines,
    environment_lines,
    history,
    holdout_looks,
    seeds,
    split_sizes,
    versions,
)
from harness.report.read import (
    DEV,
    HOLDOUT,
    chosen,
    declaration,
    difference_interval,
    insights_of,
    main_stages,
    mean_interval,
    primary_comparison,
    primary_metric,
    units_of,
)
from harness.report.samples import LABELS, sample_list
from harness.report.scoreboard import score_tables
from harness.report.templates import CHART_LIBRARIES, render
from harness.report.training import training_charts
from harness.store.rows import AnswerRow, Evidence, SystemRow
from harness.types.codec import to_json

_MOST_CHARACTERS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptExample:
    """tokens: of this prompt. shortest, longest: tokens over all of the system's prompts on the split."""

    system: str
    role: str
    description: str
    split: str
    sample_id: str
    prompt: str
    answer: str
    tokens: int
    tokens_out: int
    shortest: int
    longest: int
    cut_at: int | None


def prompt_examples(evidence: Evidence) -> tuple[PromptExample, ...]:
    """Return one example a system that answered: on the holdout if it was opened, else on DEV."""
    positions = {(row.split, row.sample_id): row.position for row in evidence.samples}
    found = (_example(evidence, system, positions) for system in evidence.systems)
    return tuple(example for example in found if example is not None)


def _example(evidence: Evidence, system: SystemRow, positions: dict[tuple[str, str], int]) -> PromptExample | None:
    for split in (HOLDOUT, DEV):
        answers = _answers(evidence, system.system, split)
        if not answers:
            continue
        first = min(answers, key=lambda answer: (positions.get((split, answer.sample_id), 0), answer.repeat))
        return PromptExample(
            system=system.system,
            role=system.role,
            description=system.description,
            split=split,
            sample_id=first.sample_id,
            prompt=first.prompt[:_MOST_CHARACTERS],
            answer=first.text[:_MOST_CHARACTERS],
            tokens=first.tokens_in,
            tokens_out=first.tokens_out,
            shortest=min(answer.tokens_in for answer in answers),
            longest=max(answer.tokens_in for answer in answers),
            cut_at=_MOST_CHARACTERS if len(first.prompt) > _MOST_CHARACTERS else None,
        )
    return None


def _answers(evidence: Evidence, system: str, split: str) -> list[AnswerRow]:
    keys = {row.stage_key for row in main_stages(evidence) if (row.system, row.split) == (system, split)}
    return [answer for answer in evidence.answers if answer.stage_key in keys]


def render_page(evidence: Evidence) -> str:
    """Return one self-contained HTML page: it opens from disk and asks no network for anything."""
    charts, spent = training_charts(evidence), spendings(evidence)
    stored = insights_of(evidence)
    page = render(
        "page.html",
        head_script="theme.js",
        scripts=(*CHART_LIBRARIES, "page.js", "charts.js"),
        experiment=evidence.experiment,
        decision=evidence.decision,
        verdict_title=TITLES.get(evidence.decision.verdict, evidence.decision.verdict),
        advice=paragraph(evidence),
        criteria=criterion_views(evidence),
        declared=declaration(evidence),
        baseline=chosen(evidence, "baseline"),
        tuned=chosen(evidence, "tuned"),
        primary=primary_comparison(evidence),
        primary_metric=primary_metric(evidence),
        units=units_of(evidence),
        verdict_titles=TITLES,
        outcome_labels=LABELS,
        mean_interval=mean_interval,
        difference_interval=difference_interval,
        score_tables=score_tables(evidence),
        insights=stored,
        insight_sections=sections_of(evidence),
        slice_tables=slice_tables(evidence),
        heat_tables=heat_tables(stored.continual),
        ladder_view=ladder_view(stored.ladder),
        level=level_text(evidence),
        levels_note=levels_note(evidence),
        comparisons=sorted(evidence.comparisons, key=lambda row: (row.split != "holdout", row.guard)),
        samples=sample_list(evidence),
        training=charts,
        chart_data={
            "training": [[asdict(panel) for panel in chart.panels] for chart in charts],
            "serving": serving_chart(evidence, spent),
            "curve": to_json(stored.curve),
            "sequential": to_json(stored.sequential),
        },
        prompts=prompt_examples(evidence),
        spendings=spent,
        priced=any(row.money is not None for row in spent),
        training_cost=training_cost(evidence),
        all_tokens=all_tokens(evidence),
        splits=split_sizes(evidence),
        checks=check_lines(evidence),
        check_groups=check_groups(evidence),
        readiness=[line for line in check_lines(evidence) if line.kind == "readiness"],
        assurances=assurances(evidence),
        environment=environment_lines(evidence),
        versions=versions(evidence),
        seeds=seeds(evidence),
        history=history(evidence),
        looks=holdout_looks(evidence),
        total_looks=len(evidence.looks),
        proof=to_json(proof(evidence)),
        seal_tag=Markup(seal_tag()),  # noqa: S704 - sixty-four zeros
    )
    return sealed(page)
