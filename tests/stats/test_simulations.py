"""Drawn experiments of known truth through the decision path; the larger runs are python -m benchmarks simulations."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import simulated
from benchmarks.simulated import Row, keep
from benchmarks.simulations import chosen_on_dev, is_go, many_looks, paired_formulas, power
from benchmarks.worlds import RIGHT, World, grouped, shares
from harness.experiment.criteria import AtLeast
from harness.stats.compare import Comparison, compare

RUNS = 200


def compared(world: World, run: int, *, seed: int = 1) -> Comparison:
    baseline, tuned = world.draw(np.random.default_rng([seed, run]))
    return compare(RIGHT, split="holdout", baseline=baseline, tuned=tuned)


def go(comparison: Comparison, at_least: float = 0.0) -> bool:
    return is_go(comparison, RIGHT, at_least)


@pytest.mark.parametrize(
    ("world", "at_least"),
    [
        (World(samples=60), 0.0),
        (World(samples=300), 0.0),
        (World(samples=200, seeds=3, seed_spread=0.03), 0.0),
        (World(samples=160, groups=8), 0.0),
        (World(samples=400, gain=0.05), 0.05),
    ],
)
def test_a_system_that_is_not_better_enough_seldom_gets_go(world: World, at_least: float) -> None:
    assert sum(go(compared(world, run), at_least) for run in range(RUNS)) / RUNS <= 0.05


@pytest.mark.parametrize(
    "world", [World(samples=30), World(samples=250), World(samples=300, seeds=3, seed_spread=0.03)]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(world: World) -> None:
    found = [compared(world, run, seed=2) for run in range(RUNS)]
    assert sum(one.low <= 0 <= one.high for one in found) / RUNS >= 0.92


def test_few_groups_uneven_groups_and_skewed_shares_are_held_too() -> None:
    draws = [
        lambda generator: grouped(generator, [10] * 4),
        lambda generator: grouped(generator, [60, 5, 5, 5, 5]),
        lambda generator: grouped(generator, [100, 60, 60] + [3] * 32),
        lambda generator: shares(generator, 30),
    ]
    for draw in draws:
        held = 0
        for run in range(RUNS // 2):
            baseline, tuned = draw(np.random.default_rng([3, run]))
            found = compare(RIGHT, split="holdout", baseline=baseline, tuned=tuned)
            held += found.low <= 0 <= found.high
        assert held / (RUNS // 2) >= 0.89


def test_the_own_mean_is_held_and_a_baseline_is_seldom_called_enough_that_is_not() -> None:
    held = enough = 0
    for run in range(RUNS):
        one = compared(World(samples=40, share=0.78), run, seed=4)
        held += one.tuned_low <= 0.78 <= one.tuned_high
        enough += AtLeast(RIGHT, 0.78).judge([one]).status == "met"
    assert held / RUNS >= 0.92
    assert enough / RUNS <= 0.05


def test_choosing_on_dev_costs_nothing_on_holdout_and_choosing_on_holdout_does() -> None:
    honest, cheating = chosen_on_dev(200)
    assert honest.share <= 0.05
    assert cheating.share > 2 * honest.share
    assert cheating.share > 0.1


def test_twenty_candidates_in_a_row_on_one_holdout_stay_within_alpha() -> None:
    spent, full = many_looks(120)
    assert spent.runs == 30
    assert spent.met
    assert spent.share <= 0.09
    assert full.share > 0.1


def test_the_power_is_as_predicted() -> None:
    assert [row.what for row in power(200) if not row.met] == []


def test_bonett_price_covers_where_wald_does_not() -> None:
    wald, bonett_price, tango = (row.share for row in paired_formulas(1500))
    assert wald < 0.91
    assert tango > 0.92
    assert bonett_price > 0.93


def test_a_row_says_whether_its_share_is_where_it_must_be() -> None:
    row = Row(what="false GO", setting="null", share=0.02, runs=1000, most=0.05)
    assert row.line == "| false GO | null | 2.0 % ± 0.9 % | at most 5.0 % | yes | 1,000 |"
    missed = Row(what="coverage", setting="null", share=0.90, runs=1000, least=0.95)
    assert (row.met, missed.met) == (True, False)
    assert missed.line == "| coverage | null | 90.0 % ± 1.9 % | at least 95.0 % | NO | 1,000 |"
    assert Row(what="w", setting="s", share=0.5, runs=100).line == "| w | s | 50.0 % ± 9.8 % | shown |  | 100 |"


def test_the_table_is_kept_and_put_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, kept = tmp_path / "statistics.md", tmp_path / "simulations.json"
    page.write_text("before\n<!-- simulations: begin -->\nold\n<!-- simulations: end -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(simulated, "PAGE", page)
    monkeypatch.setattr(simulated, "KEPT", kept)
    row = Row(what="false GO", setting="null", share=0.02, runs=1000, most=0.05)
    keep([row], dry=True)
    assert "old" in page.read_text(encoding="utf-8")
    keep([row], dry=False)
    assert page.read_text(encoding="utf-8") == (
        "before\n<!-- simulations: begin -->\n| share | of | found | must be | met | runs |\n"
        f"|---|---|---|---|---|---|\n{row.line}\n<!-- simulations: end -->\nafter\n"
    )
    assert Row(**json.loads(kept.read_text(encoding="utf-8"))["rows"][0]) == row
