"""Prompts and answers as tokens."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from harness.errors import StageFailed
from harness.inference.models.loading import load_tokenizer
from harness.inference.models.rendering import answer_ids, end_id, prompt_ids, prompt_text
from harness.types.models import Model
from harness.types.samples import Message

TURNS = (Message("system", "Be brief."), Message("user", "Hi?"))


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(Model(str(tiny_model)))


@pytest.fixture
def plain(tokenizer: Any) -> Any:
    tokenizer.chat_template = None
    return tokenizer


def test_a_template_opens_the_assistants_turn(tokenizer: Any) -> None:
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n"
    assert prompt_text(tokenizer, TURNS) == text
    assert tokenizer.decode(prompt_ids(tokenizer, TURNS)) == text
    assert prompt_ids(tokenizer, TURNS).count(tokenizer.bos_token_id) == 3


def test_prompt_and_answer_are_the_whole_conversation(tokenizer: Any) -> None:
    whole = [{"role": turn.role, "content": turn.content} for turn in TURNS] + [
        {"role": "assistant", "content": "Hello."}
    ]
    ids = prompt_ids(tokenizer, TURNS) + answer_ids(tokenizer, "Hello.", end=True)
    assert tokenizer.decode(ids) + "\n" == tokenizer.apply_chat_template(whole, tokenize=False)
    assert ids[-1] == end_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_without_a_template_texts_are_parted_by_blank_lines(plain: Any) -> None:
    assert prompt_text(plain, TURNS) == "Be brief.\n\nHi?\n\n"
    assert plain.decode(prompt_ids(plain, TURNS)) == "Be brief.\n\nHi?\n\n"


def test_plain_text_gets_the_one_bos_that_the_tokenizer_adds_and_no_end(plain: Any) -> None:
    core = plain.backend_tokenizer
    core.post_processor = TemplateProcessing(
        single="<|endoftext|> $A <|im_end|>", special_tokens=[("<|endoftext|>", 0), ("<|im_end|>", 2)]
    )
    ids = prompt_ids(plain, TURNS)
    assert (ids[0], ids.count(0), ids.count(2)) == (0, 1, 0)
    assert answer_ids(plain, "x", end=False) == ids_of(plain, "x")


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_template_text_gets_no_second_bos(tokenizer: Any) -> None:
    before = prompt_ids(tokenizer, TURNS)
    core = tokenizer.backend_tokenizer
    core.post_processor = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    assert prompt_ids(tokenizer, TURNS) == before


def test_the_end_token_is_the_templates_where_it_differs_from_eos(tokenizer: Any) -> None:
    tokenizer.eos_token = "<|endoftext|>"
    assert end_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.chat_template = None
    assert end_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_no_end_token_at_all_is_a_clear_error(plain: Any) -> None:
    plain.eos_token = None
    with pytest.raises(StageFailed, match="has no EOS token"):
        end_id(plain)


def test_a_template_that_refuses_a_role_is_named(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    )
    with pytest.raises(StageFailed, match=r"refuses the roles \(system, user\): System role not supported"):
        prompt_ids(tokenizer, TURNS)


def test_a_pad_token_is_set_where_there_was_none(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_model, folder)
    settings = (folder / "tokenizer_config.json").read_text()
    (folder / "tokenizer_config.json").write_text(settings.replace('"pad_token"', '"was_pad_token"'))
    tokenizer = load_tokenizer(Model(str(folder)))
    assert (tokenizer.pad_token, tokenizer.padding_side) == ("<|im_end|>", "left")
