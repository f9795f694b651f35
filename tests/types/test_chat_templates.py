"""Chat templates as every part of a run uses them: options, a fixed day, system messages where none is known."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from harness.errors import InvalidExperiment
from harness.types.chat_templates import FIXED_DATE, Dressed, dress, knows_system

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}
{%- set messages = messages[1:] %}{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|system|>Today Date: " + date_string + "\\n" + system_message }}
{%- for message in messages %}{{- '<|' + message['role'] + '|>' + message['content'] }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"""
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<' + message['role'] + '>' + message['content'] | trim + '</>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
QWEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
FORGETS = "\n{% for m in messages %}{% if m.role != 'system' %}{{ m.role }}:{{ m.content }};{% endif %}{% endfor %}"


def rendered(template: str, messages: list[dict[str, str]] = ASKED, **given: Any) -> str:
    """Return what transformers makes of a template."""
    texts, _ = render_jinja_template(
        [messages], chat_template=template, add_generation_prompt=True, bos_token="<s>", **given
    )
    return str(texts[0])


def used(template: str, *, system: Any = "auto", **options: object) -> Dressed:
    return dress(template, options=options, system=system, name="m")


def test_a_template_that_needs_nothing_stays_as_it_is() -> None:
    assert used(QWEN) == Dressed(text=QWEN, options={}, date=None, merges_system=False)
    assert used(QWEN).facts == {}


def test_today_is_one_day_whenever_it_is_rendered() -> None:
    found = used(LLAMA)
    assert found.facts == {"date": FIXED_DATE}
    assert rendered(found.text) == "<s><|system|>Today Date: 26 Jul 2024\nBe brief.<|user|>Hi?<|assistant|>"
    assert rendered(used(LLAMA, date_string="01 Jan 2030").text).startswith("<s><|system|>Today Date: 01 Jan 2030\n")


@pytest.mark.parametrize(
    ("call", "day", "written"),
    [
        ("strftime_now('%Y-%m-%d')", None, "2024-07-26"),
        ("strftime_now(format='%B %d, %Y')", None, "July 26, 2024"),
        ("strftime_now('%Y-%m-%d')", "2031-02-03", "2031-02-03"),
        ("strftime_now('%d')|int - 1", "03 Feb 2031", "2"),
        ("strftime_now('%H:%M')", None, "00:00"),
        ("strftime_now('%Y') if strftime_now is defined else 'none'", "3 March 1999", "1999"),
        ("strftime_now('%Y-%m-%d')", "some day in June", "some day in June"),
        ("strftime_now(form)", None, "26.07.24"),
        ("clock('%Y')", None, "2024"),
    ],
)
def test_each_format_of_a_date_is_written_for_the_same_day(call: str, day: str | None, written: str) -> None:
    template = "{{ messages[0].content }} {% set form = '%d.%m.%y' %}{% set clock = strftime_now %}{{ " + call + " }}"
    options = {} if day is None else {"date_string": day}
    assert rendered(used(template, **options).text) == f"Be brief. {written}"


def test_an_option_reaches_the_template_as_an_argument_would() -> None:
    found = used(QWEN, enable_thinking=False)
    assert found.facts == {"options": {"enable_thinking": False}}
    assert rendered(found.text) == rendered(QWEN, enable_thinking=False)
    assert rendered(found.text).endswith("<think>\n\n</think>\n\n")
    assert rendered(used(QWEN, enable_thinking=True).text) == rendered(QWEN)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_json_value_is_written_as_it_is(value: object) -> None:
    template = "\n{{ wanted|tojson }}"
    assert rendered(used(template, system="keep", wanted=value).text) == rendered(template, wanted=value)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (QWEN, "reads no option 'enable_thnking'; it reads enable_thinking"),
        (LLAMA, "reads no option 'enable_thnking'; it reads date_string"),
        (GEMMA, "reads no option 'enable_thnking'; it reads none"),
    ],
)
def test_an_option_that_the_template_never_reads_is_named(template: str, said: str) -> None:
    with pytest.raises(InvalidExperiment, match=f"the chat template {said}"):
        used(template, enable_thnking=False)
    with pytest.raises(InvalidExperiment, match="reads no option 'messages'"):
        used(template, messages=[])


@pytest.mark.parametrize("template", [GEMMA, FORGETS])
def test_a_system_message_goes_before_the_first_users_where_the_template_knows_none(template: str) -> None:
    found = used(template)
    assert found.facts == {"system": "merge"}
    asked = [{"role": "user", "content": "Be brief.\n\nHi?"}]
    more = [{"role": "assistant", "content": "Ho."}, {"role": "user", "content": "So?"}]
    assert rendered(found.text) == rendered(template, asked)
    assert rendered(found.text, ASKED + more) == rendered(template, asked + more)
    assert rendered(found.text, ASKED[1:]) == rendered(template, ASKED[1:])
    assert rendered(found.text, ASKED[:1]) == rendered(template, [{"role": "user", "content": "Be brief."}])
    assert rendered(found.text, [{"role": "system", "content": ""}, ASKED[1]]) == rendered(template, ASKED[1:])
    assert used(template, system="keep").text == template


def test_merging_may_be_asked_of_any_template() -> None:
    assert rendered(used(QWEN, system="merge").text) == rendered(
        QWEN, [{"role": "user", "content": "Be brief.\n\nHi?"}]
    )


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('no') }}", "x", "{% broken", "{{ 1 / 0 }}", "{{ messages|nothing }}", "", LLAMA, QWEN],
)
def test_what_says_nothing_of_system_messages_is_left_alone(template: str) -> None:
    assert not used(template).merges_system


def test_dressing_again_changes_nothing_and_undoes_nothing() -> None:
    once = used(LLAMA, date_string="01 Jan 2030")
    assert used(once.text, date_string="01 Jan 2030") == once
    assert used(once.text).text == once.text  # a saved model keeps what it was trained with
    assert used(once.text, date_string="02 Jan 2030") == used(LLAMA, date_string="02 Jan 2030")
    assert knows_system(used(GEMMA).text)


def test_a_template_that_marks_the_assistants_turns_can_be_looked_at() -> None:
    marked = (
        "{% for m in messages %}{% generation %}{{ m.content }}{{ strftime_now('%Y') }}{% endgeneration %}{% endfor %}"
    )
    assert used(marked).facts == {"date": FIXED_DATE}


def test_an_option_is_seen_within_a_macro() -> None:
    template = "{% macro mode() %}{{ 'on' if thinking else 'off' }}{% endmacro %}{{ mode() }}"
    assert [rendered(used(template, thinking=value).text) for value in (True, False)] == ["on", "off"]
