"""Conversations of several turns: what each says is learned where the template renders it as it was said."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.models.loading import load_tokenizer
from harness.inference.models.rendering import prompt_text
from harness.recipes import SFT, LoRA
from harness.training.rows import IGNORED, Collated, check_parity, make_rows, spans_of, with_earlier_turns
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Example, Message, ToolCall

PROMPT = (
    Message("system", "Be brief."),
    Message("user", "red or blue?"),
    Message("assistant", "blue"),
    Message("user", "why?"),
    Message("assistant", "I like it."),
    Message("user", "and green?"),
)
EXAMPLE = Example(id="talk", prompt=PROMPT, answer="no")
# Past turns lose their last word, as templates do that strip what was thought.
REWRITING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{{ message['content'].split(' ')[0] if message['role'] == 'assistant' else message['content'] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


CALLING = (
    Message("user", "warm in Rome?", tools='[{"type": "function", "function": {"name": "weather"}}]'),
    Message("assistant", "", calls=(ToolCall(name="weather", arguments='{"city": "Rome"}', id="call00001"),)),
    Message("tool", "24", call_id="call00001"),
)
WITH_TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{% for call in message.tool_calls or [] %}{{ '<call>' + call.function | tojson + '</call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def learned(tokenizer: Any, labels: list[int]) -> str:
    return str(tokenizer.decode([label for label in labels if label != IGNORED]))


def test_each_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    assert "{% generation %}" not in tokenizer.chat_template

    (row,), check = with_earlier_turns(tokenizer, make_rows(tokenizer, [EXAMPLE]))

    assert learned(tokenizer, row.features()["labels"]) == "blue<|im_end|>I like it.<|im_end|>no<|im_end|>"
    assert check.status == "ok"
    assert check.detail == "2 earlier turns of 1 conversations are learned beside the 1 answers"


def test_a_turn_of_weight_0_is_not_learned(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    prompt = tuple(replace(turn, learned=turn.content != "blue") for turn in PROMPT)

    (row,), check = with_earlier_turns(tokenizer, make_rows(tokenizer, [Example(id="a", prompt=prompt, answer="no")]))

    assert learned(tokenizer, row.features()["labels"]) == "I like it.<|im_end|>no<|im_end|>"
    assert check.status == "ok"


def test_a_call_is_learned_as_the_template_writes_it(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = WITH_TOOLS

    (row,), check = with_earlier_turns(tokenizer, make_rows(tokenizer, [Example(id="a", prompt=CALLING, answer="yes")]))

    said = '<call>{"name": "weather", "arguments": {"city": "Rome"}}</call><|im_end|>yes<|im_end|>'
    assert learned(tokenizer, row.features()["labels"]) == said
    assert check.status == "ok"
    shown = tokenizer.decode(row.prompt)
    assert shown.startswith('<|im_start|>system\n[{"type": "function", "function": {"name": "weather"}}]<|im_end|>')


@pytest.mark.parametrize(
    ("turns", "said"),
    [(CALLING, "leaves out the tools on offer"), ((replace(CALLING[0], tools=""), *CALLING[1:]), "the calls of tools")],
)
def test_a_template_that_leaves_out_tools_is_refused(tiny: Model, turns: tuple[Message, ...], said: str) -> None:
    with pytest.raises(StageFailed, match=f"{said}, in the conversation that begins 'warm in Rome"):
        prompt_text(load_tokenizer(tiny), turns)


def test_a_turn_that_the_template_rewrites_is_counted_and_not_learned(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = REWRITING

    (row,), check = with_earlier_turns(tokenizer, make_rows(tokenizer, [EXAMPLE]))

    assert learned(tokenizer, row.features()["labels"]) == "blue<|im_end|>no<|im_end|>"
    assert (check.status, check.items) == ("warning", ("talk",))
    assert check.detail.startswith("1 of 2 earlier turns are not rendered as they were said")


def test_where_no_turn_is_rendered_as_said_the_run_stops(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = REWRITING
    talk = (Message("user", "?"), Message("assistant", "two words"), Message("user", "?"))

    with pytest.raises(StageFailed, match=r"1 of 1 earlier turns .*leave out learn=\"assistant\""):
        with_earlier_turns(tokenizer, make_rows(tokenizer, [Example(id="t", prompt=talk, answer="no")]))


def test_a_prompt_without_a_template_has_no_turns_to_find(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = None
    (row,) = make_rows(tokenizer, [EXAMPLE])

    assert spans_of(tokenizer, PROMPT, row.prompt) == ((), 2)


@pytest.mark.parametrize("fault", ["none", "a turn unlearned", "a question learned"])
def test_parity_looks_at_every_turn(tiny: Model, fault: str) -> None:
    tokenizer = load_tokenizer(tiny)
    (row,), _ = with_earlier_turns(tokenizer, make_rows(tokenizer, [EXAMPLE]))
    features = row.features()
    labels = features["labels"]
    start, stop = row.also[0]
    if fault == "a turn unlearned":
        labels[start:stop] = [IGNORED] * (stop - start)
    if fault == "a question learned":
        labels[:start] = features["input_ids"][:start]

    check = check_parity([Collated(tuple(features["input_ids"]), tuple(labels))], [EXAMPLE], tokenizer, turns=True)

    assert check.status == ("ok" if fault == "none" else "invalid")
    assert fault == "none" or "not the assistant's earlier turns" in check.detail


def test_training_on_all_turns_learns_them(job: Callable[..., TuneJob], heard, tiny: Model) -> None:
    train = tuple(Example(id=f"t{place}", prompt=PROMPT, answer="no") for place in range(8))
    recipe = SFT(adapter=LoRA(rank=8), epochs=6, learning_rate=1e-2, learn="assistant", evaluate_every=6)

    result = fit(job(recipe, train=train, dev=train[:2]), progress=heard)

    losses = [point.value for point in result.log if point.name == "loss"]
    assert losses[0] - losses[-1] > 3
    assert {check.name: check.status for check in result.checks}["prompt parity"] == "ok"
    assert {check.name: check.status for check in result.checks}["earlier turns learned"] == "ok"


def test_nonsense_is_refused_with_its_field() -> None:
    with pytest.raises(InvalidExperiment) as refused:
        SFT(learn="all")  # type: ignore[arg-type]
    assert 'SFT(learn=\'all\'): give "answer" or "assistant"' in str(refused.value)
