"""Recipes that learn from preferences: what they declare, refuse, and are keyed by."""

from pathlib import Path

import pytest

from harness import DPO, KTO, ORPO, SFT, Full, InvalidData, InvalidExperiment, LoRA, RewardModel
from harness.fingerprint import file_sha256, fingerprint


def test_rates_are_those_of_the_method_and_the_adapter() -> None:
    assert [recipe.rate for recipe in (DPO(), KTO(), ORPO(), RewardModel())] == pytest.approx(
        [1.5e-5, 1.5e-5, 1.2e-4, 1.5e-4]
    )
    assert DPO(adapter=Full()).rate == pytest.approx(1e-6)  # TRL's default


def test_names_say_what_differs_from_the_defaults() -> None:
    assert [
        recipe.name
        for recipe in (
            DPO(),
            DPO(loss="simpo", beta=2.5, margin=0.5, pairs="p.jsonl"),
            KTO(undesirable_weight=3),
            ORPO(adapter=LoRA(rank=8), beta=0.2),
            RewardModel(at_least=0.7),
        )
    ] == [
        "dpo lora-r16",
        "dpo lora-r16 pairs=p.jsonl beta=2.5 loss=simpo margin=0.5",
        "kto lora-r16 undesirable_weight=3",
        "orpo lora-r8 beta=0.2",
        "reward lora-r16 at_least=0.7",
    ]


def test_simpo_has_a_scale_of_its_own() -> None:
    assert [DPO().strength, DPO(loss="simpo").strength, DPO(loss="simpo", beta=1.0).strength] == [0.1, 2.0, 1.0]


def test_what_is_made_is_a_policy_but_for_the_reward_model() -> None:
    assert [recipe.makes for recipe in (SFT(), DPO(), KTO(), ORPO(), RewardModel())] == ["policy"] * 4 + ["reward"]


@pytest.mark.parametrize("kind", [DPO, ORPO, RewardModel, KTO])
def test_the_key_is_the_files_content(kind: type, tmp_path: Path) -> None:
    field = "votes" if kind is KTO else "pairs"
    file = tmp_path / "p.jsonl"
    file.write_text("one", encoding="utf-8")
    recipe = kind(**{field: file})
    first = recipe.content_key()
    file.write_text("two", encoding="utf-8")

    assert kind().content_key() is None
    assert first != recipe.content_key() == file_sha256(file)
    assert getattr(recipe, field) == str(file)
    assert fingerprint(recipe)  # a path has none
    file.unlink()
    with pytest.raises(InvalidData, match=r"p\.jsonl: no such file; .*harness data pairs EXPERIMENT"):
        recipe.content_key()


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: DPO(loss="dpo"), "DPO(loss='dpo'): give one of sigmoid, ipo"),  # type: ignore[arg-type]
        (lambda: DPO(beta=0), "DPO(beta=0)"),
        (lambda: DPO(label_smoothing=0.1), 'add loss="robust"'),
        (lambda: DPO(loss="robust", label_smoothing=0.5), "label_smoothing=0.5"),
        (lambda: DPO(sft_weight=-1), "sft_weight=-1"),
        (lambda: DPO(margin=float("nan")), "margin=nan"),
        (lambda: DPO(epochs=0), "DPO(epochs=0)"),
        (lambda: KTO(beta=-1), "KTO(beta=-1)"),
        (lambda: KTO(desirable_weight=0), "desirable_weight=0"),
        (lambda: KTO(batch_size=1), "estimated within a batch in memory; give 2 or more"),
        (lambda: KTO(batch_size=4, micro_batch_size=1), "micro_batch_size=1"),
        (lambda: ORPO(beta=0), "ORPO(beta=0)"),
        (lambda: RewardModel(at_least=60), "RewardModel(at_least=60): is a share of pairs"),
    ],
)
def test_nonsense_is_refused_with_its_field(declare, said: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        declare()
    assert said in str(refused.value)
