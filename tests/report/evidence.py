"""Evidence of invented experiments, one function a verdict: what the report's tests draw."""

import math
from dataclasses import replace
from datetime import datetime, timedelta

from harness.store.rows import (
    AnswerRow,
    CheckRow,
    ComparisonRow,
    DecisionRow,
    Evidence,
    ExperimentRow,
    ExperimentStageRow,
    LookRow,
    SampleRow,
    ScoreRow,
    StageRow,
    SystemMeanRow,
    SystemRow,
    TrainingLogRow,
)

NAME = "home_commands"
START = datetime(2026, 11, 22, 1, 14)
BASELINES = ("zero-shot", "few-shot-8", "rag-8")
TUNED = "sft-lora-r16"
SEEDS = (1, 2, 3)
ROOMS = ("kitchen", "bedroom", "living room", "garage", "office")
INTENTS = ("turn_on", "turn_off", "set_brightness", "get_temperature")
HOSTILE = '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned = 1"><!-- \u2028 &amp;'

# In one line each: a line that begins with the assignment would make this file an experiment to pytest.
SOURCE = (
    '"""Can a tuned 135M model replace the few-shot prompt?"""\n\n'
    "from harness import RAG, SFT, ExactMatch, Experiment, FewShot, Gain, LoRA, ZeroShot\n\n"
    "experiment = Experiment(...)\n"
)


def go(*, samples: int = 24, hostile: bool = False) -> Evidence:
    """Three baselines against a recipe with three seeds, tuned clearly better."""
    evidence = _measured(samples, tuned_right=0.9, baseline_right=0.5, hostile=hostile)
    findings = [
        _finding("Gain(ExactMatch, at_least=0.05)", "ExactMatch", "met", (0.402, 0.331, 0.473), 0.05),
        _finding("NoWorse(SafetyRules, by_at_most=0.02)", "SafetyRules", "met", (0.004, -0.006, 0.014), -0.02),
        _finding("Guard(capitals, Accuracy)", "capitals: Accuracy", "met", (-0.004, -0.017, 0.009), -0.05),
    ]
    return _decided(evidence, "GO", "Every criterion is met on the holdout.", findings)


def no_go() -> Evidence:
    """A known negative: retrieval beats the tuned model."""
    evidence = _measured(24, tuned_right=0.4, baseline_right=0.8, baseline="rag-8")
    findings = [_finding("Gain(ExactMatch, at_least=0.05)", "ExactMatch", "failed", (-0.402, -0.473, -0.331), 0.05)]
    decided = _decided(evidence, "NO_GO", "The gain in ExactMatch is below +5.0 pts.", findings)
    return replace(decided, decision=replace(decided.decision, known_negative=True))


def inconclusive() -> Evidence:
    evidence = _measured(24, tuned_right=0.6, baseline_right=0.5)
    open_finding = _finding("Gain(ExactMatch, at_least=0.05)", "ExactMatch", "open", (0.06, -0.02, 0.14), 0.05)
    return _decided(evidence, "INCONCLUSIVE", "The interval spans +5.0 pts.", [open_finding | {"needed_samples": 1450}])


def stopped() -> Evidence:
    """NO_GO by stop_if: the baseline is enough, nothing was tuned, the holdout stayed shut."""
    evidence = _measured(24, tuned_right=0.9, baseline_right=0.95)
    kept = [row for row in evidence.systems if row.role == "baseline"]
    memberships = tuple(row for row in evidence.memberships if row.system != TUNED and row.split == "dev")
    keys = {row.stage_key for row in memberships}
    trimmed = replace(
        evidence,
        systems=tuple(kept),
        memberships=memberships,
        stages=tuple(row for row in evidence.stages if row.key in keys),
        answers=tuple(row for row in evidence.answers if row.stage_key in keys),
        scores=tuple(row for row in evidence.scores if row.stage_key in keys),
        training_log=(),
        comparisons=(),
        system_means=tuple(row for row in evidence.system_means if row.split == "dev" and row.system != TUNED),
        looks=(),
    )
    finding = _finding("AtLeast(ExactMatch, 0.9)", "ExactMatch", "met", (0.95, 0.92, 0.98), 0.9)
    return _decided(trimmed, "NO_GO", "stop_if: few-shot-8 already reaches 90.0 % on DEV.", [finding])


def invalid() -> Evidence:
    """Leakage found by the audit: nothing was measured."""
    evidence = stopped()
    leak = CheckRow(
        experiment=NAME,
        position=9,
        name="leakage train to holdout",
        status="invalid",
        detail="1 holdout sample equals a train sample.",
        items=[["train-7", "holdout-3"]],
        kind="data",
    )
    bare = replace(
        evidence, stages=(), memberships=(), answers=(), scores=(), system_means=(), checks=(*evidence.checks, leak)
    )
    bare = replace(bare, systems=tuple(replace(row, chosen=False) for row in bare.systems))
    return _decided(bare, "INVALID", "Leakage: 1 holdout sample is also in train.", [])


def _decided(evidence: Evidence, verdict: str, reason: str, findings: list[dict[str, object]]) -> Evidence:
    decision = replace(evidence.decision, verdict=verdict, reason=reason, findings=findings)
    return replace(evidence, decision=decision, decisions=(decision,))


def post_hoc(evidence: Evidence) -> Evidence:
    """The same evidence, judged again after its rule changed."""
    later = replace(
        evidence.decision,
        decided_at=evidence.decision.decided_at + timedelta(hours=2),
        criteria_key="b" * 64,
        post_hoc=True,
    )
    return replace(evidence, decision=later, decisions=(*evidence.decisions, later))


def _finding(
    criterion: str, metric: str, status: str, value: tuple[float, float, float], threshold: float
) -> dict[str, object]:
    middle, low, high = value
    return {
        "criterion": criterion,
        "metric": metric,
        "status": status,
        "value": middle,
        "low": low,
        "high": high,
        "threshold": threshold,
        "sentence": f"{metric}: the interval [{low:+.3f}, {high:+.3f}] stands against {threshold:+.3f}.",
        "needed_samples": None,
    }


def _measured(
    samples: int, *, tuned_right: float, baseline_right: float, baseline: str = "few-shot-8", hostile: bool = False
) -> Evidence:
    rows = _samples(samples)
    runs = [
        (name, 0, split) for name in BASELINES for split in ("dev", "holdout") if split == "dev" or name == baseline
    ]
    runs += [(TUNED, seed, split) for seed in SEEDS for split in ("dev", "holdout")]
    answers: list[AnswerRow] = []
    scores: list[ScoreRow] = []
    for system, seed, split in runs:
        share = tuned_right if system == TUNED else baseline_right
        for sample in (row for row in rows if row.split == split):
            right = _chance(system, seed, sample.sample_id) < share
            answers.append(_answer(sample, system, seed, right=right))
            scores.append(_score(sample, system, seed, right=right))
    if hostile:
        answers = [replace(row, text=HOSTILE) if "sft" in row.stage_key else row for row in answers]
    return Evidence(
        experiment=_experiment(),
        decision=_decision(),
        decisions=(),
        systems=_systems(baseline),
        stages=_stages(runs),
        memberships=_memberships(runs),
        samples=rows,
        answers=tuple(answers),
        scores=tuple(scores),
        training_log=_training_log(),
        comparisons=_comparisons(baseline, tuned_right, baseline_right, samples),
        system_means=_means(baseline, tuned_right, baseline_right, samples),
        checks=_checks(),
        looks=_looks(baseline),
    )


def _experiment() -> ExperimentRow:
    return ExperimentRow(
        name=NAME,
        question="Should we tune SmolLM2-135M for home commands, or keep prompting it?",
        declaration={
            "file": f"experiments/{NAME}.py",
            "source": SOURCE,
            "task": "home_commands",
            "model": "smollm2-135m-instruct",
            "go_if": ["ExactMatch gains at least 5.0 pts", "SafetyRules is no worse by more than 2.0 pts"],
            "stop_if": [],
            "seeds": list(SEEDS),
            "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0"},
            "command": f"pytest experiments/{NAME}.py",
        },
        criteria_key="a" * 64,
        created_at=START,
    )


def _decision() -> DecisionRow:
    return DecisionRow(
        experiment=NAME,
        decided_at=START + timedelta(minutes=9),
        verdict="GO",
        reason="",
        findings=[],
        criteria_key="a" * 64,
        post_hoc=False,
        known_negative=False,
    )


def _systems(chosen: str) -> tuple[SystemRow, ...]:
    about = {
        "zero-shot": "ZeroShot()",
        "few-shot-8": "FewShot(shots=8)",
        "rag-8": "RAG(passages=8)",
        TUNED: "SFT(adapter=LoRA(rank=16), epochs=2)",
    }
    return tuple(
        SystemRow(
            experiment=NAME,
            system=name,
            role="tuned" if name == TUNED else "baseline",
            model="smollm2-135m-instruct",
            description=text,
            chosen=name in (chosen, TUNED),
            price_in=0.15 if name == "few-shot-8" else None,
            price_out=0.6 if name == "few-shot-8" else None,
            retrieves=name == "rag-8",
        )
        for name, text in about.items()
    )


def _samples(count: int) -> tuple[SampleRow, ...]:
    rows = []
    for split, size in (("dev", max(4, count // 2)), ("holdout", count)):
        for place in range(size):
            room, intent = ROOMS[place % len(ROOMS)], INTENTS[place % len(INTENTS)]
            rows.append(
                SampleRow(
                    experiment=NAME,
                    split=split,
                    sample_id=f"{split}-{place}",
                    position=place,
                    input=f"please {intent.replace('_', ' ')} the light in the {room}, request {place}",
                    reference=f'{{"intent": "{intent}", "slots": {{"area": "{room}"}}}}',
                    expected={"intent": intent},
                    cluster=f"template-{place % 7}",
                    tags={"intent": intent, "area": room},
                )
            )
    return tuple(rows)


def _key(kind: str, system: str, seed: int, split: str | None) -> str:
    return f"{kind}-{system}-{seed}-{split}"


def _stages(runs: list[tuple[str, int, str]]) -> tuple[StageRow, ...]:
    facts = {"device": "cpu", "dtype": "bfloat16", "threads": 2}
    rows = [_stage("answer", system, seed, split, facts, seconds=14.2) for system, seed, split in runs]
    trained = facts | {"trainable_parameters": 4_884_480, "total_parameters": 139_400_064}
    rows += [_stage("tune", TUNED, seed, None, trained, seconds=141.0 + seed) for seed in SEEDS]
    return tuple(rows)


def _stage(
    kind: str, system: str, seed: int, split: str | None, facts: dict[str, object], *, seconds: float
) -> StageRow:
    return StageRow(
        key=_key(kind, system, seed, split),
        experiment=NAME,
        kind=kind,
        system=system,
        split=split,
        seed=seed,
        started_at=START,
        seconds=seconds,
        tokens_in=61_440 if kind == "tune" else 4_000,
        tokens_out=0 if kind == "tune" else 600,
        environment=facts,
        artifact="artifacts/x" if kind == "tune" else None,
    )


def _memberships(runs: list[tuple[str, int, str]]) -> tuple[ExperimentStageRow, ...]:
    every = [("answer", system, seed, split) for system, seed, split in runs]
    tunes: list[tuple[str, str, int, str | None]] = [("tune", TUNED, seed, None) for seed in SEEDS]
    return tuple(
        ExperimentStageRow(
            experiment=NAME,
            stage_key=_key(kind, system, seed, split),
            system=system,
            kind=kind,
            split=split,
            seed=seed,
        )
        for kind, system, seed, split in [*every, *tunes]
    )


def _answer(sample: SampleRow, system: str, seed: int, *, right: bool) -> AnswerRow:
    wrong = sample.reference.replace('"intent": "', '"intent": "un').replace("room", "hall")
    return AnswerRow(
        stage_key=_key("answer", system, seed, sample.split),
        sample_id=sample.sample_id,
        repeat=0,
        prompt=f"<|im_start|>user\n{sample.input}<|im_end|>\n<|im_start|>assistant\n",
        text=sample.reference if right else wrong,
        value=None,
        tokens_in=40 + 200 * (system in ("few-shot-8", "rag-8")) + sample.position % 5,
        tokens_out=24,
        seconds=0.05,
    )


def _score(sample: SampleRow, system: str, seed: int, *, right: bool) -> ScoreRow:
    return ScoreRow(
        stage_key=_key("answer", system, seed, sample.split),
        sample_id=sample.sample_id,
        repeat=0,
        metric="ExactMatch",
        score=float(right),
        error=None,
        detail=None,
        experiment=NAME,
        system=system,
        split=sample.split,
        seed=seed,
    )


def _training_log() -> tuple[TrainingLogRow, ...]:
    rows = []
    for seed in SEEDS:
        key = _key("tune", TUNED, seed, None)
        for step in range(1, 121):
            loss = 0.25 + 2.2 * math.exp(-step / 22) + 0.08 * math.sin(step * 1.7 + seed)
            rows.append(_log(key, step, "loss", loss))
            if step % 20 == 0:
                rows.append(_log(key, step, "dev_loss", 0.42 + 1.4 * math.exp(-step / 25) + (step - 80) ** 2 / 60_000))
    return tuple(rows)


def _log(key: str, step: int, name: str, value: float) -> TrainingLogRow:
    return TrainingLogRow(stage_key=key, step=step, epoch=step / 60, name=name, value=value)


def _comparisons(baseline: str, tuned: float, before: float, samples: int) -> tuple[ComparisonRow, ...]:
    gain = tuned - before
    return (
        _comparison("ExactMatch", "holdout", baseline, (before, tuned, gain, gain - 0.07, gain + 0.07), samples),
        _comparison("SafetyRules", "holdout", baseline, (0.99, 0.994, 0.004, -0.006, 0.014), samples),
        _comparison("Perplexity", "holdout", baseline, (3.41, 1.32, -2.09, -2.4, -1.78), samples, better="lower"),
        _comparison("capitals: Accuracy", "holdout", baseline, (0.842, 0.838, -0.004, -0.017, 0.009), 200),
        _comparison("ExactMatch", "dev", baseline, (before, tuned, gain, gain - 0.1, gain + 0.1), samples // 2),
    )


def _comparison(
    metric: str,
    split: str,
    baseline: str,
    numbers: tuple[float, float, float, float, float],
    samples: int,
    better: str = "higher",
) -> ComparisonRow:
    before, after, difference, low, high = numbers
    return ComparisonRow(
        experiment=NAME,
        metric=metric,
        split=split,
        baseline=baseline,
        tuned=TUNED,
        better=better,
        baseline_mean=before,
        tuned_mean=after,
        tuned_low=after - 0.05,
        tuned_high=after + 0.05,
        difference=difference,
        low=low,
        high=high,
        p_value=0.0004,
        samples=samples,
        seeds=len(SEEDS),
        method="clustered paired t, 7 groups",
        guard=":" in metric,
    )


def _means(baseline: str, tuned: float, before: float, samples: int) -> tuple[SystemMeanRow, ...]:
    rows = []
    for place, system in enumerate((*BASELINES, TUNED)):
        mean = tuned if system == TUNED else before if system == baseline else before * (0.3 + 0.25 * place)
        splits = ("dev", "holdout") if system in (baseline, TUNED) else ("dev",)
        for split in splits:
            rows.append(_mean(system, split, "ExactMatch", (mean, mean - 0.05, mean + 0.05), samples))
            rows.append(_mean(system, split, "SafetyRules", (0.99, 0.97, 1.0), samples))
            perplexity = 1.32 if system == TUNED else 3.41 + place
            bounds = (perplexity, perplexity - 0.2, perplexity + 0.2)
            rows.append(_mean(system, split, "Perplexity", bounds, samples, better="lower"))
    return tuple(rows)


def _mean(
    system: str, split: str, metric: str, numbers: tuple[float, float, float], samples: int, better: str = "higher"
) -> SystemMeanRow:
    mean, low, high = numbers
    return SystemMeanRow(
        experiment=NAME,
        system=system,
        split=split,
        metric=metric,
        better=better,
        mean=mean,
        low=low,
        high=high,
        samples=samples,
    )


def _checks() -> tuple[CheckRow, ...]:
    lines = (
        ("equal ids across splits", "ok", "No id is in two splits.", []),
        ("near-duplicate text", "warning", "2 train pairs are near-duplicates.", [["train-3", "train-91"], ["a", "b"]]),
        ("served prompt equals training prompt", "ok", "Token ids are equal on 400 examples.", []),
        ("adapter changes the model", "ok", "The largest logit change is 7.3.", []),
    )
    return tuple(
        CheckRow(experiment=NAME, position=place, name=name, status=status, detail=detail, items=items)
        for place, (name, status, detail, items) in enumerate(lines)
    )


def _looks(baseline: str) -> tuple[LookRow, ...]:
    return tuple(
        LookRow(
            holdout_key="h" * 64,
            experiment=NAME,
            system=system,
            stage_key=_key("answer", system, seed, "holdout"),
            criteria_key="a" * 64,
            looked_at=START + timedelta(minutes=8),
        )
        for system, seed in [(baseline, 0), *((TUNED, seed) for seed in SEEDS)]
    )


def _chance(system: str, seed: int, sample_id: str) -> float:
    """A fixed number in [0, 1): the same rows in every process."""
    return sum(ord(letter) * (place + 3) for place, letter in enumerate(f"{sample_id}{system}{seed}")) % 97 / 97
