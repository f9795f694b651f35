"""`harness memory`."""

from pathlib import Path

import pytest

from harness.cli.__main__ import main


def test_the_parts_their_sum_and_the_verdict_are_printed(tiny_model: Path, capsys) -> None:
    recipe = "SFT(adapter=LoRA(rank=4), batch_size=2)"
    assert main(["memory", str(tiny_model), "--recipe", recipe, "--length", "64"]) == 0
    said = capsys.readouterr().out
    assert "sft lora-r4 batch=2: 8,192 weights trained" in said
    assert "2 of 2 examples at once, of 64 tokens" in said
    assert said.rstrip().endswith("fits")
    for part in ("libraries", "weights", "activations", "logits", "total", "free", "disk while it runs", "time"):
        assert f"  {part} " in said


def test_what_does_not_fit_comes_with_the_recipe_that_does(tiny_model: Path, capsys) -> None:
    asked = ["memory", str(tiny_model), "--recipe", "SFT(batch_size=64)", "--length", "512", "--gpu", "0.75"]
    assert main(asked) == 1
    said = capsys.readouterr().out
    assert "does not fit:\n  this would fit, in 0." in said
    assert "SFT(batch_size=64, micro_batch_size=" in said
    assert main([*asked[:-1], "0.1"]) == 1
    assert "even 1 at once, answered in 4 bits, takes " in capsys.readouterr().out


def test_all_methods_come_in_one_table(tiny_model: Path, capsys) -> None:
    assert main(["memory", str(tiny_model), "--all", "--length", "64"]) == 0
    said = capsys.readouterr().out
    for name in ("sft full", "sft lora-r16", "sft qlora-r16", "sft ia3", "sft unipelt", "sft bitfit"):
        assert name in said


def test_what_devices_share_is_said_for_each_of_them(tiny_model: Path, capsys) -> None:
    recipe = "SFT(adapter=Full(), devices=4, strategy='zero3', batch_size=8)"
    assert main(["memory", str(tiny_model), "--recipe", recipe, "--gpu", "48"]) == 0
    said = capsys.readouterr().out
    assert "8 of 8 examples at once, of 512 tokens, shared by 4 devices as zero3" in said
    assert "of 48.0 GiB, each of 4 devices, a GPU of 48 GiB" in said
    assert "not asked about; " in said


def test_what_does_not_fit_in_the_table_says_how_much_of_it_does(tiny_model: Path, capsys) -> None:
    assert main(["memory", str(tiny_model), "--all", "--gpu", "0.62"]) == 1
    said = capsys.readouterr().out
    assert "does not fit; micro_batch_size=" in said
    assert "for 8 rows at once of 512 tokens (--length)" in said


def test_graded_recipes_are_read(tiny_model: Path, capsys) -> None:
    asked = "GRPO(reward=[ExactMatch(), Weighted(Numeric(), 0.5)], generations=4)"
    assert main(["memory", str(tiny_model), "--recipe", asked, "--gpu", "24"]) == 0
    assert "keys and values" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "fact"),
    [
        ("SFT(", "is no declaration that Python reads"),
        ("__import__('os').system('true')", "is no recipe, adapter or metric"),
        ("SFT(batch_size=4*2)", "is computed; only recipes, adapters, metrics, numbers and texts are read"),
        ("SFT(width=3)", "unexpected keyword argument 'width'; its fields are adapter, epochs"),
        ("SFT(**{'epochs': 1})", r"write the fields out, \*\* is not read"),
        ("LoRA()", "is no recipe, lora is; give one of"),
        ("SFT(epochs=0)", "trains nothing"),
        ("nonsense", "'nonsense' is no recipe; give one of full, lora, dora"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_one_line(tiny_model: Path, capsys, recipe: str, fact: str) -> None:
    assert main(["memory", str(tiny_model), "--recipe", recipe]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    import re

    assert re.search(fact, error)


def test_a_model_that_is_not_there_is_one_line(capsys) -> None:
    assert main(["memory", "nowhere/"]) == 2
    assert "nowhere" in capsys.readouterr().err
