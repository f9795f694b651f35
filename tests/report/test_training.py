"""Training as the page tells it: which checkpoint was kept, and what the log says of the fit."""

from dataclasses import replace
from types import ModuleType

from harness.report.page import render_page
from harness.report.training import training_charts
from harness.store.rows import Evidence, InsightRow, TrainingLogRow

_NUMBERS = ("steps", "best_step", "first_dev", "best_dev", "last_dev", "train_at_best", "last_train", "spikes")
FIT = {"system": "sft", "seed": 1, "kind": "overfits", "advice": "-", **dict.fromkeys(_NUMBERS, 1)}


def logged(evidence: Evidence, key: str, **environment: object) -> Evidence:
    """Return the evidence with three evaluations of one tune stage, and more in its environment."""
    rows = [
        TrainingLogRow(stage_key=key, step=step, epoch=1.0, name=name, value=value)
        for name, values in (("loss", (3.0, 2.0, 1.0)), ("dev_loss", (2.5, 1.5, 1.75)))
        for step, value in zip((10, 20, 30), values, strict=True)
    ]
    stages = tuple(
        replace(stage, environment={**stage.environment, **environment}) if stage.key == key else stage
        for stage in evidence.stages
    )
    return replace(evidence, training_log=tuple(rows), stages=stages)


def a_tune_stage(evidence: Evidence) -> str:
    return next(one.stage_key for one in evidence.memberships if one.kind == "tune")


def test_what_the_log_says_of_the_fit_stands_with_its_run(made: ModuleType) -> None:
    evidence = made.go()
    key = a_tune_stage(evidence)
    said = {
        **FIT,
        "stage": key,
        "sentence": "sft, seed 1: it <b>overfits</b> after step 20.",
        "advice": "give fewer epochs",
    }
    told = replace(
        logged(evidence, key),
        insights=(InsightRow(experiment=evidence.experiment.name, kind="fitting", content=said),),
    )
    page = render_page(told)
    words = "sft, seed 1: it &lt;b&gt;overfits&lt;/b&gt; after step 20. For the next run: give fewer epochs."
    assert page.count(words) == 1
    assert "For the next run" not in render_page(evidence)


def test_the_checkpoint_that_a_metric_chose_is_the_one_that_is_shown(made: ModuleType) -> None:
    evidence = made.go()
    key = a_tune_stage(evidence)

    def kept(**environment: object) -> tuple[int | None, float | None]:
        charts = training_charts(logged(evidence, key, **environment))
        (run,) = [run for chart in charts for run in chart.runs if run.best_step is not None]
        return run.best_step, run.best_dev_loss

    assert kept(best_step=None) == (20, 1.5)
    assert kept(best_step=30) == (30, 1.75)


def test_of_a_method_that_learns_from_rewards_the_rewards_are_drawn(made: ModuleType) -> None:
    evidence = made.go()
    key = a_tune_stage(evidence)
    log = [
        TrainingLogRow(stage_key=key, step=step, epoch=1.0, name=name, value=value)
        for name, values in (("loss", (0.1, -0.1)), ("reward", (0.25, 0.5)), ("dev_reward", (0.75, 0.7)))
        for step, value in zip((10, 20), values, strict=True)
    ]
    rewarded = replace(evidence, training_log=tuple(log))
    (chart,) = [chart for chart in training_charts(rewarded) if chart.panels]

    (panel,) = chart.panels
    assert (panel.measure, panel.train) == ("reward", ((1, 10, 0.25), (1, 20, 0.5)))
    assert (panel.dev, panel.best) == (((1, 10, 0.75), (1, 20, 0.7)), ((1, 10, 0.75),))
    (run,) = [run for run in chart.runs if run.best_dev_reward is not None]
    assert (run.best_step, run.best_dev_reward, run.best_dev_loss) == (10, 0.75, None)
    assert "reward 0.75" in render_page(rewarded)


def test_what_was_watched_and_how_far_the_model_went_stand_below_the_loss(made: ModuleType) -> None:
    evidence = made.go()
    key = a_tune_stage(evidence)
    evidence = logged(evidence, key, watched="exact_match", best_step=30)
    more = [
        TrainingLogRow(stage_key=key, step=step, epoch=1.0, name=name, value=value)
        for name, values in (("dev_exact_match", (0.25, 0.5)), ("kl", (0.0, 0.125)), ("grad_norm", (1.0, 1.0)))
        for step, value in zip((20, 30), values, strict=True)
    ]
    told = replace(evidence, training_log=(*evidence.training_log, *more))
    (chart,) = [chart for chart in training_charts(told) if chart.panels]

    assert [panel.label for panel in chart.panels] == [
        "loss (nats a token)",
        "KL from the reference model",
        "exact_match (watched)",
    ]
    loss, kl, watched = chart.panels
    assert (loss.best, kl.train, kl.dev) == (((1, 30, 1.75),), ((1, 20, 0.0), (1, 30, 0.125)), ())
    assert (watched.train, watched.dev, watched.best) == ((), ((1, 20, 0.25), (1, 30, 0.5)), ((1, 30, 0.5),))
    assert "exact_match (watched)" in render_page(told)


def test_a_step_that_several_recipes_share_is_drawn_once_with_what_is_said_of_it(made: ModuleType) -> None:
    evidence = made.go()
    tuned = [one for one in evidence.memberships if one.kind == "tune"]
    others = [replace(one, system="sft, dpo", part="step 1 of 2 (warm-up)") for one in tuned]
    said = [
        InsightRow(
            experiment=evidence.experiment.name,
            kind="fitting",
            content={**FIT, "stage": tuned[0].stage_key, "system": system, "sentence": f"{system} overfits."},
        )
        for system in (tuned[0].system, "sft, dpo, step 1")
    ]
    (alone,) = training_charts(evidence)
    shared = replace(evidence, memberships=(*evidence.memberships, *others), insights=tuple(said))
    (chart,) = training_charts(shared)
    assert (chart.system, chart.also) == (alone.system, ("sft, dpo, step 1 of 2 (warm-up)",))
    assert len(chart.runs) == len(alone.runs)
    assert [run.fitting for run in chart.runs if run.fitting] == [f"{tuned[0].system} overfits."]
    page = render_page(shared)
    assert page.count("The same training is that of sft, dpo, step 1 of 2 (warm-up).") == 1
    assert "The same training is" not in render_page(evidence)
