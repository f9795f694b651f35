"""Thoughts stand apart from answers, whatever the markers, opened by the model or by its template, closed or cut."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from harness.inference.local.scheduler import DecodingModel
from harness.inference.models.rendering import MARKERS, SplitReply, marker_tokens, thought_apart


@pytest.mark.parametrize(("opening", "closing"), MARKERS)
def test_every_pair_of_markers_is_known(opening: str, closing: str) -> None:
    assert thought_apart(f"{opening}\nHm\n{closing}\n\nred\n", prompt="?") == SplitReply("Hm", "red\n")
    assert thought_apart(f"Hm\n{closing}red", prompt=f"?{opening}\n") == SplitReply("Hm", "red")
    assert thought_apart(f"{opening}Hm, it", prompt="?") == SplitReply("Hm, it", "")
    assert thought_apart("Hm, it", prompt=f"?{opening}\n") == SplitReply("Hm, it", "")


@pytest.mark.parametrize(
    ("said", "prompt", "expected"),
    [
        ("red", "?", SplitReply("", "red")),
        ("The tag <think> opens, </think> closes.", "?", SplitReply("", "The tag <think> opens, </think> closes.")),
        ("The tag <think> opens, </think> closes.", None, SplitReply("", "The tag <think> opens, </think> closes.")),
        ("<think></think>red", "?", SplitReply("", "red")),
        ("</think>red", "?", SplitReply("", "red")),
        ("<think>a</think> <think>b</think> red", "?", SplitReply("a\n\nb", "red")),
        ("<think>a</think><think>", "?", SplitReply("a", "")),
        ("red", "?<think>\n\n</think>\n\n", SplitReply("", "red")),
        ("", "?<think>", SplitReply("", "")),
    ],
)
def test_thoughts_are_those_an_answer_begins_with(said: str, prompt: str | None, expected: SplitReply) -> None:
    assert thought_apart(said, prompt=prompt) == expected


@given(st.text(alphabet="ab <>/think\n", max_size=40))
def test_nothing_of_a_thought_is_left_in_the_answer(said: str) -> None:
    assert not thought_apart(f"<think>{said}").text.lstrip().startswith("<think>")


def test_markers_that_are_special_tokens_are_seen(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]", "<pad>"]})
    markers = marker_tokens(tokenizer)
    tokens = tokenizer("[THINK]What light[/THINK]Turn<pad> on", add_special_tokens=False)["input_ids"]
    speaker = DecodingModel(None, tokenizer, frozenset(), None, markers=markers)  # type: ignore[arg-type]

    assert tokenizer.convert_ids_to_tokens(sorted(markers)) == ["[THINK]", "[/THINK]"]
    assert speaker.text(tokens) == "[THINK]What light[/THINK]Turn on"
