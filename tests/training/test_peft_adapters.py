"""Every adapter that PEFT carries: trained on a tiny model, saved, loaded elsewhere, switched off, merged, served."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import StageFailed
from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.models.adapters import attach, merge, switched_off
from harness.inference.models.loading import load_model, load_tokenizer
from harness.inference.models.rendering import end_id, prompt_ids
from harness.recipes import (
    IA3,
    PEFT,
    SFT,
    AdaLoRA,
    Adapter,
    DoRA,
    LoRA,
    PrefixTuning,
    PromptTuning,
    PTuning,
    PTuningV2,
    QLoRA,
)
from harness.training import network
from harness.training.sft import fit
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.samples import Decoding, Message
from tests.conftest import Said
from tests.training.conftest import colours

# Linear layers of the tiny model, (in, out) of q, k, v, o, gate, up, down, in each of two layers.
SHAPES = [(64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64)] * 2
A_RANK = sum(ins + outs for ins, outs in SHAPES)
LAYERS, HIDDEN, KEYS = 2, 64, 32  # keys: width of a layer's keys, and of its values


@dataclass(frozen=True)
class Case:
    """rate: learning rate. fall: how much less the loss is at least after 18 steps. trained: parameters, in full."""

    adapter: Adapter
    rate: float
    fall: float
    trained: int


CASES = {
    case.adapter.name: case
    for case in (
        Case(LoRA(rank=8), 1e-2, 3, 8 * A_RANK),
        Case(LoRA(rank=8, rslora=True), 1e-2, 3, 8 * A_RANK),
        Case(DoRA(rank=8), 1e-2, 3, 8 * A_RANK + sum(outs for _, outs in SHAPES)),
        Case(LoRA(rank=8, init="pissa"), 1e-2, 3, 8 * A_RANK),
        Case(LoRA(rank=8, init="olora"), 1e-2, 3, 8 * A_RANK),
        Case(LoRA(rank=8, init="loftq"), 1e-2, 3, 8 * A_RANK),
        Case(LoRA(rank=8, init="eva"), 1e-2, 3, -1),  # as the data say
        Case(QLoRA(rank=8), 1e-2, 3, 8 * A_RANK),
        Case(AdaLoRA(rank=4, initial_rank=6), 1e-1, 1, 6 * A_RANK + 6 * len(SHAPES)),
        Case(IA3(), 1e-1, 2, LAYERS * (32 + 32 + 128)),
        Case(PromptTuning(tokens=8), 3e-1, 1, 8 * HIDDEN),
        Case(PTuning(tokens=8), 1e-2, 1, 8 * HIDDEN + 3 * (HIDDEN * HIDDEN + HIDDEN)),
        Case(
            PTuning(tokens=8, encoder="lstm", hidden=32),
            1e-2,
            0.5,
            # Both directions of two layers, with two biases each, then two linear layers.
            8 * HIDDEN
            + 2 * (4 * 32 * (HIDDEN + 32) + 8 * 32)
            + 2 * (4 * 32 * (2 * 32 + 32) + 8 * 32)
            + (64 * 64 + 64)
            + (64 * HIDDEN + HIDDEN),
        ),
        Case(
            PrefixTuning(tokens=8, hidden=128),
            1e-2,
            1,
            8 * KEYS + (KEYS * 128 + 128) + 128 * (2 * LAYERS * KEYS) + 2 * LAYERS * KEYS,
        ),
        Case(PTuningV2(tokens=8), 3e-1, 1, 8 * 2 * LAYERS * KEYS),
    )
}
# Trained on weights that are not served: see `served base` among the checks.
ON_FOUR_BITS = ("lora-r8-loftq", "qlora-r8")
PROMPTS = [(Message("user", text),) for text in ("red!!", "blue", "amber!!!! and green")]
IDS = torch.arange(3, 40)[None]


@dataclass(frozen=True)
class Trained:
    """result: of the run. logits: of `IDS` from the network in memory, before it was saved."""

    case: Case
    result: TuneResult
    logits: torch.Tensor


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Model:
    return Model(str(tiny_model), dtype="float32")


@pytest.fixture(scope="module")
def train(base: Model, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Return what trains an adapter by its name, once."""
    made: dict[str, Trained] = {}
    seen: list[torch.Tensor] = []
    save_adapter = network._save_adapter

    def noted(trained, folder, *, base):  # type: ignore[no-untyped-def]
        with torch.inference_mode():
            seen.append(trained.eval()(input_ids=IDS, use_cache=False).logits.clone())
        save_adapter(trained, folder, base=base)

    def trained(name: str) -> Trained:
        if name not in made:
            case = CASES[name]
            job = TuneJob(
                recipe=SFT(adapter=case.adapter, epochs=6, learning_rate=case.rate, evaluate_every=9),
                model=base,
                train=colours(24, prefix="t"),
                dev=colours(8, prefix="d"),
                seed=1,
                folder=tmp_path_factory.mktemp(name),
            )
            with pytest.MonkeyPatch.context() as patch:  # for this run only: others may share the process
                patch.setattr(network, "_save_adapter", noted)
                made[name] = Trained(case, fit(job, progress=Said()), seen.pop())  # type: ignore[arg-type]
        return made[name]

    return trained


@pytest.fixture(scope="module")
def engine(base: Model) -> LocalEngine:
    return open_engine(base, progress=Said())  # type: ignore[arg-type]


def losses(result: TuneResult, name: str = "loss") -> list[float]:
    return [point.value for point in result.log if point.name == name]


def logits_of(model) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """Return the logits of `IDS`; PEFT leaves those of virtual tokens in."""
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=IDS).logits[:, -IDS.shape[1] :]
    return logits


@pytest.mark.parametrize("name", CASES)
def test_the_loss_falls(train, name: str) -> None:
    trained = train(name)
    assert losses(trained.result)[0] - losses(trained.result)[-1] > trained.case.fall
    assert losses(trained.result, "dev_loss")[0] > losses(trained.result, "dev_loss")[-1]
    checks = {check.name: check.status for check in trained.result.checks}
    assert checks["adapter changes the model"] == "ok"
    assert checks["saved system answers as trained"] == "ok"


@pytest.mark.parametrize("name", [name for name in CASES if name != "lora-r8-eva"])
def test_as_many_parameters_are_trained_as_the_closed_form_says(train, name: str) -> None:
    assert train(name).result.trainable_parameters == train(name).case.trained


def test_eva_hands_out_the_same_ranks_otherwise(train) -> None:
    result = train("lora-r8-eva").result
    tensors = load_file(result.folder / "adapter_model.safetensors")
    ranks = {name: len(tensor) for name, tensor in tensors.items() if "lora_A" in name}
    assert sum(ranks.values()) == 8 * len(SHAPES)
    assert len(set(ranks.values())) > 1
    assert sum(tensor.numel() for tensor in tensors.values()) == result.trainable_parameters


@pytest.mark.parametrize("name", CASES)
def test_one_file_of_weights_is_left(train, name: str) -> None:
    folder = train(name).result.folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "harness.json",
    ]
    assert all(tensor.dtype == torch.float32 for tensor in load_file(folder / "adapter_model.safetensors").values())


_ELSEWHERE = """
import json, sys
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

asked = json.loads(sys.argv[1])
ids = load_file(asked["ids"])["ids"]
found = {}
for name, folder in asked["folders"].items():
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(asked["base"]), folder).eval()
    with torch.inference_mode():
        found[name] = tuned(input_ids=ids).logits[:, -ids.shape[1]:].contiguous()
save_file(found, asked["answer"])
"""


def test_each_adapter_has_the_trained_logits_in_a_fresh_process_without_the_harness(
    train, base: Model, tmp_path: Path
) -> None:
    exact = [name for name in CASES if name not in ON_FOUR_BITS]
    save_file({"ids": IDS}, tmp_path / "ids.safetensors")
    asked = {
        "ids": str(tmp_path / "ids.safetensors"),
        "base": base.source,
        "folders": {name: str(train(name).result.folder) for name in exact},
        "answer": str(tmp_path / "logits.safetensors"),
    }
    subprocess.run([sys.executable, "-c", _ELSEWHERE, json.dumps(asked)], check=True, capture_output=True)
    found = load_file(tmp_path / "logits.safetensors")
    for name in exact:
        torch.testing.assert_close(found[name], train(name).logits, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("name", CASES)
def test_switched_off_it_is_the_base_to_the_last_bit(train, base: Model, name: str) -> None:
    bare = load_model(base, dtype=torch.float32)
    before = logits_of(bare)
    adapted = attach(bare, train(name).result.folder)
    assert not torch.equal(logits_of(adapted), before)
    with switched_off(adapted):
        assert torch.equal(logits_of(adapted), before)


@pytest.mark.parametrize("name", CASES)
def test_merged_it_answers_as_before_or_says_why_it_cannot(train, base: Model, name: str) -> None:
    adapted = attach(load_model(base, dtype=torch.float32), train(name).result.folder)
    apart = logits_of(adapted)
    if not train(name).case.adapter.merges:
        with pytest.raises(StageFailed, match="cannot be merged: its virtual tokens are read by the model"):
            merge(adapted)
        return
    torch.testing.assert_close(logits_of(merge(adapted)), apart, rtol=0, atol=1e-4)


def greedy(model, tokenizer, prompt, count: int) -> str:  # type: ignore[no-untyped-def]
    """Return PEFT's own greedy answer, computed anew for each token, without padding and without a cache."""
    ids = torch.tensor([prompt_ids(tokenizer, prompt)])
    start = ids.shape[1]
    for _ in range(count):
        with torch.inference_mode():
            token = model(input_ids=ids).logits[0, -1].argmax()
        ids = torch.cat([ids, token.view(1, 1)], dim=1)
        if int(token) == end_id(tokenizer):
            break
    return str(tokenizer.decode(ids[0, start:], skip_special_tokens=True))


@pytest.mark.parametrize("name", CASES)
def test_served_in_a_batch_or_alone_it_gives_the_trained_answer(
    train, base: Model, engine: LocalEngine, name: str
) -> None:
    folder = train(name).result.folder
    adapted = attach(load_model(base, dtype=torch.float32), folder)
    expected = [greedy(adapted, load_tokenizer(base), prompt, 8) for prompt in PROMPTS]
    engine.use(folder)
    try:
        together = {
            place: answer.text
            for places, answers in engine.generate(PROMPTS, Decoding(max_tokens=8))
            for place, answer in zip(places, answers, strict=True)
        }
        alone = [next(iter(engine.generate([prompt], Decoding(max_tokens=8))))[1][0].text for prompt in PROMPTS]
    finally:
        engine.use(None)
    assert [together[place] for place in range(len(PROMPTS))] == expected
    assert alone == expected


TARGETS = ["q_proj", "v_proj"]
OTHERS = (
    (peft.VeraConfig(r=8, target_modules=TARGETS), 1e-1),
    (peft.OFTConfig(r=0, oft_block_size=8, target_modules=TARGETS), 1e-2),
    (peft.BOFTConfig(boft_block_size=4, target_modules=TARGETS), 1e-2),
    (peft.LoHaConfig(r=4, alpha=8, target_modules=TARGETS), 1e-1),
    (peft.LoKrConfig(r=4, alpha=8, target_modules=TARGETS), 1e-1),
    (peft.MissConfig(r=8, target_modules=TARGETS), 1e-2),
    (peft.LNTuningConfig(), 1e-1),
    (peft.HRAConfig(r=4, target_modules=TARGETS), 1e-2),
    (peft.OSFConfig(target_modules=TARGETS, effective_rank=8), 1e-2),
    (peft.RandLoraConfig(r=4, target_modules=TARGETS), 5e-3),
    (peft.ShiraConfig(r=4, target_modules=TARGETS), 1e-2),
    (peft.RoadConfig(group_size=16, target_modules="all-linear"), 1e-2),
)


@pytest.mark.parametrize(("config", "rate"), OTHERS, ids=lambda value: getattr(value, "peft_type", None))
def test_any_other_method_of_peft_trains_merges_and_switches_off(
    base: Model, tmp_path: Path, config: peft.PeftConfig, rate: float
) -> None:
    recipe = SFT(adapter=PEFT(config), epochs=2, learning_rate=rate, evaluate_every=6)
    job = TuneJob(recipe=recipe, model=base, train=colours(24, prefix="t"), dev=(), seed=1, folder=tmp_path)
    result = fit(job, progress=Said())  # type: ignore[arg-type]
    assert losses(result)[0] - losses(result)[-1] > 0.1
    assert {check.name: check.status for check in result.checks}["saved system answers as trained"] == "ok"

    bare = load_model(base, dtype=torch.float32)
    before = logits_of(bare)
    adapted = attach(bare, result.folder)
    tuned = logits_of(adapted)
    with switched_off(adapted):
        assert torch.equal(logits_of(adapted), before)
    torch.testing.assert_close(logits_of(merge(adapted)), tuned, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "adapter",
    [LoRA(rank=8, init="loftq"), PrefixTuning(tokens=4, hidden=16), PEFT(peft.LNTuningConfig())],
    ids=lambda adapter: adapter.name,
)
def test_on_a_bfloat16_base_the_saved_system_is_the_trained_one(base: Model, tmp_path: Path, adapter: Adapter) -> None:
    job = TuneJob(
        recipe=SFT(adapter=adapter, epochs=1, learning_rate=1e-2, evaluate_every=3),
        model=Model(base.source, dtype="bfloat16"),
        train=colours(24, prefix="t"),
        dev=(),
        seed=1,
        folder=tmp_path,
    )
    result = fit(job, progress=Said())  # type: ignore[arg-type]
    assert {check.name: check.status for check in result.checks}["saved system answers as trained"] == "ok"
    assert all(
        tensor.dtype == torch.float32 for tensor in load_file(result.folder / "adapter_model.safetensors").values()
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (peft.AdaptionPromptConfig(adapter_len=4, adapter_layers=2), "cannot be taken off the model again"),
        (peft.TrainableTokensConfig(token_indices=[1, 2]), "adapts the output head"),
        (peft.LoHaConfig(target_modules=["no_such"]), "its linear modules are down_proj, gate_proj"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_words(base: Model, tmp_path: Path, config, said: str) -> None:
    job = TuneJob(
        recipe=SFT(adapter=PEFT(config)), model=base, train=colours(8, prefix="t"), dev=(), seed=1, folder=tmp_path
    )
    with pytest.raises(StageFailed, match=said):
        fit(job, progress=Said())  # type: ignore[arg-type]
