"""What answers: names of engines, and what a change of engine or tokenizer makes anew."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness import SFT, Endpoint, ExactMatch, Experiment, Gain, LoRA, Model, ZeroShot
from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.plan import Plan, model_key
from harness.runner.expected import expected_stages
from harness.types.jobs import System
from harness.types.model_files import content_key
from tasks.home_commands import HomeCommands


def planned(plan):
    """Return the stages of a plan that ask and train, those of checks upon them apart."""
    return [one.stage for one in expected_stages(plan) if one.stage.kind not in ("noise", "parity")]


def test_an_engine_is_named_or_given_as_a_path() -> None:
    assert Model("m").engine == Model("m", engine="transformers").engine == "harness.inference.local.engine:open_engine"
    assert Model("m", engine="vllm").engine == "harness.inference.vllm.engine:open_engine"
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


@pytest.mark.parametrize(
    ("dtype", "fact"),
    [
        *((few, 'fewer than 16 bits are no dtype; quantize="nf4" answers in 4 bits, and the adapter QLoRA()')
          for few in ("nf4", "int8", "4bit", "8-bit", "fp4", "NF4", "q4_k_m", "gptq")),
        ("fp16", 'is unknown; give "float16"'),
        ("half", 'is unknown; give "float16"'),
        ("bf16", 'is unknown; give "bfloat16"'),
        ("torch.bfloat16", 'is unknown; give "bfloat16"'),
        ("fp32", 'is unknown; give "float32"'),
        ("float64", 'is unknown; give "auto" or "bfloat16" or "float32" or "float16"'),
        (None, "is unknown; give"),
    ],
)  # fmt: skip
def test_a_dtype_that_is_none_is_refused_with_what_is_meant(dtype: str, fact: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        Model("m", dtype=dtype)  # type: ignore[arg-type]
    assert fact in str(refused.value)


def test_what_a_model_may_be_asked_for_is_checked_when_it_is_declared() -> None:
    for wrong, fact in [
        ({"quantize": "int8"}, 'is unknown; give "nf4"'),
        ({"quantize": "nf4", "engine": "vllm"}, 'answer with engine="transformers"'),
        ({"system": "drop"}, 'give "auto", "keep" or "merge"'),
        ({"template_options": [("a", 1)]}, "give names and values"),
        ({"template_options": {"not a name": 1}}, "'not a name' is no name of a variable"),
        ({"template_options": {"a": object()}}, "has no canonical form"),
        ({"template_options": {"a": float("nan")}}, "only finite numbers"),
    ]:
        with pytest.raises(InvalidExperiment) as refused:
            Model("m", **wrong)  # type: ignore[arg-type]
        assert fact in str(refused.value)


def test_options_are_a_mapping_that_is_hashed_by_its_content() -> None:
    one, other = (Model("m", template_options={"a": 1, "b": [2]}) for _ in range(2))
    assert one == other
    assert len({one, other, Model("m"), Model("m", template_options={})}) == 2
    assert one.template_options == {"a": 1, "b": [2]}


def test_only_what_changes_a_prompt_or_an_answer_changes_the_key(tiny_model: Path, tmp_path: Path) -> None:
    def key(folder: Path = tiny_model, **options: object) -> str:
        return model_key(Model(str(folder), **options))  # type: ignore[arg-type]

    def with_template(name: str, template: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(tiny_model, folder)
        (folder / "chat_template.jinja").write_text(template)
        return folder

    plain = fingerprint([content_key(Model(str(tiny_model))), "auto", False])  # as older stores have it
    assert plain == key() == key(template_options={}) == key(system="keep") == key(device="cpu")
    assert len({plain, key(quantize="nf4"), key(system="merge")}) == 3
    thinks = with_template("thinks", "{{ messages[0].content }}{% if enable_thinking %}<think>{% endif %}")
    options = [{}, {"enable_thinking": True}, {"enable_thinking": False}]
    assert len({key(thinks, template_options=option) for option in options}) == 3
    dated = with_template("dated", "{{ messages[0].content }}{{ strftime_now('%Y') }}")
    assert key(dated) != fingerprint([content_key(Model(str(dated))), "auto", False])
    assert key(dated) != key(dated, template_options={"date_string": "01 Jan 2030"})
    with pytest.raises(InvalidExperiment, match="reads no option 'thinking'; it reads enable_thinking"):
        key(thinks, template_options={"thinking": False})


def test_answers_in_4_bits_train_nothing_anew(tiny_model: Path) -> None:
    def keys(**options: object) -> dict[str, str]:
        experiment = Experiment(
            question="Do answers in 4 bits train anew?",
            task=HomeCommands(language="en"),
            model=Model(str(tiny_model), **options),  # type: ignore[arg-type]
            baselines=[ZeroShot()],
            recipes=[SFT(adapter=LoRA(rank=2))],
            metrics=[ExactMatch()],
            go_if=[Gain(ExactMatch(), at_least=0.05)],
        )
        return {one.stage.label: one.stage.key for one in expected_stages(Plan(experiment, "bits"))}

    whole, few = keys(), keys(quantize="nf4")
    other = {label.partition(" ")[0] for label in whole if whole[label] != few[label]}
    assert other == {"answer", "noise", "parity"}
