"""What is tried where the memory does not hold everything, and how much is planned for it."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.errors import StageFailed
from harness.inference.local.engine import memory_bytes, narrowing, rows_that_fit

FULL = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"


def test_what_was_found_before_the_memory_ran_out_is_not_computed_again() -> None:
    asked: list[tuple[tuple[str, ...], int]] = []

    def compute(rows: Sequence[str], width: int) -> Iterator[tuple[int, str]]:
        asked.append((tuple(rows), width))
        for place, row in enumerate(rows):
            if width > 1 and row == "c":
                raise RuntimeError(FULL)
            yield place, row.upper()

    assert list(narrowing(compute, ["a", "b", "c", "d"], 4)) == [(0, "A"), (1, "B"), (2, "C"), (3, "D")]
    assert asked == [(("a", "b", "c", "d"), 4), (("c", "d"), 1)]


def test_a_width_of_one_that_does_not_fit_is_a_clear_error() -> None:
    def full(rows: Sequence[str], width: int) -> Iterator[tuple[int, str]]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        yield 0, ""

    with pytest.raises(StageFailed, match=r"one row alone does not fit the memory .*9 GiB"):
        list(narrowing(full, ["a", "b"], 2))


def test_another_error_is_no_lack_of_memory() -> None:
    def broken(rows: Sequence[str], width: int) -> Iterator[tuple[int, str]]:
        raise RuntimeError("shapes differ")
        yield 0, ""

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(narrowing(broken, ["a"], 2))


def test_rows_are_as_many_as_half_of_the_memory_beside_the_weights_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=8, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    network = LlamaForCausalLM(config)
    weights = 4 * sum(weight.numel() for weight in network.parameters())
    row = 2 * 3 * 2 * 4 * 4 * 10  # keys and values, layers, heads, width, bytes, tokens
    monkeypatch.setattr("harness.inference.local.engine.memory_bytes", lambda device: weights + 2 * 7 * row + 1)
    assert rows_that_fit(network, 10, most=100) == 7
    assert rows_that_fit(network, 10, most=5) == 5
    assert rows_that_fit(network, 10_000, most=100) == 1


def test_the_memory_is_that_of_the_machine_or_less() -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        total = int(file.readline().split()[1]) * 1024
    assert 0 < memory_bytes(torch.device("cpu")) <= total
    assert memory_bytes(SimpleNamespace(type="cpu")) == memory_bytes(torch.device("cpu"))
