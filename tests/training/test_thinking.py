"""A hybrid reasoner: what its template writes before an answer is the same in training, evaluation and serving."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.inference.local.engine import open_engine
from harness.inference.models.loading import load_tokenizer, tokenizer_of
from harness.inference.models.rendering import end_id, prompt_text
from harness.recipes import SFT, Full, LoRA
from harness.training.rows import check_parity, collated_rows, make_rows
from harness.training.sft import fit
from harness.types.models import Model
from harness.types.samples import Decoding, Message

# As Qwen3's: an empty thought stands before the last answer, and before one to come where thinking is switched off.
QWEN3 = """
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {%- if loop.last %}
            {{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + content + '<|im_end|>\\n' }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
EMPTY = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture
def silent(tiny_model: Path, tmp_path: Path) -> Model:
    """The tiny model with Qwen3's kind of template, thinking switched off."""
    folder = tmp_path / "hybrid"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(QWEN3)
    return Model(str(folder), dtype="float32", template_options={"enable_thinking": False})


def test_a_training_row_is_the_conversation_that_the_template_itself_writes(silent: Model, job) -> None:
    tokenizer, example = load_tokenizer(silent), job(SFT()).train[0]
    (row,) = make_rows(tokenizer, [example])
    turns = [{"role": "user", "content": example.prompt[0].content}, {"role": "assistant", "content": example.answer}]
    assert tokenizer.decode([*row.prompt, *row.answer]) + "\n" == tokenizer.apply_chat_template(turns, tokenize=False)
    assert tokenizer.decode(row.prompt).endswith(EMPTY)
    assert row.answer[-1] == end_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_training_with_another_option_than_is_served_is_invalid(silent: Model, job) -> None:
    thinking = load_tokenizer(replace(silent, template_options=None))
    rows = make_rows(thinking, job(SFT()).train)

    class Plain:
        def __call__(self, features: list[dict[str, list[int]]]) -> dict[str, Any]:
            import torch

            (only,) = features
            found = {name: torch.tensor([only[name]]) for name in ("input_ids", "labels")}
            return {**found, "attention_mask": torch.ones_like(found["input_ids"])}

    collated = list(collated_rows(rows, Plain(), batch_size=1))
    assert check_parity(collated, [row.example for row in rows], thinking).status == "ok"
    assert check_parity(collated, [row.example for row in rows], load_tokenizer(silent)).status == "invalid"


@pytest.mark.parametrize("adapter", [LoRA(rank=2), Full()], ids=lambda adapter: adapter.name)
def test_the_tuned_model_is_served_with_the_prompt_that_it_learned(silent: Model, job, said, adapter: Any) -> None:
    result = fit(replace(job(SFT(adapter=adapter, epochs=1, batch_size=8)), model=silent), progress=said)
    assert [check.status for check in result.checks if check.name == "prompt parity"] == ["ok"]
    engine = open_engine(silent, progress=said)
    asked = [(Message("system", "Be brief."), Message("user", "red"))]
    prompts = []
    for folder in (None, result.folder):
        engine.use(folder)
        ((_, (answer,)),) = engine.generate(asked, Decoding(max_tokens=2))
        prompts.append(answer.prompt)
    assert prompts[0] == prompts[1]
    assert prompts[0].endswith(EMPTY)
    if isinstance(adapter, Full):  # whoever loads the saved model renders so as well
        assert prompt_text(tokenizer_of(result.folder), asked[0]) == prompts[0]
        assert load_tokenizer(Model(str(result.folder))).chat_template == load_tokenizer(silent).chat_template
