"""Parameters of one's own, and those that a hosted model refuses: asked again once, as its error says."""

import json
from collections.abc import Callable

import pytest

from harness.errors import InvalidExperiment, StageFailed
from harness.fingerprint import fingerprint
from harness.inference.openai.endpoint import EndpointEngine
from harness.inference.openai.parameters import Change, change_asked
from harness.types.models import Endpoint
from harness.types.samples import Decoding, Message
from tests.conftest import Said
from tests.inference.loopback import Reply, Server, serving

PROMPTS = [(Message("user", f"question {place}"),) for place in range(3)]
SENT = {"model": "m", "messages": [], "max_tokens": 8, "temperature": 0.0, "seed": 0}


def refusal(message: str, **fields: object) -> dict[str, object]:
    return {"error": {"message": message, "type": "invalid_request_error", **fields}}


MAX_TOKENS = refusal(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    param="max_tokens",
    code="unsupported_parameter",
)
TEMPERATURE = refusal(
    "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported.",
    param="temperature",
    code="unsupported_value",
)
SEED = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (MAX_TOKENS, Change("max_tokens", "max_completion_tokens")),
        (TEMPERATURE, Change("temperature", None)),
        (SEED, Change("seed", None)),
        (refusal("`temperature` is deprecated for this model."), Change("temperature", None)),
        ({"error": "Unknown parameter: seed"}, Change("seed", None)),
        ({"message": "seed is not supported"}, Change("seed", None)),
        (refusal("max_tokens is not supported"), None),
        (refusal("temperature must be between 0 and 2", param="temperature", code="invalid_value"), None),
        (refusal("Unsupported parameter: 'top_p'", param="top_p", code="unsupported_parameter"), None),
        (refusal("This model's maximum context length is 8 tokens"), None),
        ({"error": None}, None),
        (None, None),
        ([], None),
    ],
)
def test_what_an_error_asks_for(body: object, expected: Change | None) -> None:
    assert change_asked(body, SENT) == expected


def reasoner(place: int, body: dict) -> Reply:
    """Refuses what hosted reasoners refuse, one parameter at a time."""
    for name, error in (("max_tokens", MAX_TOKENS), ("temperature", TEMPERATURE), ("seed", SEED)):
        if name in body:
            return Reply(400, json.dumps(error))
    return Reply(body=json.dumps({"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}]}))


def asked(server: Server, *, prompts: int = 3, **options: object) -> tuple[list[str], EndpointEngine, Said]:
    heard = Said()
    engine = EndpointEngine(Endpoint(server.url, "o9", concurrency=1, **options), progress=heard)
    found = [one.text for _, batch in engine.generate(PROMPTS[:prompts], Decoding(max_tokens=8)) for one in batch]
    return found, engine, heard


def test_a_reasoner_is_asked_as_it_asks_to_be_and_this_is_said() -> None:
    with serving(reasoner) as server:
        found, engine, heard = asked(server)

    assert found == ["red"] * 3
    assert len(server.requests) == 3 + 3  # each parameter is refused once
    assert server.requests[-1][1] == {
        "model": "o9",
        "messages": [{"role": "user", "content": "question 2"}],
        "max_completion_tokens": 8,
    }
    assert heard.lines == [
        "o9 refuses max_tokens: max_completion_tokens in place of max_tokens from now on",
        "o9 refuses temperature: without temperature from now on",
        "o9 refuses seed: without seed from now on",
    ]
    assert engine.description["refused_parameters"] == (
        "max_completion_tokens in place of max_tokens, without seed, without temperature"
    )


def test_declared_parameters_are_sent_and_omitted_ones_are_not() -> None:
    with serving(reasoner) as server:
        found, engine, heard = asked(
            server,
            parameters={"max_completion_tokens": 500, "reasoning_effort": "low"},
            omit=("temperature", "seed"),
        )

    assert (found, len(server.requests), heard.lines) == (["red"] * 3, 3, [])
    assert server.requests[0][1] == {
        "model": "o9",
        "messages": [{"role": "user", "content": "question 0"}],
        "max_completion_tokens": 500,
        "reasoning_effort": "low",
    }
    assert engine.description["parameters"] == '{"max_completion_tokens": 500, "reasoning_effort": "low"}'
    assert engine.description["omitted"] == "temperature, seed"


def test_what_was_declared_is_not_left_out() -> None:
    with serving(reasoner) as server, pytest.raises(StageFailed, match=r"status 400.*temperature"):
        asked(server, prompts=1, parameters={"temperature": 0.5})
    assert len(server.requests) == 2  # max_tokens was mended, the declared temperature was not


def test_a_server_that_goes_on_refusing_is_an_error() -> None:
    with (
        serving(lambda place, body: Reply(400, json.dumps(MAX_TOKENS))) as server,
        pytest.raises(StageFailed, match="status 400"),
    ):
        asked(server, prompts=1)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"parameters": {"messages": []}}, "'messages' is not for parameters= or omit="),
        ({"omit": ("model",)}, "'model' is not for parameters= or omit="),
        ({"parameters": {"seed": 1}, "omit": ("seed",)}, "'seed' stands in parameters= and in omit="),
        ({"parameters": {"stop": {1, 2}}}, "has no JSON form"),
        ({"parameters": {"temperature": float("nan")}}, "has no JSON form"),
    ],
)
def test_parameters_that_cannot_be_sent_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidExperiment, match=says):
        Endpoint("http://127.0.0.1:9/v1", "m", **options)  # type: ignore[arg-type]


def test_parameters_are_part_of_the_key_and_their_absence_is_not() -> None:
    made: Callable[..., Endpoint] = lambda **fields: Endpoint("http://127.0.0.1:9/v1", "m", **fields)  # noqa: E731
    keys = {fingerprint(made(**fields)) for fields in ({}, {"parameters": None}, {"omit": ()})}
    others = {fingerprint(made(parameters={"top_k": k})) for k in (1, 2)} | {fingerprint(made(omit=("seed",)))}
    assert (len(keys), len(keys | others)) == (1, 4)
    # As it was before there were parameters: no stored answer is asked for again.
    assert keys == {"8b3066fbe363f75083cad03419a5c00f5942ddb8313a42ec3ec2fa2d8d1202ad"}


# -- a form that the reply is held to -----------------------------------------------------------------------

SCHEMA = json.dumps({"type": "object", "properties": {"winner": {"enum": ["A", "B"]}}, "required": ["winner"]})


def replying(text: str) -> Reply:
    return Reply(body=json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}))


def test_a_server_is_asked_to_hold_the_reply_to_a_schema() -> None:
    with serving(lambda place, body: replying('{"winner": "A"}')) as server:
        engine = EndpointEngine(Endpoint(server.url, "m"), progress=Said())
        list(engine.generate(PROMPTS[:1], Decoding(max_tokens=8, schema=SCHEMA)))
        list(engine.generate(PROMPTS[:1], Decoding(max_tokens=8)))

    asked, plain = (body for _, body, _ in server.requests)
    form = {"name": "reply", "schema": json.loads(SCHEMA), "strict": True}
    assert asked["response_format"] == {"type": "json_schema", "json_schema": form}
    assert "response_format" not in plain


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_knows_no_schemas_is_asked_again_without(status: int) -> None:
    def simple(place: int, body: dict) -> Reply:
        return (
            Reply(status, json.dumps({"error": "cannot do that"}))
            if "response_format" in body
            else replying("Winner: A")
        )

    said = Said()
    with serving(simple) as server:
        engine = EndpointEngine(Endpoint(server.url, "m", concurrency=1), progress=said)
        found = list(engine.generate(PROMPTS, Decoding(max_tokens=8, schema=SCHEMA)))

    assert [one.text for _, batch in found for one in batch] == ["Winner: A"] * 3
    assert len(server.requests) == 4
    assert engine.description["refused_parameters"] == "without response_format"
