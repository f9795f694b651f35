"""Proxies, certificates, addresses and keys of the environment: each fault is one line that names its variable."""

import json
import socket

import pytest

from harness.errors import InvalidExperiment, StageFailed
from harness.inference.openai.endpoint import EndpointEngine
from harness.types.models import Endpoint
from harness.types.samples import Decoding, Message
from tests.conftest import Said
from tests.inference.loopback import Reply, serving

PROMPT = [(Message("user", "which?"),)]
_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENAI_API_KEY")
# RFC 2606 keeps this name from ever being one.
AWAY = "http://server.invalid/v1"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def right(place: int, body: dict) -> Reply:
    return Reply(body=json.dumps({"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}]}))


def ask(url: str, **options: object) -> str:
    endpoint = Endpoint(url, "m", **{"retries": 0, **options})  # type: ignore[arg-type]
    engine = EndpointEngine(endpoint, progress=Said(), first_wait_seconds=0.01)
    ((_, (answer,)),) = list(engine.generate(PROMPT, Decoding()))
    return answer.text


def failure(url: str, **options: object) -> str:
    with pytest.raises(StageFailed) as error:
        ask(url, **options)
    said = str(error.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ALL_PROXY", "socks5://me:sesame@127.0.0.1:9", "ALL_PROXY names a SOCKS proxy (socks5://127.0.0.1:9)"),
        ("https_proxy", "gopher://me:sesame@127.0.0.1:9", "https_proxy names no proxy (gopher://127.0.0.1:9)"),
        ("HTTP_PROXY", "http://me:sesame@127.0.0.1:port", "HTTP_PROXY names no proxy (http://127.0.0.1:port)"),
        ("NO_PROXY", "[::1", "NO_PROXY='[::1' cannot be read"),
    ],
)
def test_a_variable_that_names_no_proxy_is_named(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "NO_PROXY":
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    said = failure(AWAY)
    assert said.startswith(says)
    assert "unset" in said
    assert "sesame" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("NO_PROXY", "[::1"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_asked_directly(
    name: str, value: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with serving(right) as server:
        assert ask(server.url.replace("127.0.0.1", host)) == "red"


def test_a_proxy_is_used_for_other_servers_and_named_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(right) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        assert ask(AWAY) == "red"
    said = failure(AWAY)
    assert "no connection through the proxy that HTTP_PROXY names" in said


def test_a_certificate_file_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    assert failure("https://server.invalid/v1").startswith("SSL_CERT_FILE names /nowhere/ca.pem, which is not there")


def test_a_certificate_file_that_holds_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("certificates") / "ca.pem"
    file.write_text("no certificate", encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert f"{file}: no certificates can be read" in failure("https://server.invalid/v1")


def test_a_plain_server_asked_in_tls_is_told() -> None:
    with serving(right) as server:
        said = failure(server.url.replace("http://", "https://"))
    assert "no TLS connection" in said
    assert "http:// instead of https://" in said


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_names_its_place_without_its_secrets(status: int) -> None:
    place = "https://me:sesame@elsewhere.example/v2?token=sesame"
    with serving(lambda n, body: Reply(status, "", {"Location": place})) as server:
        said = failure(server.url, retries=3)
    assert f"status {status}: it redirects to https://elsewhere.example/v2?token=***; give the address" in said
    assert "sesame" not in said
    assert len(server.requests) == 1


def test_a_name_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = failure(AWAY, retries=5)
    assert "no connection: the name server.invalid cannot be resolved (Name or service not known)" in said
    assert "attempts: 1;" in said


@pytest.mark.parametrize("key", [" sk-sesame", "sk-sesame\n", "\r\nsk-sesame\r\n", "\tsk-sesame"])
def test_white_space_around_a_key_is_left_out(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving(right) as server:
        assert ask(server.url) == "red"
    assert server.requests[0][2]["Authorization"] == "Bearer sk-sesame"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("sk-ses\name", "a line break"),
        ("sk ses ame", "white space"),
        ("sk-sésame", "characters that are not ASCII"),
        ("sk-ses\x01ame", "control characters"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused_by_the_name_of_its_variable(
    key: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", key)
    with serving(right) as server:
        said = failure(server.url, api_key_env="TEST_KEY")
    assert said == f"TEST_KEY holds {says}, which no HTTP header can carry; set it to the key alone and run again"
    assert server.requests == []


def test_a_query_in_the_address_follows_each_path_and_its_keys_are_not_shown() -> None:
    with serving(lambda place, body: Reply(400, "no such key: sesame")) as server:
        said = failure(f"{server.url}?api-version=2024-10-21&api-key=sesame")
    assert server.paths == {"/v1/chat/completions?api-version=2024-10-21&api-key=sesame"}
    assert "sesame" not in said
    assert f"POST {server.url}/chat/completions?api-version=2024-10-21&api-key=***, prompt" in said


@pytest.mark.parametrize("url", ["http://", "http://:80/v1", "http://[::1/v1", "http://host:port/v1", "ftp://x/v1"])
def test_an_address_that_is_none_is_refused_when_it_is_declared(url: str) -> None:
    with pytest.raises(InvalidExperiment, match="Endpoint"):
        Endpoint(url, "m")


def test_a_declaration_shows_no_password() -> None:
    endpoint = Endpoint("https://me:sesame@host.example/v1?key=sesame", "m", retries=1)
    assert repr(endpoint) == "Endpoint('https://host.example/v1?key=***', 'm', retries=1)"
    with pytest.raises(InvalidExperiment) as error:
        Endpoint("https://me:sesame@host.example:port/v1?key=sesame", "m")
    assert "sesame" not in str(error.value)
