"""Likelihoods from a server: a real model behind real HTTP, with a right echo and with wrong ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.errors import StageFailed
from harness.inference.local.engine import open_engine
from harness.inference.models.loading import tokenizer_of
from harness.inference.openai.endpoint import EndpointEngine
from harness.types.models import Endpoint, Model
from harness.types.samples import Likelihood, Message
from tests.inference.loopback import Reply, serving

REQUESTS = [
    ((Message("user", "What is the capital of France?"),), "Paris"),
    ((Message("system", "Answer with one word only."), Message("user", "Turn on the light.")), "The light is on."),
    ((Message("user", "What is the capital of France?"),), ""),
]
Answering = Callable[[int, dict], Reply]


class Served:
    """A model that answers /completions in token ids; `values`: log-probabilities of all positions -> what is told."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = tokenizer_of(folder)

    @torch.inference_mode()
    def rows(self, ids: list[int]) -> torch.Tensor:
        return self.model(torch.tensor([ids])).logits[0].log_softmax(-1)  # (tokens, vocabulary)

    def spoken(self, body: dict, *, with_ids: bool) -> Reply:
        ids, logprobs = list(body["prompt"]), []
        for _ in range(body["max_tokens"]):
            last = self.rows(ids)[-1]
            ids.append(int(last.argmax()))
            logprobs.append(float(last.max()))
        new = ids[len(body["prompt"]) :]
        text = self.tokenizer.decode(new)
        choice = {"text": text, "logprobs": {"token_logprobs": logprobs}} | ({"token_ids": new} if with_ids else {})
        return _choice(choice)

    def vllm(self, place: int, body: dict) -> Reply:
        if "prompt_logprobs" not in body:
            return self.spoken(body, with_ids=True)
        entries: list[Any] = [None]
        ids, rows = body["prompt"], self.rows(body["prompt"])
        for token, row in zip(ids[1:], rows, strict=False):
            rank = int((row > row[token]).sum()) + 1
            entries.append({str(token): {"logprob": float(row[token]), "rank": rank, "decoded_token": "?"}})
        return _choice({"text": "", "prompt_logprobs": entries})

    def echo(self, *, behind: int) -> Answering:
        """behind: 0 tells each token's log-probability, 1 what the model thinks of it after having read it."""

        def answer(place: int, body: dict) -> Reply:
            if "prompt_logprobs" in body:
                return Reply(400, "unknown field prompt_logprobs")
            if not body.get("echo"):
                return self.spoken(body, with_ids="return_token_ids" in body)
            ids, rows = body["prompt"], self.rows(body["prompt"])
            told = [None, *(rows[at - 1 + behind, ids[at]].item() for at in range(1, len(ids))), -0.5]
            best = [None, *({"?": rows[at - 1 + behind].max().item()} for at in range(1, len(ids))), {"?": -0.5}]
            return _choice({"text": "", "logprobs": {"token_logprobs": told, "top_logprobs": best}})

        return answer

    def shifted(self, place: int, body: dict) -> Reply:
        """Each token with the log-probability of the one after it."""
        right = json.loads(self.vllm(place, body).body)
        entries = right["choices"][0].get("prompt_logprobs")
        if entries is None:
            return Reply(400, "no echo") if body.get("echo") else Reply(body=json.dumps(right))
        values = [next(iter(entry.values())) for entry in entries[1:]]
        moved = [None, *({str(i): v} for i, v in zip(body["prompt"][1:], [*values[1:], values[0]], strict=True))]
        return _choice({"text": "", "prompt_logprobs": moved})


def _choice(choice: dict) -> Reply:
    return Reply(body=json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "total_tokens": 10}}))


@pytest.fixture(scope="module")
def served(tiny_model: Path) -> Served:
    return Served(tiny_model)


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> list[Likelihood]:
    engine = open_engine(Model(str(tiny_model), dtype="float32"), progress=_Silent())
    return weighed(engine)


class _Silent:
    def say(self, line: str) -> None:
        """Nobody listens."""


def weighed(engine: Any, **options: Any) -> list[Likelihood]:
    found = {}
    for places, batch in engine.likelihoods(REQUESTS, **options):
        found |= dict(zip(places, batch, strict=True))
    return [found[place] for place in sorted(found)]


def asked(answer: Answering, folder: Path, **options: Any) -> tuple[list[Likelihood], dict]:
    with serving(answer) as server:
        endpoint = Endpoint(server.url, "served", tokenizer=str(folder), retries=0)
        engine = EndpointEngine(endpoint, progress=_Silent())
        found = weighed(engine, **options)
        assert server.paths == {"/v1/completions"}
        return found, engine.description


def assert_same(got: list[Likelihood], expected: list[Likelihood]) -> None:
    assert [item.logprob for item in got] == pytest.approx([item.logprob for item in expected], abs=1e-4)
    assert [(i.tokens, i.bytes, i.greedy) for i in got] == [(i.tokens, i.bytes, i.greedy) for i in expected]


def test_vllms_likelihoods_are_the_local_models(served: Served, tiny_model: Path, expected: list[Likelihood]) -> None:
    got, description = asked(served.vllm, tiny_model)
    assert_same(got, expected)
    assert description["likelihood_tokens_sent"] > sum(item.tokens for item in got)


def test_a_right_echo_gives_the_local_models_likelihoods(
    served: Served, tiny_model: Path, expected: list[Likelihood]
) -> None:
    served_echo = served.echo(behind=0)

    def with_ids(place: int, body: dict) -> Reply:
        return served_echo(place, body | {"return_token_ids": True}) if "echo" not in body else served_echo(place, body)

    got, _ = asked(with_ids, tiny_model)
    assert_same(got, expected)


def test_an_echo_that_is_off_by_one_is_refused(served: Served, tiny_model: Path) -> None:
    wrong = served.echo(behind=1)

    def with_ids(place: int, body: dict) -> Reply:
        return wrong(place, body | {"return_token_ids": True}) if "echo" not in body else wrong(place, body)

    with pytest.raises(StageFailed, match=r"gives no log-likelihoods that can be trusted .*off by one") as failure:
        asked(with_ids, tiny_model)
    assert "unknown field prompt_logprobs" in str(failure.value)


def test_the_next_tokens_values_are_refused(served: Served, tiny_model: Path) -> None:
    with pytest.raises(StageFailed, match=r"prompt_logprobs: the echo of its own words gives .* where it said"):
        asked(served.shifted, tiny_model)


def test_a_server_without_log_probabilities_is_refused(tiny_model: Path) -> None:
    def only_text(place: int, body: dict) -> Reply:
        return _choice({"text": "hello", "logprobs": None})

    with pytest.raises(StageFailed, match="its completions have no log-probabilities"):
        asked(only_text, tiny_model)


def test_a_resumed_call_weighs_only_what_is_missing(
    served: Served, tiny_model: Path, expected: list[Likelihood]
) -> None:
    got, _ = asked(served.vllm, tiny_model, done=frozenset({0, 2}))
    assert_same(got, expected[1:2])
