"""What answers: names of engines, and what a change of engine or tokenizer makes anew."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import SFT, Endpoint, ExactMatch, Experiment, Gain, LoRA, Model, ZeroShot
from harness.errors import InvalidExperiment
from harness.plan import Plan, model_key
from harness.runner.expected import expected_stages
from harness.systems import System
from tasks.home_commands import HomeCommands


def planned(plan):
    """Return the stages of a plan that ask and train, those of checks upon them apart."""
    return [one.stage for one in expected_stages(plan) if one.stage.kind not in ("noise", "parity")]


def test_an_engine_is_named_or_given_as_a_path() -> None:
    assert Model("m").engine == Model("m", engine="transformers").engine == "harness.engine.local:open_engine"
    assert Model("m", engine="vllm").engine == "harness.engine.vllm:open_engine"
    assert Model("m", engine="mine.engine:open").engine == "mine.engine:open"
    with pytest.raises(InvalidExperiment, match=r"engine='vlm' is unknown; use 'transformers' or 'vllm'"):
        Model("m", engine="vlm")


def test_another_engine_answers_anew_and_trains_nothing_anew(tiny_model: Path) -> None:
    def keys(engine: str) -> dict[str, str]:
        experiment = Experiment(
            question="Does another engine train anew?",
            task=HomeCommands(language="en"),
            model=Model(str(tiny_model), engine=engine),
            baselines=[ZeroShot()],
            recipes=[SFT(adapter=LoRA(rank=2))],
            metrics=[ExactMatch()],
            go_if=[Gain(ExactMatch(), at_least=0.05)],
        )
        return {stage.label: stage.key for stage in planned(Plan(experiment, "engines"))}

    ours, theirs = keys("transformers"), keys("vllm")
    same = {label.partition(" ")[0] for label in ours if ours[label] == theirs[label]}
    other = {label.partition(" ")[0] for label in ours if ours[label] != theirs[label]}
    assert (same, other) == ({"audit", "tune"}, {"answer"})


def test_a_tokenizer_brings_an_endpoints_likelihoods_and_a_key_of_its_own(tiny_model: Path) -> None:
    plain = Endpoint("http://127.0.0.1:9/v1", "m")
    known = replace(plain, tokenizer=str(tiny_model))
    assert known.tokenizer == Model(str(tiny_model))
    assert model_key(plain) != model_key(known)
    assert model_key(plain) == model_key(replace(plain, tokens_per_minute=100.0, requests_per_minute=1.0))
    systems = [System("zero", "baseline", ZeroShot(), model) for model in (plain, known)]
    assert [system.gives_likelihoods for system in systems] == [False, True]


def test_what_the_page_on_engines_declares_is_valid() -> None:
    page = Path(__file__).parents[1] / "docs" / "engines.md"
    scope: dict[str, object] = {}
    for source in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(source, scope)
    assert isinstance(scope["large"], Endpoint)
    assert scope["model"] == Model("smollm2-135m-instruct", engine="vllm")
