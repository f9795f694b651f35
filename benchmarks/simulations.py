"""Is the verdict as sure as it says? Drawn experiments of known truth go through compare(), the criteria and decide().

`python -m benchmarks simulations` prints the table, keeps it in docs/measurements/simulations.json and puts it into
docs/measurements/statistics.md. SIMULATIONS sets the runs of a row.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.other_intervals import mcnemar_power, tango_interval, wald_interval
from benchmarks.simulated import Row, keep
from benchmarks.worlds import MACRO_F1, RIGHT, SECONDS, World, again, grouped, labelled, shares, skewed, system
from harness.experiment.criteria import Gain
from harness.experiment.decide import Verdict, decide
from harness.stats.compare import Comparison, SystemScores, compare
from harness.stats.intervals import Interval, paired_interval
from harness.stats.multiplicity import spent_alpha
from harness.stats.paired_tests import bonett_price_interval
from harness.stats.power import needed_samples
from harness.stats.sequences import asymptotic_sequence, betting_p
from harness.types.protocols import FloatArray, Named

RUNS = int(os.environ.get("SIMULATIONS", "2000"))

_SLOW = 10  # Rows that bootstrap 10,000 times a run have a tenth of the runs.

Pair = tuple[SystemScores, SystemScores]
Draw = Callable[[np.random.Generator], Pair]


def rows(runs: int = RUNS) -> Iterator[Row]:
    """Yield every row, the cheap ones first."""
    for part in (covered, paired_formulas, false_go, chosen_on_dev, many_looks, power, peeking):
        yield from part(runs)


def covered(runs: int) -> Iterator[Row]:
    """How often the interval of compare() holds the true difference, 0."""
    settings: list[tuple[str, Named, Draw]] = [
        *((f"right or wrong, n = {n}", RIGHT, World(samples=n).draw) for n in (30, 100, 250, 600)),
        ("right or wrong, n = 400, few discordant", RIGHT, World(samples=400, share=0.79, agreement=0.98).draw),
        ("right or wrong, 3 seeds, n = 100", RIGHT, World(samples=100, seeds=3).draw),
        ("right or wrong, 3 seeds that differ, n = 300", RIGHT, World(samples=300, seeds=3, seed_spread=0.03).draw),
        *((f"bounded scores, n = {n}", RIGHT, _of(shares, n)) for n in (30, 200)),
        *((f"log-normal seconds, n = {n}", SECONDS, _of(skewed, n)) for n in (25, 50, 300)),
        *((f"macro F1 of 4 labels, n = {n}", MACRO_F1, _of(labelled, n)) for n in (60, 200)),
        *((f"groups of 10: {g}", RIGHT, _groups([10] * g)) for g in (4, 12, 30)),
        ("12 groups, one of 100 and 11 of 5", RIGHT, _groups([100] + [5] * 11)),
        ("35 groups, 3 of 60 to 100 and 32 of 3", RIGHT, _groups([100, 60, 60] + [3] * 32)),
    ]
    for place, (setting, metric, draw) in enumerate(settings):
        often = runs // (1 if metric is RIGHT else _SLOW)
        held = _share(0.0 in Interval(one.low, one.high) for one in _compared(metric, draw, often, seed=place))
        yield Row(what="95 % interval holds the truth", setting=setting, share=held, runs=often, least=0.95)
    naive = _share(_naive_holds(*_groups([10] * 30)(generator)) for generator in _generators(runs, 11))
    setting = "the same 30 groups of 10, taken for 300 samples"
    yield Row(what="naive interval holds the truth", setting=setting, share=naive, runs=runs, most=0.85)
    strict = _compared(RIGHT, World(samples=250).draw, runs, seed=20, level=spent_alpha_level(3))
    held = _share(0.0 in Interval(one.low, one.high) for one in strict)
    setting = "right or wrong, n = 250, third look"
    yield Row(what="99.17 % interval holds the truth", setting=setting, share=held, runs=runs, least=0.9917)


def paired_formulas(runs: int) -> Iterator[Row]:
    """Wald, Bonett-Price and Tango for right-or-wrong scores where samples are few: the worst and the mean coverage."""
    cells = [
        (n, b, c) for n in (20, 50, 100) for b, c in ((0.02, 0.02), (0.02, 0.1), (0.05, 0.15), (0.2, 0.2), (0.1, 0.4))
    ]
    drawn = [np.random.default_rng(k).multinomial(n, [b, c, 1 - b - c], size=runs) for k, (n, b, c) in enumerate(cells)]
    for name, interval in _FORMULAS.items():
        shares_held = []
        for (n, b, c), table in zip(cells, drawn, strict=True):
            pairs, times = np.unique(table[:, :2], axis=0, return_counts=True)
            held = [(c - b) in interval(int(lost), int(gained), n) for lost, gained in pairs]
            shares_held.append(float(np.average(held, weights=times)))
        worst = cells[int(np.argmin(shares_held))]
        note = f"worst at n = {worst[0]}, {worst[1]:.0%} lost, {worst[2]:.0%} gained".replace("%", " %")
        setting = f"{name}: worst of {len(cells)} settings, mean {np.mean(shares_held):.1%}".replace("%", " %")
        yield Row(what="95 % formula", setting=f"{setting}; {note}", share=min(shares_held), runs=runs)


def false_go(runs: int) -> Iterator[Row]:
    """How often a tuned system that is no better, or just not better enough, gets GO."""
    settings: list[tuple[str, Named, Draw, float]] = [
        *((f"the same system twice, n = {n}", RIGHT, World(samples=n).draw, 0.0) for n in (50, 300)),
        ("the same system twice, 3 seeds that differ", RIGHT, World(samples=300, seeds=3, seed_spread=0.03).draw, 0.0),
        ("the same system twice, 8 groups", RIGHT, World(samples=160, groups=8).draw, 0.0),
        *(
            (f"the same system twice, {texts} inputs {copies} times each", RIGHT, _again(texts, copies), 0.0)
            for texts, copies in ((10, 20), (40, 5))
        ),
        ("macro F1, the same, 20 inputs 10 times each", MACRO_F1, _again(20, 10, labelled), 0.0),
        ("seconds, the same", SECONDS, _of(skewed, 100), 0.0),
        ("5 points better, 5 asked for, n = 500", RIGHT, World(samples=500, gain=0.05).draw, 0.05),
    ]
    for place, (setting, metric, draw, at_least) in enumerate(settings):
        often = runs // (1 if metric is RIGHT else _SLOW)
        found = _share(is_go(one, metric, at_least) for one in _compared(metric, draw, often, seed=40 + place))
        yield Row(what="false GO", setting=setting, share=found, runs=often, most=0.05)


def chosen_on_dev(runs: int, *, systems: int = 5, dev: int = 100, holdout: int = 300) -> Iterator[Row]:
    """The best of five equal baselines and of five equal recipes of three seeds, chosen on DEV, on HOLDOUT."""
    honest = cheating = 0
    for generator in _generators(runs, 60):
        world = World(samples=dev + holdout, seeds=systems, seed_spread=0.0)
        baselines = world.draw(generator)[1].scores  # five equal systems, (systems, n)
        luck = World(samples=dev + holdout, seeds=3 * systems, seed_spread=0.01).draw(generator)[1].scores
        recipes = luck.reshape(systems, 3, -1)
        best, chosen = baselines[:, :dev].mean(1).argmax(), recipes[:, :, :dev].mean((1, 2)).argmax()
        honest += _holdout_go(baselines[best, dev:], recipes[chosen, :, dev:])
        on_holdout = recipes[:, :, dev:].mean((1, 2)).argmax()
        worst = baselines[:, dev:].mean(1).argmin()
        cheating += _holdout_go(baselines[worst, dev:], recipes[on_holdout, :, dev:])
    setting = "best of 5 baselines, best of 5 recipes of 3 seeds"
    yield Row(what="false GO", setting=f"{setting}, chosen on DEV", share=honest / runs, runs=runs, most=0.05)
    setting = "best of 5 recipes against the weakest of 5 baselines, chosen on HOLDOUT"
    yield Row(what="false GO, the wrong way", setting=setting, share=cheating / runs, runs=runs)


def many_looks(runs: int, *, looks: int = 20) -> Iterator[Row]:
    """Twenty candidates that are no better, one after the other on one holdout."""
    few = runs // 4
    spent = full = 0
    for generator in _generators(few, 70):
        world = World(samples=250, seeds=looks)
        baseline, candidates = world.draw(generator)
        pairs = [(baseline, SystemScores("tuned", baseline.sample_ids, row[None])) for row in candidates.scores]
        full += any(is_go(_compare(RIGHT, pair), RIGHT, 0.0) for pair in pairs)
        spent += any(
            is_go(_compare(RIGHT, pair, level=spent_alpha_level(look)), RIGHT, 0.0)
            for look, pair in enumerate(pairs, 1)
        )
    setting = f"{looks} null candidates in a row on one holdout"
    yield Row(what="any false GO", setting=f"{setting}, alpha spent", share=spent / few, runs=few, most=0.05)
    yield Row(what="any false GO, the wrong way", setting=f"{setting}, each at 5 %", share=full / few, runs=few)


def power(runs: int) -> Iterator[Row]:
    """Does the needed n give GO in 80 % of runs, and the exact sum foretell McNemar's test?"""
    gain, spread = 0.06, _spread(World(samples=20_000, gain=0.06))
    n = needed_samples(gain, spread) or 0
    found = _compared(RIGHT, World(samples=n, gain=gain).draw, runs, seed=80)
    share = _share(is_go(one, RIGHT, 0.0) for one in found)
    setting = f"gain of 6 points, the {n} samples that 80 % needs"
    yield Row(what="GO", setting=setting, share=share, runs=runs, least=0.75, most=0.85)
    for n, lost, gained in ((150, 0.05, 0.15), (600, 0.04, 0.08)):
        drawn = np.random.default_rng(81).multinomial(n, [lost, gained, 1 - lost - gained], size=runs)
        share = _share(_compare(RIGHT, _table(int(b), int(c), n)).p_value <= 0.05 and c > b for b, c, _ in drawn)
        foretold = mcnemar_power(lost, gained, n, level=0.975, sides=1)
        setting = f"n = {n}, {lost:.0%} lost, {gained:.0%} gained; foretold {foretold:.1%}".replace("%", " %")
        limits = (foretold - 0.05, foretold + 0.05)
        yield Row(
            what="McNemar's exact test shows it",
            setting=setting,
            share=share,
            runs=runs,
            least=limits[0],
            most=limits[1],
        )


def peeking(runs: int, *, samples: int = 500) -> Iterator[Row]:
    """A look after every sample, on streams without a difference."""
    streams = max(runs, 2000)
    for discordant in (0.04, 0.2, 0.8):
        half = discordant / 2
        drawn = np.random.default_rng(90).choice(
            [-1.0, 0.0, 1.0], p=[half, 1 - discordant, half], size=(streams, samples)
        )
        wrong = _share(float(betting_p(row, planned=samples)[-1]) <= 0.05 for row in drawn)
        setting = f"betting, {discordant:.0%} discordant, {samples} looks".replace("%", " %")
        yield Row(what="0 is ever excluded", setting=setting, share=wrong, runs=streams, most=0.05)
    skew = np.random.default_rng(91).exponential(size=(streams, samples)) - 1
    bounds = (asymptotic_sequence(row, planned=samples) for row in skew)
    wrong = _share(bool(((bound.low > 0) | (bound.high < 0)).any()) for bound in bounds)
    setting = f"asymptotic, exponential differences, {samples} looks"
    yield Row(what="0 is ever excluded", setting=setting, share=wrong, runs=streams, most=0.05)
    setting = f"fixed-n t interval, 20 % discordant, looks from 30 to {samples}"
    drawn = np.random.default_rng(90).choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=(streams, samples))
    yield Row(what="0 is ever excluded, the wrong way", setting=setting, share=_peeked(drawn), runs=streams)


def study(*, dry: bool) -> None:
    keep(rows(), dry=dry)


def spent_alpha_level(look: int) -> float:
    return 1 - spent_alpha(look)


def _wald(lost: int, gained: int, n: int) -> Interval:
    return wald_interval(lost, gained, n)


def _bonett_price(lost: int, gained: int, n: int) -> Interval:
    return bonett_price_interval(np.repeat([-1.0, 1.0, 0.0], [lost, gained, n - lost - gained]))


_FORMULAS: dict[str, Callable[[int, int, int], Interval]] = {
    "Wald": _wald,
    "Bonett-Price": _bonett_price,
    "Tango": tango_interval,
}


def _generators(runs: int, seed: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng([seed, run]) for run in range(runs))


def _compared(metric: Named, draw: Draw, runs: int, *, seed: int, level: float = 0.95) -> Iterator[Comparison]:
    return (_compare(metric, draw(generator), level=level) for generator in _generators(runs, seed))


def _compare(metric: Named, pair: Pair, *, level: float = 0.95) -> Comparison:
    return compare(metric, split="holdout", baseline=pair[0], tuned=pair[1], level=level)


def is_go(comparison: Comparison, metric: Named, at_least: float) -> bool:
    """Tell whether the difference alone gives GO; how many samples would decide is not sought, which takes 40 ms."""
    measured = replace(comparison, projection=None)
    return decide([Gain(metric, at_least)], [], [measured], [], post_hoc=False).verdict is Verdict.GO


def _holdout_go(baseline: FloatArray, tuned: FloatArray) -> bool:
    return is_go(_compare(RIGHT, (system("baseline", baseline), system("tuned", tuned))), RIGHT, 0.0)


def _share(outcomes: Iterator[bool]) -> float:
    return float(np.mean(list(outcomes)))


def _of(draw: Callable[[np.random.Generator, int], Pair], samples: int) -> Draw:
    return lambda generator: draw(generator, samples)


def _again(texts: int, copies: int, draw: Callable[[np.random.Generator, int], Pair] | None = None) -> Draw:
    plain = World(samples=texts).draw if draw is None else _of(draw, texts)
    return lambda generator: again(plain(generator), copies)


def _groups(sizes: Sequence[int]) -> Draw:
    return lambda generator: grouped(generator, sizes)


def _naive_holds(baseline: SystemScores, tuned: SystemScores) -> bool:
    return 0.0 in paired_interval(tuned.scores[0] - baseline.scores[0])


def _spread(world: World) -> float:
    baseline, tuned = world.draw(np.random.default_rng(7))
    return float((tuned.scores[0] - baseline.scores[0]).std())


def _table(lost: int, gained: int, n: int) -> Pair:
    before = np.repeat([1.0, 0.0, 1.0], [lost, gained, n - lost - gained])
    return system("baseline", before), system("tuned", np.repeat([0.0, 1.0, 1.0], [lost, gained, n - lost - gained]))


def _peeked(drawn: FloatArray) -> float:
    """Return the share of streams whose running t interval, near enough normal, ever excludes 0."""
    k = np.arange(1, drawn.shape[1] + 1)
    means = drawn.cumsum(axis=1) / k
    errors = np.sqrt(np.maximum((drawn**2).cumsum(axis=1) / k - means**2, 1e-12) / k)
    return float((np.abs(means) > 1.96 * errors)[:, 29:].any(axis=1).mean())
