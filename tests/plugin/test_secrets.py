"""Keys, planted in each place an error may come from, stand nowhere afterwards: terminal, junit, logs, store, page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.store import Store
from tests.inference.loopback import Reply, serving

SECRETS = ("sk-openagatha", "passwordagatha", "queryagatha", "proxyagatha", "placeagatha", "bWU6cGFzc3dvcmRhZ2F0aGE=")


def address(url: str) -> str:
    return url.replace("http://", "http://me:passwordagatha@") + "?api-version=1&api-key=queryagatha"


def everything_written(folder: Path) -> str:
    """Return all that a run left, the experiment file itself apart, and all that its store holds."""
    files = [path for path in folder.rglob("*") if path.is_file() and "experiments" not in path.parts]
    text = "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)
    store = Store(folder / "reports" / "results.duckdb")
    tables = [name for (name,) in store.query("SELECT table_name FROM duckdb_tables()")[1]]
    return text + "\n".join(str(store.query(f'SELECT * FROM "{name}"')) for name in tables)


def echo(place: int, body: dict) -> Reply:
    """Refuse as servers do that quote what they were sent."""
    quoted = "Authorization: Bearer sk-openagatha, Basic bWU6cGFzc3dvcmRhZ2F0aGE=, ?api-key=queryagatha"
    return Reply(401, json.dumps({"error": {"message": quoted}}))


def away(place: int, body: dict) -> Reply:
    return Reply(307, "", {"Location": "http://me:placeagatha@elsewhere.example/?token=placeagatha"})


def right(place: int, body: dict) -> Reply:
    message = {"content": None, "reasoning": "the lamp"} if place % 2 else {"content": "no"}
    return Reply(body=json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))


@pytest.mark.parametrize(
    ("reply", "key", "says"),
    [
        (right, "sk-openagatha\n", "INVALID"),
        (echo, "sk-openagatha", "is TEST_KEY set to a valid key?"),
        (away, "sk-openagatha", "status 307: it redirects to http://elsewhere.example/?token=***"),
        (right, "sk-open\nagatha sk-openagatha", "TEST_KEY holds a line break"),
        (right, "sk-openagatha\u00e9", "TEST_KEY holds characters that are not ASCII"),
    ],
    ids=["right", "echo", "redirect", "line break", "accent"],
)
def test_no_key_is_left_anywhere(
    reply: Callable[[int, dict], Reply],
    key: str,
    says: str,
    pytester: pytest.Pytester,
    lamps: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_KEY", key)
    monkeypatch.setenv("HTTP_PROXY", "http://me:proxyagatha@127.0.0.1:9")
    with serving(reply) as server:
        endpoint = f"Endpoint({address(server.url)!r}, 'large', api_key_env='TEST_KEY', retries=0)"
        lamps(baselines=f"[ZeroShot(model={endpoint})]")
        result = pytester.runpytest(
            "experiments", "--junitxml=junit.xml", "-ojunit_logging=all", "--log-level=DEBUG", "-olog_cli=true"
        )

    assert says in result.stdout.str()
    said = f"{result.stdout.str()}\n{result.stderr.str()}\n{everything_written(pytester.path)}"
    assert [secret for secret in SECRETS if secret in said] == []


def test_no_password_of_a_proxy_is_left_anywhere(
    pytester: pytest.Pytester, lamps: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://me:proxyagatha@127.0.0.1:9")
    lamps(baselines="[ZeroShot(model=Endpoint('http://server.invalid/v1', 'large', retries=0))]")
    result = pytester.runpytest("experiments", "--junitxml=junit.xml", "-ojunit_logging=all")

    result.stdout.fnmatch_lines(["*HTTP_PROXY names no proxy (gopher://127.0.0.1:9)*"])
    said = f"{result.stdout.str()}\n{result.stderr.str()}\n{everything_written(pytester.path)}"
    assert "proxyagatha" not in said
