"""Learning from pairs: the losses are the papers', the reference is what training starts from, margins rise."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import StageFailed
from harness.fingerprint import file_sha256
from harness.inference.models.adapters import attach, is_adapter
from harness.inference.models.loading import load_model, load_tokenizer, model_of
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.recipes import DPO, ORPO, SFT, Bottleneck, Full, LoRA, PromptTuning, PTuningV2, QLoRA
from harness.training.preferences.dpo import fit, fit_orpo
from harness.training.preferences.pairs import PairRow, pair_parity, pair_rows
from harness.training.sft import fit as fit_sft
from harness.types.jobs import TuneJob, TuneResult
from harness.types.models import Model
from harness.types.samples import Message, Pair

Jobs = Callable[..., TuneJob]
# 24 pairs in one batch and one epoch: the first logged loss is that of the untrained model on all pairs.
_WHOLE = {"epochs": 1, "batch_size": 24, "learning_rate": 0.0}


def values(result: TuneResult, name: str) -> list[float]:
    return [point.value for point in result.log if point.name == name]


def statuses(result: TuneResult) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


def learned(result: TuneResult) -> list[tuple[int, str, float]]:
    """Return what does not depend on the machine's load."""
    return [(point.step, point.name, point.value) for point in result.log if point.name not in ("seconds", "memory")]


def logprobs(network: Any, tokenizer: Any, pairs: Sequence[Pair]) -> torch.Tensor:
    """Return the summed log-probability of each chosen and rejected answer with its end token, and their numbers of
    tokens, one row at a time: (pairs, 2, 2)."""
    found = []
    for pair in pairs:
        for text in (pair.chosen, pair.rejected):
            prompt, answer = prompt_ids(tokenizer, pair.prompt), answer_ids(tokenizer, text, end=True)
            with torch.no_grad():
                # From the end: virtual tokens have logits of their own in front.
                logits = network(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, -len(answer) - 1 : -1]
            each = logits.float().log_softmax(-1).gather(1, torch.tensor(answer)[:, None])
            found.append((float(each.sum()), float(len(answer))))
    return torch.tensor(found).view(-1, 2, 2)


@pytest.fixture
def untrained(preferring: Jobs, tiny: Model) -> torch.Tensor:
    return logprobs(load_model(tiny, dtype=torch.float32), load_tokenizer(tiny), preferring(DPO()).pairs)


@pytest.mark.parametrize(
    ("adapter", "loss", "rise"),
    [
        (LoRA(rank=8), "sigmoid", 1.0),
        (Full(), "sigmoid", 2.5),
        (QLoRA(rank=8), "sigmoid", 1.0),
        (LoRA(rank=8), "ipo", 1.0),
        (LoRA(rank=8), "simpo", 2.0),
        (LoRA(rank=8), "apo_zero", 1.0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_margin_rises_on_train_and_dev(preferring: Jobs, heard, adapter: Any, loss: Any, rise: float) -> None:
    recipe = DPO(adapter=adapter, loss=loss, epochs=4, learning_rate=5e-3, evaluate_every=4)
    result = fit(preferring(recipe), progress=heard)

    assert values(result, "reward_margin")[-1] - values(result, "reward_margin")[0] > rise
    assert values(result, "dev_reward_margin")[-1] > values(result, "dev_reward_margin")[0]
    assert values(result, "dev_reward_accuracy")[-1] == 1.0
    assert values(result, "dev_loss")[-1] < values(result, "dev_loss")[0]
    assert {name: status for name, status in statuses(result).items() if status != "ok"} == (
        {"served base": "warning"} if isinstance(adapter, QLoRA) else {}
    )
    assert result.environment["train_pairs"] == 24
    assert values(result, "tokens")[-1] == result.tokens > 0


@pytest.mark.parametrize(
    "adapter", [LoRA(), Full(), LoRA(init="pissa"), Bottleneck()], ids=lambda adapter: adapter.name
)
def test_the_first_loss_is_ln_2_since_the_policy_is_its_reference(preferring: Jobs, heard, adapter: Any) -> None:
    """Also where the adapter's start is taken out of the base, which switched off is no reference."""
    result = fit(preferring(DPO(adapter=adapter, epochs=1, learning_rate=1e-3, evaluate_every=3)), progress=heard)

    assert values(result, "loss")[0] == pytest.approx(math.log(2), abs=1e-5)
    assert values(result, "reward_margin")[0] == pytest.approx(0, abs=1e-5)


def sigmoid(margin: torch.Tensor) -> torch.Tensor:
    return -torch.nn.functional.logsigmoid(margin)


def test_the_loss_of_a_batch_is_the_papers(preferring: Jobs, heard, tiny: Model, tmp_path: Path) -> None:
    """A policy apart from its reference: all weights trained for a step, then weighed by hand on the dev pairs."""
    made = preferring(DPO(adapter=Full(), epochs=1, batch_size=24, learning_rate=1e-3, warmup=0))
    tokenizer, base = load_tokenizer(tiny), load_model(tiny, dtype=torch.float32)
    for loss, strength, formula in (
        ("sigmoid", 0.3, lambda ratio, _: sigmoid(0.3 * (ratio[:, 0] - ratio[:, 1]))),
        ("ipo", 0.3, lambda ratio, size: ((ratio / size)[:, 0] - (ratio / size)[:, 1] - 1 / 0.6) ** 2),
        ("hinge", 0.3, lambda ratio, _: (1 - 0.3 * (ratio[:, 0] - ratio[:, 1])).relu()),
    ):
        recipe = replace(made.recipe, loss=loss, beta=strength)  # type: ignore[type-var]
        result = fit(replace(made, recipe=recipe, folder=tmp_path / loss), progress=heard)
        tuned = model_of(result.folder, device=torch.device("cpu"), dtype=torch.float32)
        before, after = (logprobs(network, tokenizer, made.dev_pairs) for network in (base, tuned))
        expected = formula(after[..., 0] - before[..., 0], after[..., 1]).mean()
        assert values(result, "dev_loss")[-1] == pytest.approx(float(expected), abs=1e-4)


def test_simpo_compares_means_a_token_with_a_margin(preferring: Jobs, heard, untrained: torch.Tensor) -> None:
    result = fit(preferring(DPO(loss="simpo", beta=2.0, margin=0.5, **_WHOLE)), progress=heard)

    means = untrained[..., 0] / untrained[..., 1]
    assert values(result, "loss")[0] == pytest.approx(
        float(sigmoid(2 * (means[:, 0] - means[:, 1]) - 0.5).mean()), abs=1e-4
    )


def test_sft_weight_adds_the_chosen_answers_own_loss(preferring: Jobs, heard, untrained: torch.Tensor) -> None:
    own = float(-untrained[:, 0, 0].sum() / untrained[:, 0, 1].sum())

    mixed = fit(preferring(DPO(sft_weight=0.5, **_WHOLE)), progress=heard)

    assert values(mixed, "loss")[0] == pytest.approx(math.log(2) + 0.5 * own, abs=1e-4)


def test_orpo_is_the_chosen_answers_loss_and_the_odds(preferring: Jobs, heard, untrained: torch.Tensor) -> None:
    means = (untrained[..., 0] / untrained[..., 1]).double()
    odds = means - torch.log1p(-means.exp())
    own = -untrained[:, 0, 0].sum() / untrained[:, 0, 1].sum()
    expected = float(own + 0.2 * sigmoid(odds[:, 0] - odds[:, 1]).mean())

    result = fit_orpo(preferring(ORPO(beta=0.2, **_WHOLE)), progress=heard)

    assert values(result, "loss")[0] == pytest.approx(expected, abs=1e-4)


def test_orpo_raises_the_chosen_answer_and_its_odds(preferring: Jobs, heard) -> None:
    result = fit_orpo(
        preferring(ORPO(adapter=LoRA(rank=8), epochs=4, learning_rate=5e-3, evaluate_every=6)), progress=heard
    )

    assert values(result, "loss")[0] - values(result, "loss")[-1] > 3
    assert values(result, "dev_reward_margin")[-1] > values(result, "dev_reward_margin")[0]
    assert set(statuses(result).values()) == {"ok"}


@pytest.mark.parametrize(
    ("recipe", "fit_it"), [(DPO(), fit), (DPO(loss="simpo"), fit), (ORPO(), fit_orpo)], ids=["dpo", "simpo", "orpo"]
)
def test_micro_batches_learn_what_whole_batches_learn(
    preferring: Jobs, heard, tmp_path: Path, recipe: Any, fit_it: Any
) -> None:
    recipe = replace(recipe, epochs=1, learning_rate=5e-3, evaluate_every=3)
    whole = fit_it(preferring(recipe, folder=tmp_path / "a"), progress=heard)
    parts = fit_it(preferring(replace(recipe, micro_batch_size=4), folder=tmp_path / "b"), progress=heard)

    # ORPO's own loss is a mean over the tokens of what is in memory at once.
    assert values(parts, "loss") == pytest.approx(values(whole, "loss"), abs=0.1 if recipe.method == "orpo" else 1e-4)


@pytest.mark.parametrize("adapter", [PromptTuning(), PTuningV2()], ids=lambda adapter: adapter.name)
def test_virtual_tokens_learn_from_pairs_against_the_base(preferring: Jobs, heard, tiny: Model, adapter: Any) -> None:
    """They change the model before they are trained, so the first loss is not ln 2; the last is weighed by hand."""
    made = preferring(DPO(adapter=adapter, epochs=1, batch_size=24, learning_rate=5e-3, warmup=0))

    result = fit(made, progress=heard)

    tokenizer, base = load_tokenizer(tiny), load_model(tiny, dtype=torch.float32)
    before = logprobs(base, tokenizer, made.dev_pairs)
    ratio = (logprobs(attach(base, result.folder), tokenizer, made.dev_pairs) - before)[..., 0]
    assert values(result, "dev_loss")[-1] == pytest.approx(
        float(sigmoid(0.1 * (ratio[:, 0] - ratio[:, 1])).mean()), abs=1e-4
    )


@pytest.fixture
def taught(preferring: Jobs, heard, tmp_path: Path) -> TuneResult:
    recipe = SFT(adapter=LoRA(rank=4), epochs=3, learning_rate=1e-2, evaluate_every=9)
    return fit_sft(preferring(recipe, folder=tmp_path / "first"), progress=heard)


@pytest.mark.parametrize("adapter", [LoRA(rank=4), LoRA(rank=8), Full()], ids=["same", "other", "full"])
def test_after_an_earlier_step_the_reference_is_what_that_step_left(
    taught: TuneResult, preferring: Jobs, heard, tiny: Model, adapter: Any
) -> None:
    """Not the base, and for all weights not the model at the path in the config: one update, weighed by hand."""
    recipe = DPO(adapter=adapter, epochs=1, batch_size=24, learning_rate=2e-3, warmup=0)
    made = preferring(recipe, start=taught.folder)

    result = fit(made, progress=heard)

    assert values(result, "loss")[0] == pytest.approx(math.log(2), abs=1e-5)
    tokenizer = load_tokenizer(tiny)
    reference = attach(load_model(tiny, dtype=torch.float32), taught.folder)
    tuned = (
        attach(load_model(tiny, dtype=torch.float32), result.folder)
        if is_adapter(result.folder)
        else model_of(result.folder, device=torch.device("cpu"), dtype=torch.float32)
    )
    ratio = (logprobs(tuned, tokenizer, made.dev_pairs) - logprobs(reference, tokenizer, made.dev_pairs))[..., 0]
    assert values(result, "dev_loss")[-1] == pytest.approx(
        float(sigmoid(0.1 * (ratio[:, 0] - ratio[:, 1])).mean()), abs=1e-4
    )
    assert values(result, "dev_reward_margin")[-1] == pytest.approx(
        float(0.1 * (ratio[:, 0] - ratio[:, 1]).mean()), abs=1e-4
    )


def test_only_the_trained_adapter_is_saved_and_no_copy_for_reference(preferring: Jobs, heard) -> None:
    result = fit(preferring(DPO(adapter=LoRA(rank=4), epochs=1)), progress=heard)

    assert sorted(path.name for path in result.folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "harness.json",
    ]
    assert len(load_file(result.folder / "adapter_model.safetensors")) == 2 * 2 * 7


def test_a_run_that_is_cut_off_resumes_to_the_same_weights_and_log(preferring: Jobs, heard, tmp_path: Path) -> None:
    recipe = DPO(adapter=LoRA(rank=4), epochs=4, learning_rate=5e-3, evaluate_every=3)
    undisturbed = fit(preferring(recipe, folder=tmp_path / "a"), progress=heard)

    class Cut(type(heard)):  # type: ignore[misc]
        def advance(self, amount: int = 1, *, note: str = "") -> None:
            super().advance(amount, note=note)
            if len(self.notes) == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(preferring(recipe, folder=tmp_path / "b"), progress=Cut())
    resumed = fit(preferring(recipe, folder=tmp_path / "b"), progress=heard)

    assert resumed.environment["resumed_from"] == "checkpoint-6"
    assert file_sha256(resumed.folder / "adapter_model.safetensors") == file_sha256(
        undisturbed.folder / "adapter_model.safetensors"
    )
    assert learned(resumed) == learned(undisturbed)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("none", None),
        ("double BOS", "the prompt begins with a double BOS"),
        ("no generation prompt", "the generation prompt is missing"),
        ("lost token", "the prompt differs from the served one at token 4 of"),
        ("no end", "the end token is missing: the tuned model would never stop"),
    ],
)
def test_a_pair_that_is_rendered_wrongly_is_named(preferring: Jobs, tiny: Model, fault: str, said: str | None) -> None:
    """A template applied twice, or a prompt whose last tokens went to the answer, moves the split silently in TRL."""
    tokenizer, made = load_tokenizer(tiny), preferring(DPO())
    rows = pair_rows(tokenizer, made.pairs)
    prompt, answer = rows[5].rejected.prompt, rows[5].rejected.answer
    bare = tokenizer.apply_chat_template([{"role": "user", "content": made.pairs[5].prompt[0].content}], tokenize=False)
    planted = {
        "none": (prompt, answer),
        "double BOS": ((tokenizer.bos_token_id, *prompt), answer),
        "no generation prompt": (tuple(tokenizer(bare, add_special_tokens=False)["input_ids"]), answer),
        "lost token": ((*prompt[:3], *prompt[4:]), answer),
        "no end": (prompt, answer[:-1]),
    }[fault]
    both = (replace(rows[5].chosen, prompt=planted[0]), replace(rows[5].rejected, prompt=planted[0], answer=planted[1]))
    rows[5] = PairRow(*both)

    check = pair_parity(SimpleNamespace(tokenizer=tokenizer, ground=SimpleNamespace(model=tiny)), rows)  # type: ignore[arg-type]

    assert check.status == ("ok" if said is None else "invalid")
    assert {item["id"] for item in check.items} == (set() if said is None else {"t5"})
    assert said is None or check.items[-1]["fault"].startswith(said)


def test_a_learning_rate_of_zero_is_invalid_evidence(preferring: Jobs, heard) -> None:
    assert statuses(fit(preferring(DPO(**_WHOLE)), progress=heard))["adapter changes the model"] == "invalid"


def test_pairs_that_teach_nothing_or_do_not_fit_are_left_out_and_counted(preferring: Jobs, heard) -> None:
    made = preferring(DPO(epochs=1, max_length=60))
    asked = made.pairs[0].prompt
    extra = (
        Pair(id="same", prompt=asked, chosen="red", rejected="red"),
        Pair(id="long", prompt=(Message("user", "#" * 80),), chosen="red", rejected="blue"),
    )

    result = fit(replace(made, pairs=(*made.pairs, *extra)), progress=heard)

    checks = {check.name: check for check in result.checks}
    assert checks["pairs that differ"].detail == "1 of 26 pairs have two equal answers and were left out"
    assert (checks["train pairs that fit"].status, checks["train pairs that fit"].items) == ("warning", ("long",))
    assert result.environment["train_pairs"] == 24


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ((), r"dpo lora-r16: there is no pair to learn from; name a file of preference rows with pairs="),
        (
            (Pair(id="p", prompt=(Message("user", "?"),), chosen="a", rejected="a"),),
            "the two answers of all 1 pairs are equal",
        ),
    ],
)
def test_nothing_to_learn_from_is_said_with_the_way_out(preferring: Jobs, heard, pairs: Any, said: str) -> None:
    with pytest.raises(StageFailed, match=said):
        fit(preferring(DPO(), pairs=pairs), progress=heard)


def test_without_held_out_pairs_the_run_says_so(preferring: Jobs, heard) -> None:
    result = fit(preferring(DPO(epochs=1), dev_pairs=()), progress=heard)

    assert values(result, "dev_loss") == []
    assert statuses(result)["dev pairs that fit"] == "warning"
