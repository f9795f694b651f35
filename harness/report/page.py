"""Evidence -> the page of one experiment."""

from dataclasses import asdict

from markupsafe import Markup

from harness.report.advice import TITLES, paragraph
from harness.report.assurances import assurances
from harness.report.columns import seal_tag, sealed
from harness.report.criteria import criterion_views
from harness.report.heat import heat_tables
from harness.report.insights import insights_of, level_text, levels_note, sections_of, slice_tables
from harness.report.numbers import difference_interval, mean_interval, units_of
from harness.report.outcomes import LABELS
from harness.report.prompts import prompt_examples
from harness.report.proof import proof
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
from harness.report.reading import (
    chosen,
    declaration,
    is_guard,
    primary_comparison,
    primary_metric,
)
from harness.report.rungs import ladder_view
from harness.report.samples import sample_list
from harness.report.scoreboard import score_tables
from harness.report.spending import all_tokens, serving_chart, spendings, training_cost
from harness.report.templating import CHART_LIBRARIES, render
from harness.report.training import training_charts
from harness.store.rows import Evidence


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
        heat_tables=heat_tables(stored["continual"]),
        ladder_view=ladder_view(stored["ladder"]),
        level=level_text(evidence),
        levels_note=levels_note(evidence),
        comparisons=sorted(evidence.comparisons, key=lambda row: (row.split != "holdout", is_guard(row.metric))),
        samples=sample_list(evidence),
        training=charts,
        chart_data={
            "training": [[asdict(panel) for panel in chart.panels] for chart in charts],
            "serving": serving_chart(evidence, spent),
            "curve": stored.get("curve"),
            "sequential": stored.get("sequential"),
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
        proof=proof(evidence),
        seal_tag=Markup(seal_tag()),  # noqa: S704 - sixty-four zeros
    )
    return sealed(page)
