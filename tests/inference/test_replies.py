"""Replies as servers really give them: thoughts apart, parts joined, and how each answer ended."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StageFailed
from harness.inference.openai.endpoint import EndpointEngine
from harness.inference.openai.replies import ParsedReply, chat_reply, error_of, filtered, text_reply
from harness.types.models import Endpoint
from harness.types.samples import Completion, Decoding, Message
from tests.conftest import Said as Heard
from tests.inference.loopback import Reply, Server, serving

PROMPTS = [(Message("user", f"question {place}"),) for place in range(3)]


def chat(message: object, reason: str | None = "stop", **more: object) -> dict[str, object]:
    return {"choices": [{"message": message, "finish_reason": reason}], **more}


def asked(server: Server, **options: object) -> tuple[list[Completion], EndpointEngine]:
    engine = EndpointEngine(Endpoint(server.url, "m", **options), progress=Heard(), first_wait_seconds=0.01)
    found = {
        place: one
        for places, batch in engine.generate(PROMPTS, Decoding(max_tokens=8))
        for place, one in zip(places, batch, strict=True)
    }
    return [found[place] for place in range(len(PROMPTS))], engine


def answered(body: object, status: int = 200) -> Completion:
    with serving(lambda place, _: Reply(status, json.dumps(body))) as server:
        return asked(server, retries=0)[0][0]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (chat({"content": "red"}), ("red", "stop", "")),
        (chat({"content": "re"}, "length"), ("re", "length", "")),
        (chat({"content": "re"}, "max_tokens"), ("re", "length", "")),
        (chat({"content": None, "reasoning_content": "Hm, a lamp"}, "length"), ("", "length", "Hm, a lamp")),
        (chat({"content": "red", "reasoning": "Hm"}), ("red", "stop", "Hm")),
        (chat({"content": "red", "reasoning": "Hm", "reasoning_details": [{"text": "Hm"}]}), ("red", "stop", "Hm")),
        (chat({"content": "<think>Hm\n</think>\n\nred"}), ("red", "stop", "Hm")),
        (chat({"content": "Hm\n</think>\n\nred"}), ("red", "stop", "Hm")),
        (chat({"content": "<think>Hm, is it"}, "length"), ("", "length", "Hm, is it")),
        (chat({"content": None}), ("", "empty", "")),
        (chat({"content": " \n"}, None), (" \n", "empty", "")),
        (chat({"content": "The"}, "content_filter"), ("The", "filter", "")),
        (chat(None, "content_filter"), ("", "filter", "")),
        (chat({"content": None, "refusal": "I cannot"}), ("I cannot", "refusal", "")),
        (chat({"content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"), ("", "tool", "")),
        (chat({"tool_calls": [{"id": "1"}]}, "stop"), ("", "tool", "")),
        (chat({"content": [{"type": "text", "text": "re"}, {"type": "text", "text": "d"}]}), ("red", "stop", "")),
        (chat({"content": ["re", {"type": "output_text", "text": "d"}]}), ("red", "stop", "")),
        (chat({"content": {"type": "text", "text": "red"}}), ("red", "stop", "")),
        (
            chat({"content": [{"type": "thinking", "thinking": [{"text": "Hm"}]}, {"type": "text", "text": "red"}]}),
            ("red", "stop", "Hm"),
        ),
        (chat({"content": [{"type": "refusal", "refusal": "No"}]}), ("No", "stop", "")),
        (chat({"content": []}), ("", "empty", "")),
        ({"choices": []}, ("", "empty", "")),
        ({"choices": [], "promptFeedback": {"blockReason": "SAFETY"}}, ("", "filter", "")),
    ],
)
def test_a_reply_tells_its_text_how_it_ended_and_its_thoughts(body: object, expected: tuple[str, str, str]) -> None:
    one = answered(body)
    assert (one.text, one.ended, one.reasoning) == expected


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "message": "The prompt triggered Azure's policy"},
        {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"type": "content_policy_violation", "message": "no"},
        {"code": "data_inspection_failed", "message": "no"},
        {"code": 403, "message": "no", "metadata": {"reasons": ["violence"], "flagged_input": "..."}},
        {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"},
        {"code": "invalid_prompt", "message": "flagged"},
    ],
)
@pytest.mark.parametrize("status", [400, 403, 200])
def test_a_prompt_that_a_filter_refuses_is_an_answer_that_ended_so(error: dict[str, object], status: int) -> None:
    one = answered({"error": error}, status)
    assert (one.text, one.ended, one.tokens_out) == ("", "filter", 0)


def test_a_call_of_a_tool_on_offer_is_an_answer() -> None:
    call = {"id": "1", "function": {"name": "turn_on", "arguments": '{"area": "hall"}'}}
    cut = {"id": "2", "function": {"name": "turn_on", "arguments": '{"area": "ha'}}
    body = chat({"content": None, "tool_calls": [call, cut]}, "tool_calls")

    assert chat_reply(body, tools=True).text == '{"name": "turn_on", "arguments": {"area": "hall"}}'
    assert (chat_reply(body).text, chat_reply(body).ended) == ("", "tool")


def test_one_filtered_prompt_leaves_the_others_answered() -> None:
    def reply(place: int, body: dict) -> Reply:
        if body["messages"][-1]["content"] == "question 1":
            return Reply(400, '{"error": {"code": "content_filter"}}')
        return Reply(body=json.dumps(chat({"content": "red"})))

    with serving(reply) as server:
        found, _ = asked(server)
    assert [(one.text, one.ended) for one in found] == [("red", "stop"), ("", "filter"), ("red", "stop")]


@pytest.mark.parametrize(
    ("usage", "expected", "counted"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, (9, 4), "server"),
        ({"prompt_tokens": 9, "completion_tokens": None}, (9, 2), "words, the server gave no usage"),
        ({"prompt_tokens": None}, (3, 2), "words, the server gave no usage"),
        (None, (3, 2), "words, the server gave no usage"),
        ({}, (3, 2), "words, the server gave no usage"),
    ],
)
def test_usage_may_be_missing_in_part(usage: object, expected: tuple[int, int], counted: str) -> None:
    with serving(lambda place, _: Reply(body=json.dumps(chat({"content": "dark red"}, usage=usage)))) as server:
        found, engine = asked(server)
    assert (found[0].tokens_in, found[0].tokens_out) == expected
    assert engine.description["token_counts"] == counted


def test_parts_that_are_no_text_are_named() -> None:
    content = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "red"}, {"type": "audio"}]
    with serving(lambda place, _: Reply(body=json.dumps(chat({"content": content})))) as server:
        found, engine = asked(server)
    assert found[0].text == "red"
    assert engine.description["parts_left_out"] == "audio (3), image_url (3)"


@pytest.mark.parametrize(("code", "attempts"), [(502, 3), (None, 3), (402, 1), ("insufficient_quota", 3)])
def test_an_error_in_a_body_of_status_200_is_an_error(code: object, attempts: int) -> None:
    with serving(lambda place, _: Reply(body=json.dumps({"error": {"code": code, "message": "no credit"}}))) as server:
        engine = EndpointEngine(Endpoint(server.url, "m", retries=2), progress=Heard(), first_wait_seconds=0.01)
        with pytest.raises(StageFailed, match=r"status 200, but the body is an error: .*no credit"):
            list(engine.generate(PROMPTS[:1], Decoding()))
    assert len(server.requests) == attempts


@pytest.mark.parametrize(
    ("text", "reason", "prompt", "expected"),
    [
        ("red", "stop", "?", ParsedReply("red", "stop", tokens=(None, 2))),
        ("Hm\n</think>\n\nred", "stop", "?<think>\n", ParsedReply("red", "stop", "Hm", (None, 2))),
        ("Hm, is it", "length", "?<think>\n", ParsedReply("", "length", "Hm, is it", (None, 2))),
        ("a </think> b", "stop", "?", ParsedReply("a </think> b", "stop", tokens=(None, 2))),
        ("", "content_filter", "?", ParsedReply("", "filter", tokens=(None, 2))),
    ],
)
def test_a_text_completion_is_read_with_the_prompt_it_follows(
    text: str, reason: str, prompt: str, expected: ParsedReply
) -> None:
    body = {"choices": [{"text": text, "finish_reason": reason}], "usage": {"completion_tokens": 2}}
    assert text_reply(body, prompt=prompt) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "type", "x"]), inner),
    max_leaves=6,
)


@given(_JSON, _JSON, _JSON, _JSON)
def test_any_json_is_a_reply_or_none(content: object, reason: object, usage: object, thought: object) -> None:
    """What no one expected raises what the client turns into "the body is no chat completion"."""
    body = {
        "choices": [{"message": {"content": content, "reasoning": thought}, "finish_reason": reason}],
        "usage": usage,
        "error": usage,
    }
    assert isinstance(filtered(body), bool)
    assert error_of(body) == ""
    try:
        said = chat_reply(body)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return
    assert isinstance(said.text, str)
