"""The endpoint engine against a real HTTP server on this machine."""

import json
from pathlib import Path

import pytest

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.openai.endpoint import EndpointEngine, open_engine
from harness.types.models import Endpoint, Model
from harness.types.samples import Completion, Decoding, Message, ToolCall
from tests.inference.loopback import Reply, Server, serving

PROMPTS = [(Message("system", "Be brief."), Message("user", f"question {place}")) for place in range(6)]


def said(text: str, *, usage: bool = True, reason: str = "stop") -> Reply:
    body: dict[str, object] = {"choices": [{"message": {"content": text}, "finish_reason": reason}]}
    if usage:
        body["usage"] = {"prompt_tokens": 11, "completion_tokens": 3}
    return Reply(body=json.dumps(body))


def engine_of(server: Server, **options: object) -> EndpointEngine:
    endpoint = Endpoint(server.url, "small-model", **options)
    return EndpointEngine(endpoint, progress=None, first_wait_seconds=0.01)


def answers(engine: EndpointEngine, prompts: list = PROMPTS, **decoding: object) -> list[Completion]:
    found = {
        p: c
        for places, batch in engine.generate(prompts, Decoding(**decoding))
        for p, c in zip(places, batch, strict=True)
    }
    return [found[position] for position in range(len(prompts))]


def echo(place: int, body: dict) -> Reply:
    return said(f"answer to {body['messages'][-1]['content']}")


def test_calls_and_tools_are_sent_as_servers_take_them() -> None:
    tools = '[{"type": "function", "function": {"name": "weather"}}]'
    call = ToolCall(name="weather", arguments='{"city": "Rome"}', id="c1")
    prompt = (
        Message("user", "warm?", tools=tools),
        Message("assistant", "", calls=(call,)),
        Message("tool", "24", call_id="c1"),
    )
    with serving(echo) as server:
        answers(engine_of(server), [prompt])
    body = server.requests[0][1]
    assert body["tools"] == json.loads(tools)
    assert body["messages"] == [
        {"role": "user", "content": "warm?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
            ],
        },
        {"role": "tool", "content": "24", "tool_call_id": "c1"},
    ]


def test_each_prompt_gets_its_own_answer() -> None:
    with serving(echo) as server:
        engine = engine_of(server)
        got = answers(engine)
    assert server.paths == {"/v1/chat/completions"}
    assert [answer.text for answer in got] == [f"answer to question {place}" for place in range(6)]
    assert (got[0].prompt, got[0].tokens_in, got[0].tokens_out, got[0].cut) == (
        "system: Be brief.\n\nuser: question 0",
        11,
        3,
        False,
    )
    assert engine.description == {
        "engine": "endpoint",
        "url": server.url,
        "model": "small-model",
        "concurrency": 4,
        "token_counts": "server",
    }


def test_the_request_says_how_to_decode() -> None:
    with serving(echo) as server:
        answers(engine_of(server), PROMPTS[:1], max_tokens=7, temperature=0.5, top_p=0.9, stop=("\n",), seed=3)
    assert server.requests[0][1] == {
        "model": "small-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "question 0"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n"],
        "seed": 3,
    }


def test_a_server_that_answers_500_twice_is_asked_again() -> None:
    with serving(lambda place, body: Reply(500, "overloaded") if place < 2 else echo(place, body)) as server:
        got = answers(engine_of(server), PROMPTS[:1])
    assert (got[0].text, len(server.requests)) == ("answer to question 0", 3)


def test_retry_after_is_honoured() -> None:
    def busy_first(place: int, body: dict) -> Reply:
        return Reply(429, "slow down", {"Retry-After": "0.4"}) if place == 0 else echo(place, body)

    with serving(busy_first) as server:
        answers(engine_of(server), PROMPTS[:1])
    first, second = (moment for moment, _, _ in server.requests)
    assert 0.4 <= second - first < 2


def test_a_server_that_never_recovers_is_named_with_status_and_body() -> None:
    with (
        serving(lambda place, body: Reply(503, "<h1>maintenance until nine</h1>")) as server,
        pytest.raises(StageFailed) as failure,
    ):
        answers(engine_of(server, retries=2), PROMPTS[:1])
    assert str(failure.value) == (
        f"POST {server.url}/chat/completions, prompt at position 0: status 503: <h1>maintenance until nine</h1>; "
        "attempts: 3; what was answered is stored, running again resumes"
    )
    assert len(server.requests) == 3


def test_one_refused_prompt_loses_no_answer_of_the_others() -> None:
    def refuse_the_last(place: int, body: dict) -> Reply:
        return Reply(400, "too long") if body["messages"][-1]["content"] == "question 3" else echo(place, body)

    kept: dict[int, str] = {}

    def ask(engine: EndpointEngine) -> None:
        for places, batch in engine.generate(PROMPTS, Decoding(), done=frozenset(kept)):
            kept.update({place: completion.text for place, completion in zip(places, batch, strict=True)})

    with serving(refuse_the_last) as server:
        engine = engine_of(server, concurrency=1)
        with pytest.raises(StageFailed, match="prompt at position 3: status 400"):
            ask(engine)
        assert kept == {place: f"answer to question {place}" for place in range(3)}
        with pytest.raises(StageFailed, match="prompt at position 3: status 400"):
            ask(engine)
    assert [body["messages"][-1]["content"] for _, body, _ in server.requests[4:5]] == ["question 3"]


def test_a_slow_answer_is_given_up_and_asked_for_again() -> None:
    with serving(lambda place, body: Reply(seconds=0.6) if place == 0 else echo(place, body)) as server:
        got = answers(engine_of(server, timeout_seconds=0.2), PROMPTS[:1])
    assert got[0].text == "answer to question 0"
    with (
        serving(lambda place, body: Reply(seconds=0.3)) as server,
        pytest.raises(StageFailed, match=r"no answer within 0\.1 s; attempts: 2"),
    ):
        answers(engine_of(server, timeout_seconds=0.1, retries=1), PROMPTS[:1])


@pytest.mark.parametrize("body", ["{not json", "[]", '{"choices": [{"message": null}]}', '{"choices": {}}', "3"])
def test_a_body_that_is_no_chat_completion_is_shown(body: str) -> None:
    with (
        serving(lambda place, _: Reply(200, body)) as server,
        pytest.raises(StageFailed) as failure,
    ):
        answers(engine_of(server, retries=0), PROMPTS[:1])
    assert f"status 200, but the body is no chat completion: {body}" in str(failure.value)


def test_nobody_listening_is_a_clear_error() -> None:
    with serving(echo) as server:
        pass
    with pytest.raises(StageFailed, match=rf"POST {server.url}/chat/completions, .*no connection"):
        answers(engine_of(server, retries=1), PROMPTS[:1])


def test_a_refused_key_is_not_tried_again_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-very-secret")

    def refuse(place: int, body: dict) -> Reply:
        return Reply(401, '{"error": "Incorrect API key provided: sk-very-secret"}')

    with serving(refuse) as server, pytest.raises(StageFailed) as failure:
        answers(engine_of(server, api_key_env="TEST_KEY"), PROMPTS[:1])
    assert len(server.requests) == 1
    assert server.requests[0][2]["Authorization"] == "Bearer sk-very-secret"
    assert "sk-very-secret" not in str(failure.value)
    assert "status 401" in str(failure.value)
    assert "is TEST_KEY set to a valid key?" in str(failure.value)


def test_no_key_sends_no_authorization(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(echo) as server:
        answers(engine_of(server), PROMPTS[:1])
    assert "Authorization" not in server.requests[0][2]


def test_a_password_in_the_address_is_not_shown() -> None:
    with serving(lambda place, body: Reply(400, "bad")) as server:
        address = server.url.replace("http://", "http://me:secret@")
        engine = EndpointEngine(Endpoint(address, "m"), progress=None, first_wait_seconds=0.01)
        with pytest.raises(StageFailed) as failure:
            answers(engine, PROMPTS[:1])
    assert "secret" not in f"{failure.value} {engine.description}"


def test_requests_run_side_by_side() -> None:
    def slow(place: int, body: dict) -> Reply:
        reply = echo(place, body)
        reply.seconds = 0.2
        return reply

    with serving(slow) as server:
        answers(engine_of(server, concurrency=3))
    assert server.most_at_once == 3


def test_a_rate_limit_spreads_requests() -> None:
    with serving(echo) as server:
        answers(engine_of(server, requests_per_minute=600), PROMPTS[:4])
    moments = sorted(moment for moment, _, _ in server.requests)
    assert moments[-1] - moments[0] >= 0.25


def test_a_limit_on_tokens_counts_what_the_server_counted() -> None:
    """Each answer takes 14 tokens: at 4200 a minute one may begin every 0.2 s, however long it was allowed to be."""
    with serving(echo) as server:
        answers(engine_of(server, tokens_per_minute=4200, concurrency=1), PROMPTS[:4], max_tokens=2)
    moments = sorted(moment for moment, _, _ in server.requests)
    assert 0.55 <= moments[-1] - moments[0] < 2


def test_a_limit_that_lets_nothing_pass_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match="a limit of 0 a minute lets nothing pass"):
        Endpoint("http://127.0.0.1:9/v1", "m", tokens_per_minute=0)


def test_a_resumed_call_asks_only_for_missing_batches() -> None:
    with serving(echo) as server:
        engine = engine_of(server, concurrency=1)
        whole = list(engine.generate(PROMPTS, Decoding()))
        rest = list(engine.generate(PROMPTS, Decoding(), done=frozenset(whole[0][0])))
    assert [places for places, _ in whole] == [(0, 1, 2, 3), (4, 5)]
    assert [places for places, _ in rest] == [(4, 5)]
    assert len(server.requests) == 8


def test_words_are_counted_where_the_server_gives_no_usage() -> None:
    with serving(lambda place, body: said("two words", usage=False, reason="length")) as server:
        engine = engine_of(server)
        (answer,) = answers(engine, PROMPTS[:1])
    assert (answer.tokens_in, answer.tokens_out, answer.cut) == (6, 2, True)
    assert engine.description["token_counts"] == "words, the server gave no usage"


def test_what_a_server_cannot_do_is_said() -> None:
    engine = open_engine(Endpoint("http://127.0.0.1:9/v1", "m"), progress=None)
    with pytest.raises(StageFailed, match="declare Endpoint\\(tokenizer="):
        engine.likelihoods([(PROMPTS[0], "x")])
    with pytest.raises(StageFailed, match="cannot load the tuned weights"):
        engine.use(Path("adapter"))
    engine.use(None)
    engine.close()


def test_the_options_of_a_declared_tokenizer_reach_the_servers_template(tiny_model: Path) -> None:
    known = Model(str(tiny_model), template_options={"enable_thinking": False})
    with serving(echo) as server:
        answers(engine_of(server, tokenizer=known), PROMPTS[:1])
        answers(engine_of(server, tokenizer=str(tiny_model)), PROMPTS[:1])
    assert server.requests[0][1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in server.requests[1][1]
