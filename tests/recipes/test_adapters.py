"""Adapters as declarations: names, keys, and what is refused."""

from collections.abc import Callable
from itertools import combinations

import peft
import pytest

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
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

DIFFERENT: tuple[Adapter, ...] = (
    LoRA(),
    LoRA(rank=8),
    LoRA(alpha=16),
    LoRA(dropout=0.1),
    LoRA(targets=("q_proj",)),
    LoRA(rslora=True),
    LoRA(rslora=True, alpha=32),
    DoRA(),
    *(LoRA(init=init) for init in ("pissa", "olora", "loftq", "eva")),  # type: ignore[arg-type]
    QLoRA(),
    AdaLoRA(),
    AdaLoRA(rank=4),
    AdaLoRA(initial_rank=16),
    AdaLoRA(alpha=12),
    AdaLoRA(warm=0.2),
    AdaLoRA(settled=0.4),
    AdaLoRA(every=5),
    AdaLoRA(orthogonality=0.1),
    AdaLoRA(targets=("v_proj",)),
    IA3(),
    IA3(targets=("k_proj", "down_proj")),
    IA3(targets=("k_proj", "down_proj"), feedforward=("down_proj",)),
    PromptTuning(),
    PromptTuning(tokens=10),
    PromptTuning(text="Name the colour."),
    PromptTuning(text="Name the next colour."),
    PromptTuning(text=None),
    PTuning(),
    PTuning(encoder="lstm"),
    PTuning(hidden=64),
    PrefixTuning(),
    PrefixTuning(hidden=64),
    PTuningV2(),
    PTuningV2(tokens=10),
    PEFT(peft.LNTuningConfig()),
    PEFT(peft.LoHaConfig(r=4)),
    PEFT(peft.LoHaConfig(r=4, target_modules=["q_proj", "v_proj"])),
)


def test_two_different_adapters_never_share_a_name_or_a_key() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert one.name != other.name
        assert fingerprint(one) != fingerprint(other)
        assert one != other


@pytest.mark.parametrize("adapter", DIFFERENT, ids=lambda adapter: adapter.name)
def test_the_own_rate_lies_within_the_rates_worth_a_trial(adapter: Adapter) -> None:
    lowest, highest = adapter.rates
    assert lowest <= SFT(adapter=adapter).rate <= highest


def test_options_that_are_not_used_leave_the_key_of_a_lora_as_it_was() -> None:
    # Stages stored before the options were there are found again.
    assert fingerprint(LoRA()) == "63a6e133d9b49d7c2610e20e90aa0d5ec277cd6a1e57c5a7856eb22ecbe08d55"


def test_dora_is_a_lora_that_says_so() -> None:
    assert DoRA(rank=4, targets=("q_proj",)) == LoRA(rank=4, targets=("q_proj",), dora=True)
    assert DoRA().name == "dora-r16"


def test_a_rank_stabilised_update_is_that_of_a_plain_one_at_rank_16_and_smaller_when_wider() -> None:
    assert (LoRA(rank=16).scale, LoRA(rank=64).scale, LoRA(rank=4, alpha=3).scale) == (32, 128, 3)
    assert [LoRA(rank=rank, rslora=True).scale for rank in (4, 16, 64)] == [8, 8, 8]
    assert LoRA(rank=64, rslora=True, alpha=16).scale == 16


def test_the_order_of_a_configs_sets_does_not_change_its_key() -> None:
    one, other = (PEFT(peft.LoHaConfig(target_modules=names)) for names in (["q_proj", "v_proj"], ["v_proj", "q_proj"]))
    assert (one, one.name, fingerprint(one)) == (other, other.name, fingerprint(other))


def test_what_cannot_be_merged_says_so() -> None:
    assert [adapter.merges for adapter in (LoRA(), DoRA(), AdaLoRA(), IA3(), PEFT(peft.LoHaConfig()))] == [True] * 5
    cpt = peft.CPTConfig(task_type="CAUSAL_LM", cpt_token_ids=[1], cpt_mask=[1], cpt_tokens_type_mask=[1])
    virtual = (PromptTuning(), PTuning(), PrefixTuning(), PTuningV2(), PEFT(cpt))
    assert [adapter.merges for adapter in virtual] == [False] * 5


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: LoRA(init="svd"), "LoRA(init='svd'): give one of default, pissa"),  # type: ignore[arg-type]
        (lambda: LoRA(dora=True, init="pissa"), "give one of them"),
        (lambda: DoRA(rank=0), "rank=0"),
        (lambda: AdaLoRA(rank=0), "AdaLoRA(rank=0)"),
        (lambda: AdaLoRA(rank=8, initial_rank=8), "leaves nothing to prune"),
        (lambda: AdaLoRA(warm=0.5, settled=0.5), "sum to less than 1"),
        (lambda: AdaLoRA(every=0), "every=0"),
        (lambda: AdaLoRA(alpha=0), "alpha=0"),
        (lambda: AdaLoRA(dropout=1), "dropout=1"),
        (lambda: AdaLoRA(orthogonality=-1), "orthogonality=-1"),
        (lambda: AdaLoRA(targets="q_proj"), "tuple of module names"),  # type: ignore[arg-type]
        (lambda: IA3(targets=()), "trains nothing"),
        (lambda: IA3(targets="k_proj"), "targets=('k_proj',)"),  # type: ignore[arg-type]
        (lambda: IA3(feedforward=("down_proj",)), "give targets too"),
        (lambda: IA3(targets=("k_proj",), feedforward=("down_proj",)), "down_proj is not in targets"),
        (lambda: PromptTuning(tokens=0), "tokens=0"),
        (lambda: PromptTuning(text=" "), "no token to start from"),
        (lambda: PTuning(encoder="gru"), "encoder='gru'"),  # type: ignore[arg-type]
        (lambda: PTuning(hidden=0), "hidden=0"),
        (lambda: PrefixTuning(tokens=-1), "tokens=-1"),
        (lambda: PTuningV2(tokens=0), "PTuningV2(tokens=0)"),
        (lambda: PEFT(peft.LoHaConfig), "write PEFT(LoHaConfig(...))"),
        (lambda: PEFT({"r": 4}), "no config of peft"),
        (lambda: PEFT(peft.AdaLoraConfig(total_step=10)), "hands out no ranks, since"),
        (lambda: PEFT(peft.LoraConfig(init_lora_weights="pissa_niter_4")), 'write LoRA(init="pissa")'),
        (lambda: SFT(adapter=DoRA), "write DoRA()"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused_with_its_field(declare: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        declare()
    assert said in str(refused.value)
