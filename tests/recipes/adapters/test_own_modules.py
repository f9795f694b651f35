"""Adapters of the harness's own modules, declared."""

import pytest

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.recipes import MAM, SFT, BitFit, Bottleneck, UniPELT


@pytest.mark.parametrize(
    ("adapter", "name"),
    [
        (Bottleneck(), "pfeiffer-16"),
        (Bottleneck(reduction=8, kind="houlsby", activation="gelu"), "houlsby-8-gelu"),
        (MAM(), "mam-p30-b512"),
        (MAM(prefix_tokens=5, bottleneck=64, scale=1), "mam-p5-b64-s1"),
        (UniPELT(), "unipelt-r8-p10-16"),
        (UniPELT(rank=4, alpha=8), "unipelt-r4-alpha8-p10-16"),
        (BitFit(), "bitfit"),
        (BitFit(norms=False), "bitfit-biases"),
    ],
)
def test_names_say_what_differs(adapter, name: str) -> None:
    assert adapter.name == name
    assert SFT(adapter=adapter).name.startswith(f"sft {name}")
    low, high = adapter.rates
    assert low < SFT(adapter=adapter).rate < high


def test_two_declarations_never_share_a_key() -> None:
    declared = [Bottleneck(), Bottleneck(reduction=8), MAM(), MAM(scale=1), UniPELT(), UniPELT(rank=4), BitFit()]
    assert len({fingerprint(adapter) for adapter in declared}) == len(declared)


def test_only_what_ends_as_weights_merges() -> None:
    assert [adapter.merges for adapter in (BitFit(), Bottleneck(), MAM(), UniPELT())] == [True, False, False, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bottleneck(reduction=0), r"Bottleneck\(reduction=0\): give a whole number of 1 or more"),
        (lambda: Bottleneck(reduction=2.5), r"Bottleneck\(reduction=2.5\): give a whole number"),
        (lambda: Bottleneck(kind="parallel"), r'Bottleneck\(kind=\'parallel\'\): give "pfeiffer" or "houlsby"'),
        (lambda: Bottleneck(activation="swish"), r"activation='swish'\): give one of relu, gelu, silu, tanh"),
        (lambda: MAM(prefix_tokens=0), r"MAM\(prefix_tokens=0\): give a whole number"),
        (lambda: MAM(bottleneck=-1), r"MAM\(bottleneck=-1\): give a whole number"),
        (lambda: MAM(scale=0), r"MAM\(scale=0\) switches the update off"),
        (lambda: UniPELT(rank=0), r"UniPELT\(rank=0\): give a whole number"),
        (lambda: UniPELT(alpha=float("inf")), r"UniPELT\(alpha=inf\) switches the update off"),
    ],
)
def test_what_trains_nothing_is_refused(make, message: str) -> None:
    with pytest.raises(InvalidExperiment, match=message):
        make()
