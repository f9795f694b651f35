import pytest

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.recipes import SFT, Full, LoRA, QLoRA


def test_the_rate_is_the_adapters_own_where_none_is_given() -> None:
    assert [SFT(adapter=adapter).rate for adapter in (LoRA(), QLoRA(), Full())] == [3e-4, 3e-4, 2e-5]
    assert SFT(learning_rate=0).rate == 0


def test_names_say_what_differs_from_the_defaults() -> None:
    assert [
        recipe.name
        for recipe in (
            SFT(),
            SFT(adapter=LoRA(rank=8, alpha=8), epochs=2, learning_rate=5e-4),
            SFT(adapter=QLoRA(targets=("q_proj", "v_proj")), limit=100),
            SFT(adapter=Full(), label="all weights"),
        )
    ] == [
        "sft lora-r16",
        "sft lora-r8-alpha8 epochs=2 lr=0.0005",
        "sft qlora-r16-q_proj+v_proj limit=100",
        "all weights",
    ]


def test_a_label_does_not_change_what_is_computed() -> None:
    assert fingerprint(SFT(label="a")) == fingerprint(SFT(label="b"))
    assert fingerprint(SFT(epochs=2)) != fingerprint(SFT(epochs=3))


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: LoRA(rank=0), "rank=0"),
        (lambda: LoRA(alpha=0), "alpha=0"),
        (lambda: QLoRA(dropout=1), "dropout=1"),
        (lambda: LoRA(targets="q_proj"), "tuple of module names"),  # type: ignore[arg-type]
        (lambda: SFT(epochs=0), "epochs=0"),
        (lambda: SFT(epochs=float("nan")), "epochs=nan"),
        (lambda: SFT(learning_rate=-1e-4), "learning_rate=-0.0001"),
        (lambda: SFT(batch_size=8, micro_batch_size=3), "must divide batch_size"),
        (lambda: SFT(batch_size=0), "batch_size=0"),
        (lambda: SFT(patience=0), "patience=0"),
        (lambda: SFT(warmup=1), "warmup=1"),
        (lambda: SFT(weight_decay=-1), "weight_decay=-1"),
        (lambda: SFT(max_grad_norm=0), "max_grad_norm=0"),
        (lambda: SFT(schedule="sine"), "schedule='sine'"),  # type: ignore[arg-type]
        (lambda: SFT(adapter=LoRA), "LoRA()"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused_with_its_field(declare, said: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        declare()
    assert said in str(refused.value)
