"""The local engine inside lm-eval, against lm-eval's own HF backend: sample by sample, on a two-layer model."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.api.model import CacheHook, CachingLM
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM

from harness.errors import InvalidExperiment
from harness.inference.lm_eval_model import HarnessLM, register

LAMPS = ("kitchen", "bedroom", "hall", "garden", "attic", "studio", "porch", "cellar")
CHOICES = ["on", "off", "dim the light", "厨房 的 灯", "close the blinds, please"]
LONG = "You are a helpful assistant. Answer with one word only. " * 60  # some 900 tokens; the context holds 512


def request(*arguments: object) -> Any:
    return SimpleNamespace(args=arguments, task_name=None)


@pytest.fixture(scope="module")
def ours(tiny_model: Path) -> HarnessLM:
    return HarnessLM(str(tiny_model), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def theirs(tiny_model: Path) -> HFLM:
    return HFLM(str(tiny_model), dtype="float32", device="cpu", batch_size=3)


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter whose every weight was moved."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config)
    for name, weights in model.named_parameters():
        if "lora" in name:
            weights.data += torch.randn_like(weights) * 0.2
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three tasks on one local data set: a choice, an answer up to a stop string, a perplexity."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {
            "question": f"What of the light in the {lamp}" + ("?" if place % 2 else ", and of the blinds?"),
            "choices": CHOICES,
            "answer": place % len(CHOICES),
            "text": f"Turn on the light in the {lamp}. " * (1 + 40 * (place == 3)),
        }
        for place, lamp in enumerate(LAMPS)
    ]
    for name in ("train", "test"):
        lines = rows[:4] if name == "train" else rows
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in lines), encoding="utf-8")
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {name: str(folder / f"{name}.jsonl") for name in ("train", "test")},
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "fewshot_split": "train",
        "doc_to_text": "Question: {{question}}\nAnswer:",
    }
    own = {
        "lamps_choice": {
            "output_type": "multiple_choice",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        },
        "lamps_answer": {
            "output_type": "generate_until",
            "doc_to_target": "{{choices[answer]}}",
            "generation_kwargs": {"until": ["e", "<|endoftext|>"], "max_gen_toks": 20, "do_sample": False},
            "metric_list": [{"metric": "exact_match"}],
        },
        "lamps_text": {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
        },
    }
    for name, task in own.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name} | common | task), encoding="utf-8")
    return folder


Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def evaluate(tasks: Path) -> Evaluate:
    manager = TaskManager(include_path=str(tasks), include_defaults=False)

    def run(model: Any, task: str, **options: object) -> dict[str, Any]:
        found = simple_evaluate(model, tasks=[task], task_manager=manager, bootstrap_iters=0, **options)
        assert found is not None
        return found

    return run


def same(ours: dict[str, Any], theirs: dict[str, Any], task: str) -> None:
    """Assert that both runs asked the same and got the same: answers, scores of a sample, scores of the set."""
    assert len(ours["samples"][task]) == len(LAMPS)
    for mine, other in zip(ours["samples"][task], theirs["samples"][task], strict=True):
        assert mine["arguments"] == other["arguments"]
        (values, greedy), (their_values, their_greedy) = (
            zip(*run["filtered_resps"], strict=True) for run in (mine, other)
        )
        assert values == pytest.approx(their_values, abs=1e-4)
        assert greedy == their_greedy
        for metric in mine["metrics"]:
            assert mine[metric] == pytest.approx(other[metric], abs=1e-4)
    scores = {name: value for name, value in theirs["results"][task].items() if isinstance(value, float)}
    assert {name: ours["results"][task][name] for name in scores} == pytest.approx(scores, rel=1e-5)


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat template"])
def test_choices_are_those_of_lm_eval(
    ours: HarnessLM, theirs: HFLM, evaluate: Evaluate, shots: int, chat: bool
) -> None:
    options = {"num_fewshot": shots, "apply_chat_template": chat, "fewshot_as_multiturn": chat and shots > 0}
    got, expected = (evaluate(model, "lamps_choice", **options) for model in (ours, theirs))
    same(got, expected, "lamps_choice")
    assert got["config"]["model_dtype"] == "float32"


@pytest.mark.parametrize("shots", [0, 2])
def test_generated_text_is_that_of_lm_eval(ours: HarnessLM, theirs: HFLM, evaluate: Evaluate, shots: int) -> None:
    got, expected = (evaluate(model, "lamps_answer", num_fewshot=shots) for model in (ours, theirs))
    texts, their_texts = ([sample["resps"] for sample in run["samples"]["lamps_answer"]] for run in (got, expected))
    assert texts == their_texts
    assert len({str(text) for text in texts}) > 1
    assert got["results"]["lamps_answer"] == expected["results"]["lamps_answer"]


@pytest.mark.parametrize("shots", [0, 2])
def test_perplexity_is_that_of_lm_eval(ours: HarnessLM, theirs: HFLM, evaluate: Evaluate, shots: int) -> None:
    got, expected = (evaluate(model, "lamps_text", num_fewshot=shots) for model in (ours, theirs))
    for mine, other in zip(got["samples"]["lamps_text"], expected["samples"]["lamps_text"], strict=True):
        # Relative, since a sum over a thousand tokens is past what float32 holds to 1e-4.
        assert mine["resps"][0] == pytest.approx(other["resps"][0], rel=1e-6)
    scores = {name: value for name, value in expected["results"]["lamps_text"].items() if isinstance(value, float)}
    assert len(scores) == 3
    assert {name: got["results"]["lamps_text"][name] for name in scores} == pytest.approx(scores, rel=1e-5)


def test_an_adapters_choices_are_those_of_lm_eval(
    tiny_model: Path, adapter: Path, ours: HarnessLM, evaluate: Evaluate
) -> None:
    tuned = HarnessLM(str(tiny_model), dtype="float32", device="cpu", peft=str(adapter))
    reference = HFLM(str(tiny_model), dtype="float32", device="cpu", peft=str(adapter), batch_size=3)
    got, expected = (evaluate(model, "lamps_choice", num_fewshot=2) for model in (tuned, reference))
    same(got, expected, "lamps_choice")
    base = evaluate(ours, "lamps_choice", num_fewshot=2)
    assert base["samples"]["lamps_choice"][0]["resps"] != got["samples"]["lamps_choice"][0]["resps"]


def test_requests_that_are_too_long_lose_their_beginning(ours: HarnessLM, theirs: HFLM) -> None:
    pairs = [request(LONG + end, answer) for end in ("Yes", "No") for answer in (" on", " off and on again")]
    scored, expected = (model.loglikelihood(pairs, disable_tqdm=True) for model in (ours, theirs))
    assert [value for value, _ in scored] == pytest.approx([value for value, _ in expected], abs=1e-4)
    prompts = [request(LONG + end, {"until": ["\n"], "max_gen_toks": 12}) for end in ("Yes", "No")]
    said, their_texts = (model.generate_until(prompts, disable_tqdm=True) for model in (ours, theirs))
    assert said == their_texts


def test_a_shorter_max_length_cuts_the_same_windows(tiny_model: Path) -> None:
    models = [
        make(str(tiny_model), dtype="float32", device="cpu", max_length=48, batch_size=2) for make in (HarnessLM, HFLM)
    ]
    texts = [request(LONG[:600]), request("Paris."), request("")]
    got, expected = (model.loglikelihood_rolling(texts, disable_tqdm=True) for model in models)
    assert got == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InvalidExperiment, match="max_length=4000: the model's context holds 512 tokens"):
        HarnessLM(str(tiny_model), max_length=4000)


@pytest.mark.parametrize("bos", [None, True, False])
def test_the_beginning_of_a_text_is_written_as_lm_eval_writes_it(tiny_model: Path, bos: bool | None) -> None:
    mine, other = (
        make(str(tiny_model), dtype="float32", device="cpu", add_bos_token=bos) for make in (HarnessLM, HFLM)
    )
    texts = ("Turn on the light", mine.tokenizer.bos_token + "user")
    assert [mine.tok_encode(text) for text in texts] == [other.tok_encode(text) for text in texts]
    pairs = [request("", "Paris"), request("Turn ", "on"), request(texts[1], " on")]
    scored, expected = (model.loglikelihood(pairs, disable_tqdm=True) for model in (mine, other))
    assert [value for value, _ in scored] == pytest.approx([value for value, _ in expected], abs=1e-4)
    for name in ("eot_token_id", "prefix_token_id", "max_length", "tokenizer_name"):
        assert getattr(mine, name) == getattr(other, name)
    assert mine.chat_template(True) == other.chat_template(True)


def test_stop_strings_cut_in_the_order_of_lm_eval(ours: HarnessLM, theirs: HFLM) -> None:
    prompts = [f"Turn on the light in the {lamp}" for lamp in LAMPS]
    plain = theirs.generate_until([request(p, {"until": [], "max_gen_toks": 16}) for p in prompts], disable_tqdm=True)
    for text in plain:
        stop = [text[5:7], text[4:8], "<|im_start|>"]
        asked = [request(prompt, {"until": list(stop), "max_gen_toks": 16}) for prompt in prompts]
        got, expected = (model.generate_until(asked, disable_tqdm=True) for model in (ours, theirs))
        assert got == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"do_sample": True, "temperature": 0.7}, "without sampling"),
        ({"do_sample": False, "num_beams": 4}, "without num_beams"),
        ({"max_gen_toks": 512}, "max_gen_toks=512 leaves no room"),
    ],
)
def test_what_is_not_greedy_is_refused(ours: HarnessLM, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidExperiment, match=message):
        ours.generate_until([request("Hello", arguments)], disable_tqdm=True)


def test_arguments_that_name_nothing_are_refused(tiny_model: Path) -> None:
    with pytest.raises(InvalidExperiment, match="dtype='half' is none of auto, bfloat16"):
        HarnessLM(str(tiny_model), dtype="half")
    with pytest.raises(InvalidExperiment, match="peft='absent' is no folder"):
        HarnessLM(str(tiny_model), peft="absent")


def test_a_kept_answer_is_not_computed_again(ours: HarnessLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {
        "loglikelihood": [request("Turn", " on"), request("", "Paris")],
        "loglikelihood_rolling": [request("Turn on the light")],
        "generate_until": [request("Turn", {"until": ["e"], "max_gen_toks": 4})],
    }
    keeping = CachingLM(ours, str(tmp_path / "answers.db"))
    computed = {name: getattr(keeping, name)(requests) for name, requests in asked.items()}
    ours.set_cache_hook(CacheHook(None))
    monkeypatch.setattr(ours, "engine", None)
    again = CachingLM(ours, str(tmp_path / "answers.db"))
    assert {name: getattr(again, name)(requests) for name, requests in asked.items()} == computed
    ours.set_cache_hook(CacheHook(None))


def test_registering_leaves_lm_evals_own_models_in_place() -> None:
    register()
    register()
    assert get_model("harness") is HarnessLM
    assert get_model("hf") is HFLM


def test_the_documented_call_scores_a_task(tiny_model: Path, tasks: Path) -> None:
    document = Path(__file__).parents[2] / "docs" / "how-to" / "lm-eval.md"
    block = re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)[-1]
    scope: dict[str, Any] = {}
    exec(block.replace("smollm2-135m-instruct", str(tiny_model)).replace("my_tasks", str(tasks)), scope)
    assert 0 <= scope["results"]["results"]["lamps_choice"]["acc,none"] <= 1


@pytest.mark.slow  # a process that imports all of lm-eval
def test_the_command_line_writes_lm_evals_results(
    tiny_model: Path, tasks: Path, tmp_path: Path, theirs: HFLM, evaluate: Evaluate
) -> None:
    command = ["-m", "harness.inference.lm_eval_model", "run", "--model", "harness", "--device", "cpu"]
    command += ["--model_args", f"pretrained={tiny_model},dtype=float32", "--tasks", "lamps_choice"]
    command += ["--include_path", str(tasks), "--output_path", str(tmp_path), "--log_samples", "--num_fewshot", "2"]
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(next(tmp_path.rglob("results_*.json")).read_text(encoding="utf-8"))
    expected = evaluate(theirs, "lamps_choice", num_fewshot=2)["results"]["lamps_choice"]
    assert found["config"]["model"] == "harness"
    assert found["config"]["harness"]["model"] == "tiny-llama"
    for metric in ("acc,none", "acc_norm,none"):
        assert found["results"]["lamps_choice"][metric] == pytest.approx(expected[metric])
