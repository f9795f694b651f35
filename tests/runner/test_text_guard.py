"""General text as a guard: nothing is generated, its likelihood before and after tuning is compared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import SFT, Experiment, Full, Guard, Model, Perplexity, Split, TextTask
from harness.inference.models.loading import load_model, load_tokenizer
from harness.inference.scripted import ScriptedTuning
from harness.plan import Plan
from harness.runner.answers import answered_by_seed
from harness.runner.context import Engines, Run, SilentProgress
from harness.runner.run import run_plan
from harness.store.store import Store

Maker = Callable[..., Experiment]
TEXTS = (
    "The capital of France is Paris. The light in the kitchen is on.",
    "Turn on the light in the kitchen and close the blinds. " * 3,
    "You are a helpful assistant.",
)


def general(by_at_most: float) -> Guard:
    return Guard(TextTask("general", TEXTS, letters=80), Perplexity(), by_at_most=by_at_most)


def test_a_system_that_keeps_its_text_meets_the_guard(make_experiment: Maker, store: Store) -> None:
    outcome = run_plan(make_experiment(guards=[general(0.5)]), name="kept", store=store)

    assert outcome.decision.verdict.value == "GO"
    finding = next(found for found in outcome.decision.findings if found.metric == "general: perplexity")
    assert (finding.status, finding.value, finding.low, finding.high) == ("met", 0.0, 0.0, 0.0)
    kinds = store.query("SELECT kind, count(*) FROM stages WHERE split = 'holdout' GROUP BY kind ORDER BY kind")[1]
    assert kinds == [("answer", 2), ("likelihood", 2)]


def test_a_guard_with_perplexity_on_a_task_that_is_answered_weighs_its_references(
    make_experiment: Maker, store: Store, lamps: Any
) -> None:
    other = replace(lamps, name="other lamps", wording="Say the colour of")

    outcome = run_plan(make_experiment(guards=[Guard(other, Perplexity(), by_at_most=1.0)]), name="other", store=store)

    finding = next(found for found in outcome.decision.findings if found.metric == "other lamps: perplexity")
    assert finding.status == "met"
    # Nothing of it is known: exp(3) a word, before and after.
    assert finding.value == pytest.approx(0.0)


def test_the_perplexity_is_that_of_the_text_alone_and_forgetting_is_seen(
    make_experiment: Maker, store: Store, tiny_model: Path
) -> None:
    model = Model(str(tiny_model), dtype="float32")
    guard = general(0.5)
    experiment = replace(
        make_experiment(),
        model=model,
        recipes=[SFT(adapter=Full(), epochs=2, learning_rate=5e-3, batch_size=8)],
        guards=[guard],
    )
    work = Run(Plan(experiment, "tiny"), store, SilentProgress(), Engines(SilentProgress()))

    (untuned,) = answered_by_seed(work, work.plan.untuned, guard.task, Split.HOLDOUT)
    (tuned,) = answered_by_seed(work, work.plan.guarded(work.plan.tuned[0]), guard.task, Split.HOLDOUT)

    network, tokenizer = load_model(model, dtype=torch.float32), load_tokenizer(model)
    for sample, answer in zip(untuned.samples, untuned.answers, strict=True):
        ids = [tokenizer.bos_token_id, *tokenizer(sample.reference, add_special_tokens=False)["input_ids"]]
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([ids])).logits[0, :-1]
        nats = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum").item()
        assert answer.likelihood is not None
        assert answer.likelihood.tokens == len(ids) - 1
        assert -answer.likelihood.logprob == pytest.approx(nats, rel=1e-4)
    assert (untuned.stage.kind, untuned.answers[0].text) == ("likelihood", "")
    assert [a.likelihood for a in tuned.answers] != [a.likelihood for a in untuned.answers]


def test_several_recipes_are_compared_by_what_they_forget_on_the_guards_dev_part(
    make_experiment: Maker, store: Store
) -> None:
    recipes = [ScriptedTuning(name="weak", learn=0.3), ScriptedTuning(name="strong")]
    guard = Guard(TextTask("general", TEXTS, letters=80, dev=0.5), Perplexity(), by_at_most=0.5)
    run_plan(make_experiment(recipes=recipes, guards=[guard]), name="raced", store=store)

    (ladder,) = [row.content for row in store.evidence("raced").insights if row.kind == "ladder"]
    assert ladder["baseline"] == "zero-shot"
    assert [rung["system"] for rung in ladder["rungs"]] == ["strong", "weak"]
    assert [rung["gain"]["value"] > 0 for rung in ladder["rungs"]] == [True, True]
    forgot = [rung["forgot"] for rung in ladder["rungs"]]
    assert [(one["guard"], one["difference"]["value"]) for (one,) in forgot] == [("general: perplexity", 0.0)] * 2
    weighed = store.query(
        "SELECT system, split FROM stages WHERE kind = 'likelihood' AND experiment = 'raced' ORDER BY split, system"
    )[1]
    assert weighed == [
        ("strong", "dev"),
        ("untuned", "dev"),
        ("weak", "dev"),
        ("strong", "holdout"),
        ("untuned", "holdout"),
    ]
