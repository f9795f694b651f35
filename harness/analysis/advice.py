"""What to do next, drawn from the evidence alone: each sentence names the numbers it stands on.

Another recipe that gains as much and harms a guard less: what a race of recipes says beside its winner.
"""

import math
from collections.abc import Iterator, Mapping

from harness.analysis.break_even import Payback
from harness.analysis.collapse import COLLAPSED
from harness.analysis.decision_context import Moved, Situation
from harness.analysis.estimate import Estimate
from harness.analysis.learning_curve import LearningCurve
from harness.analysis.recipe_ranking import Ladder, Rung
from harness.analysis.retrieval_table import FourWay
from harness.data.leakage.audit import CONFLICTS, DUPLICATES, SIZES
from harness.experiment.criteria import Finding
from harness.stats.wording import (
    FRACTION,
    Counts,
    about,
    amount,
    change,
    count,
    difference_text,
    mean_text,
    p_text,
    rounded,
    span,
)
from harness.types.samples import Check, Split

_ROUNDING = 1e-9


def gentler(situation: Situation) -> Iterator[str]:
    """Yield, for each guard that is not kept, the recipe that harms it least among those as good on DEV.

    As good: of shares, its mean on DEV is worse by one sample at most; of other metrics, by nothing. Less: the whole
    interval of what it did to the guard lies on the better side of the chosen one's.
    """
    race = situation.insights.ladder
    chosen = next((rung for rung in race.rungs if rung.chosen), None) if race is not None else None
    if race is None or chosen is None:
        return
    rivals = [rung for rung in race.rungs if rung is not chosen and _as_good(race, rung, chosen)]
    for finding in (*situation.failing("failed"), *situation.failing("open")):
        mine = _harm(chosen, finding.metric)
        harms = [(rung, found) for rung in rivals if (found := _harm(rung, finding.metric)) is not None]
        lower = finding.good_side == "below"
        less = [
            (harm.value if lower else -harm.value, rung.system, rung, harm)
            for rung, harm in harms
            if mine is not None and (harm.high < mine.low if lower else harm.low > mine.high)
        ]
        if mine is not None and less:
            _, name, rung, harm = min(less, key=lambda one: one[:2])
            yield (
                f"Try {name} in place of {chosen.system}: on DEV its {race.metric} is {rung.mean.as_mean(race.unit)} "
                f"beside {chosen.mean.as_mean(race.unit)}, and it moves {finding.metric} by "
                f"{harm.as_difference(finding.unit)} in place of {mine.as_difference(finding.unit)}."
            )


def _as_good(race: Ladder, rung: Rung, chosen: Rung) -> bool:
    own, best = rung.mean.value, chosen.mean.value
    short = best - own if race.better == "higher" else own - best
    sample = 1 / max(1, race.samples) if race.unit == FRACTION else 0.0
    return short <= sample + _ROUNDING


def _harm(rung: Rung, guard: str) -> Estimate | None:
    return next((one.difference for one in rung.forgot if one.guard == guard), None)


# What is done about a finding of the data, by the name of its check.
_REMEDIES = {
    DUPLICATES: "Remove the repeated texts",
    CONFLICTS: "Settle the conflicting references",
    SIZES: "Collect more samples",
}
# From this share of the training data on, what is wrong with it may have moved the result.
_MUCH = 0.05
# Fewer answers than this share end at the token limit where all is well; more than that, the end is never reached.
_MOSTLY_ENDED, _NEVER_ENDS = 0.05, 0.5
_HURTS = 0.05  # of a q-value
_NAMED_SLICES = 2


def advise(situation: Situation) -> tuple[str, ...]:
    """Return the advice, the decision first: tune, keep prompting, use retrieval, combine, collect about n more
    examples, enlarge the holdout, mend the data, choose another base model. What went wrong in the making comes before
    it: a training that learned nothing, answers that are cut or all the same, a model that hardly does the task. What
    the evidence does not support is not said; evidence that cannot be trusted supports nothing but its repair.
    """
    if situation.verdict == "INVALID":
        return tuple(_repair(situation))
    decided = {"GO": _tune, "NO_GO": _keep, "INCONCLUSIVE": _undecided}[situation.verdict]
    return (*_faults(situation), *decided(situation), *_beyond(situation), *_weak_points(situation))


def _repair(situation: Situation) -> Iterator[str]:
    broken = [check for check in situation.checks if check.status == "invalid"]
    if not broken:
        yield "Decide nothing on this evidence: it cannot be trusted."
    for check in broken:
        verb = "Clean the data" if check.kind == "data" else "Repair this and run again"
        yield f"Decide nothing on this evidence. {verb}: {_ended(check.detail)}"


def _faults(situation: Situation) -> Iterator[str]:
    """Yield what is to be mended before the difference means much; nothing if nothing was tuned."""
    if situation.moved is None:
        return
    if situation.verdict != "GO":
        yield from _learned_nothing(situation)
    yield from _collapsed(situation)
    yield from _cut(situation)


def _learned_nothing(situation: Situation) -> Iterator[str]:
    fits = [fit for fit in situation.insights.fitting if fit.recipe == situation.tuned]
    if not fits or any(fit.kind != "nothing learned" for fit in fits):
        return
    fit = fits[0]
    rate, suggested = fit.learning_rate or None, fit.suggested_rate or None
    losses = f"dev loss {fit.first_dev:.3g} at the first evaluation, {fit.last_dev:.3g} at the last"
    from_rate = "" if rate is None else f" from {rate:.2g}"
    if suggested is not None and (rate is None or suggested > rate):
        way = f"raise learning_rate{from_rate} to about {suggested:.2g}"
    else:
        way = f"raise learning_rate{from_rate}, or train longer"
    yield f"Train again before deciding: {situation.tuned} learned nothing, its losses hardly moved ({losses}); {way}."


def _collapsed(situation: Situation) -> Iterator[str]:
    for check in situation.checks:
        if check.name == COLLAPSED and check.status == "warning":
            yield (
                f"Look at the answers before anything else: {_ended(check.detail)} A constant needs no model: balance "
                "the training answers, lower learning_rate, or train less."
            )


def _cut(situation: Situation) -> Iterator[str]:
    ended = [one for one in situation.insights.endings if one.system == situation.tuned]
    found = next((one for one in ended if one.split == Split.HOLDOUT.value), next(iter(ended), None))
    if found is None or found.cut <= _MOSTLY_ENDED * found.answers:
        return
    said = f"{found.cut:,} of {count(found.answers, 'answer')} of {situation.tuned} are cut at the token limit"
    if found.cut > _NEVER_ENDS * found.answers:
        yield (
            f"Mend how answers end: {said}, so that the end of the turn was not learned, or answer_tokens is too "
            f"small: see that training ends each answer with the end token, and {found.remedy}."
        )
    else:
        yield f"Mend how answers end: {said}, which counts as wrong: {found.remedy}."


def _tune(situation: Situation) -> Iterator[str]:
    moved, tuned = situation.moved, situation.tuned or "the tuned model"
    if moved is None:
        yield f"Tune: {tuned} meets every criterion."
    else:
        yield f"Tune: {tuned} in place of {situation.baseline} takes {moved.path}, {moved.shown}."
    if situation.insights.break_even is not None:
        yield from _paid_back(situation.insights.break_even)


def _paid_back(found: Payback) -> Iterator[str]:
    requests = found.requests
    if requests is None:
        return
    standing = found.quality.standing if found.quality is not None else None
    after = f"about {about(requests.value)} requests" if math.isfinite(requests.value) else "some number of requests"
    if standing == "worse":
        yield "Nothing is paid back by worse answers."
    elif math.isinf(requests.low):
        yield "It pays in quality only: a request costs no less than before, so what training cost never comes back."
    elif standing == "open":
        yield f"Training would be paid back after {after} if the answers are no worse, which is not shown."
    elif not requests.low:
        yield f"Training would be paid back after {after}; how sure that is was not measured, since batches were timed."
    elif math.isinf(requests.high):
        best = about(requests.low)
        yield f"It may never pay for itself, since the saving may be nothing: at best after {best} requests."
    else:
        ends = span(about(requests.low), about(requests.high))
        yield f"Training is paid back after about {about(requests.value)} requests{ends}."


def _keep(situation: Situation) -> Iterator[str]:
    kept = f"{'Use retrieval' if situation.baseline_retrieves else 'Keep prompting'}: {situation.baseline}"
    moved = situation.moved
    if moved is None:
        finding = next((one for one in situation.findings if one.status == "met"), None)
        reason = f": {finding.sentence}" if finding else "."
        yield f"{kept} is already enough, so nothing was tuned{reason}"
        return
    failed = situation.failing("failed")
    if failed and (failed[0].metric != moved.metric or failed[0].about == "mean"):
        yield f"{kept} stays, because tuning fails a criterion: {failed[0].sentence}"
        return
    if moved.near_the_floor:
        yield _other_model(moved)
    elif moved.improvement > 0:
        asked = f" of the {change(failed[0].threshold, unit=moved.unit)} asked for" if failed else ""
        yield f"{kept} is not beaten by enough, {moved.against}: a change of {moved.shown}{asked}."
    elif moved.improvement == 0:
        yield f"{kept} does as well without training, {moved.against}: tuning changes it by {moved.shown}."
    else:
        yield f"{kept} is the better answer, {moved.against}: tuning changes it by {moved.shown}."


def _undecided(situation: Situation) -> Iterator[str]:
    open_now = situation.failing("open")
    if situation.post_hoc and not open_now:
        shown = f": {situation.moved.metric} {situation.moved.shown}" if situation.moved else "."
        yield f"Confirm it on a fresh holdout, since the rule was changed after this one was opened{shown}."
        return
    noisy = _inside_noise(situation)
    if noisy:
        yield noisy
    needed = max((finding.needed_samples or 0 for finding in open_now), default=0)
    if needed and situation.moved is not None and situation.moved.near_the_floor:
        yield _other_model(situation.moved)
        yield f"About {count(needed, 'holdout sample')} would only decide how little it is."
    elif needed:
        yield _enlarge(situation, needed, open_now)
    elif open_now and not noisy:
        yield f"Decide nothing yet: {_ended(open_now[0].sentence)}"
    elif not open_now and not noisy:
        yield "Decide nothing yet: the holdout has not been opened."


def _other_model(moved: Moved) -> str:
    before, after = (rounded(mean, unit=moved.unit) for mean in (moved.baseline_mean, moved.tuned_mean))
    return (
        f"Try another base model first: {moved.metric} is {before} before tuning and {after} after, so that this one "
        "hardly does the task either way; else a teacher's answers to learn from, or an easier form of answer."
    )


def _enlarge(situation: Situation, needed: int, open_now: tuple[Finding, ...]) -> str:
    moved = situation.moved
    hardest = max(open_now, key=lambda finding: finding.needed_samples or 0)
    own = moved is not None and hardest.metric == moved.metric
    guard = "" if own else hardest.metric.rpartition(": ")[0]  # a guard's rule is about a holdout of its own
    of = f" of {guard}" if guard else ""
    has = f" in place of {moved.samples:,}" if moved and not guard else ""
    text, line = (mean_text, amount) if hardest.about == "mean" else (difference_text, change)
    shown = text(hardest.value, hardest.low, hardest.high, unit=hardest.unit)
    return (
        f"Enlarge the holdout{of} to about {count(needed, 'sample')}{has}: {hardest.metric} {shown} still spans "
        f"{line(hardest.threshold, unit=hardest.unit)}."
    )


def _inside_noise(situation: Situation) -> str:
    moved = situation.moved
    floor = next((one.floor for one in situation.insights.noise if moved and one.metric == moved.metric), 0.0)
    if moved is None or floor <= 0 or abs(moved.difference) > floor:
        return ""
    said = change(floor, unit=moved.unit, sign=False)
    return (
        f"Make the measurement steadier before anything else: {moved.metric} moved by {moved.shown}, and asking the "
        f"same system again moves it by up to {said}."
    )


def _beyond(situation: Situation) -> Iterator[str]:
    """Yield what the evidence says about the ways that were not taken."""
    yield from _combine(situation)
    yield from gentler(situation)
    if situation.verdict != "GO":
        yield from _more_examples(situation)
    yield from _hurts(situation)


def _combine(situation: Situation) -> Iterator[str]:
    table = situation.insights.four_way
    if table is None or situation.tuned_retrieves:
        return
    if _sure(table, table.added) and table.joined is not None and _sure(table, table.joined):
        yield (
            f"Combine tuning with retrieval: on DEV both together change {table.metric} by "
            f"{table.added.as_difference(table.unit)} against tuning alone, and by "
            f"{table.joined.as_difference(table.unit)} against retrieval alone."
        )
        return
    if situation.baseline_retrieves or not _sure(table, table.retrieval):
        return
    if situation.verdict != "GO" or abs(table.retrieval.value) >= abs(table.tuning.value):
        shown = table.retrieval.as_difference(table.unit)
        yield f"Use retrieval: on DEV it changes {table.metric} of the untuned model by {shown}, without training."


def _more_examples(situation: Situation) -> Iterator[str]:
    curve = situation.insights.curve
    if curve is None or curve.beats == "met" or curve.form == "none":
        return
    needed, doubling = curve.examples_to_margin, curve.doubling
    if needed is None or doubling is None:
        return
    has, goal, doubled = curve.points[-1].examples, _goal(curve), doubling.as_difference(curve.unit)
    if math.isinf(needed.low):
        yield (
            f"Choose another base model, or another recipe: more data of this kind does not bring it {goal} within "
            f"{curve.horizon:,} examples, and twice the data would bring {doubled}."
        )
    elif math.isinf(needed.value):
        yield (
            f"Don’t count on more examples: at best {about(needed.low)} bring it {goal}, and twice the data would "
            f"bring {doubled}."
        )
    elif needed.value > has:
        high = "an unknown number" if math.isinf(needed.high) else about(needed.high)
        yield (
            f"Collect about {about(needed.value - has)} more examples to the {has:,} there are: the learning curve "
            f"comes {goal} at about {about(needed.value)}{span(about(needed.low), high)}."
        )


def _goal(curve: LearningCurve) -> str:
    if not curve.at_least:
        return f"level with {curve.baseline}"
    size = change(curve.at_least, unit=curve.unit, sign=False)
    return f"{size} {'above' if curve.better == 'higher' else 'below'} {curve.baseline}"


def _hurts(situation: Situation) -> Iterator[str]:
    moved = situation.moved
    if moved is None:
        return
    found = [
        part
        for part in situation.slices
        if part.metric == moved.metric
        and part.q_value is not None
        and part.q_value <= _HURTS
        and (part.difference < 0) == (moved.better == "higher")
    ]
    for part in sorted(found, key=lambda part: part.q_value or 0.0)[:_NAMED_SLICES]:
        low, high = (-math.inf if part.low is None else part.low), (math.inf if part.high is None else part.high)
        shown = difference_text(part.difference, low, high, unit=moved.unit, of=Counts(part.samples))
        where = f"{part.dimension} {part.value}"
        yield f"Look at {where}, where tuning hurts: {moved.metric} {shown}, q{p_text(part.q_value or 0.0)[1:]}."


def _weak_points(situation: Situation) -> Iterator[str]:
    verbs = {"prompting tried": "Try more prompts", "retrieval tried": "Try retrieval"}
    for check in situation.checks:
        if check.status != "warning":
            continue
        if check.kind == "data" and _matters(situation, check):
            yield f"{_REMEDIES.get(check.name, 'Look at the data')}: {_ended(check.detail)}"
        elif check.kind == "readiness" and check.name in verbs:
            yield f"{verbs[check.name]}: {_ended(check.detail)}"


def _matters(situation: Situation, check: Check) -> bool:
    """Could what a check of the data found have moved the verdict: in the holdout, or in much of the training data?"""
    if check.name == SIZES:
        return situation.verdict == "NO_GO"
    pools = [pool for item in check.items for pool in _pools(item)]
    if not pools:  # what a check of another's own found is not counted by pools
        return situation.verdict != "GO"
    train = situation.samples.get("train", 0)
    return "holdout" in pools or (situation.verdict != "GO" and pools.count("train") >= _MUCH * train)


def _pools(item: object) -> Iterator[str]:
    """Yield the splits that an item of a check names."""
    if isinstance(item, Mapping):
        yield from (str(item[name]) for name in ("pool", "other_pool") if name in item)
        yield from (pool for name in item if name == "references" for part in item[name] for pool in _pools(part))


def _sure(table: FourWay, effect: Estimate) -> bool:
    """Is the whole interval an improvement?"""
    return effect.low > 0 if table.better == "higher" else effect.high < 0


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
