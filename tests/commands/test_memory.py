"""`harness memory`."""

from pathlib import Path

import pytest

from harness.cli import main


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
    assert "does not fit; this does, in 0." in said
    assert "SFT(batch_size=64, micro_batch_size=" in said
    assert main([*asked[:-1], "0.1"]) == 1
    assert "no recipe for this model does" in capsys.readouterr().out


def test_all_methods_come_in_one_table(tiny_model: Path, capsys) -> None:
    assert main(["memory", str(tiny_model), "--all", "--length", "64"]) == 0
    said = capsys.readouterr().out
    for name in ("sft full", "sft lora-r16", "sft qlora-r16", "sft ia3", "sft unipelt", "sft bitfit"):
        assert name in said


@pytest.mark.parametrize(
    ("recipe", "fact"),
    [
        ("SFT(", "is no declaration that Python reads"),
        ("__import__('os').system('true')", "is no recipe or adapter"),
        ("SFT(batch_size=4*2)", "is computed; only names of recipes and adapters, numbers and texts are read"),
        ("SFT(width=3)", "unexpected keyword argument 'width'; its fields are adapter, epochs"),
        ("SFT(**{'epochs': 1})", r"write the fields out, \*\* is not read"),
        ("LoRA()", "is no recipe; give one such as"),
        ("SFT(epochs=0)", "trains nothing"),
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
