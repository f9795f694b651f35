"""Log-probabilities of given tokens from a server that gives them: asked in two dialects, checked before believed.

Some servers' echo is off by one: llama.cpp's reports, for each token, what the model thinks after having read it.

Answers to one prompt as a tree of tokens: what each node is asked, and each answer's score from it.

A server with a prefix cache computes the prompt once and each node's few tokens, where scoring a whole text would
compute the prompt anew with each answer: 20 choices after 431 tokens took 13.3 s a sample instead of 54.0 s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import StageFailed
from harness.inference.openai.client import Client, HttpRequest
from harness.types.samples import Likelihood

_PATH = "/completions"
_KIND = "completion with log-probabilities"
_SPOKEN_TOKENS = 8
_FEWEST_TOKENS = 3
# Reading and writing round differently in 16 bits; an echo that is off by one differs by whole nats.
_CLOSE_NATS = 0.25

Ids = Sequence[int]


@dataclass(frozen=True)
class TokenScore:
    """One token after those before it. first: it was the model's first choice."""

    logprob: float
    first: bool


@dataclass(frozen=True)
class Dialect:
    """One way of asking. read: (choice, ids) -> a score for each token but the first, which follows nothing."""

    name: str
    asks: dict[str, Any]
    speaks: dict[str, Any]
    read: Callable[[Any, Ids], list[TokenScore]]


class Echoes:
    """What one server thinks of given tokens.

    Args:
        tokenizer: The model's own.
        trusted: The dialect of a server that is known to be right; else `check` finds it.
    """

    def __init__(self, client: Client, model: str, tokenizer: Any, *, trusted: Dialect | None = None) -> None:
        self._client, self._model, self._tokenizer = client, model, tokenizer
        self._dialect = trusted
        self.tokens_sent = 0

    def likelihood(self, prompt: Ids, answer: Ids, *, bytes_: int, about: str) -> Likelihood:
        """Return the log-likelihood of the tokens `answer` after the tokens `prompt`; call `check` first."""
        assert self._dialect is not None
        scores = self._scores(self._dialect, [*prompt, *answer], about)[-len(answer) :] if answer else []
        return likelihood_of(scores, bytes_=bytes_)

    def check(self, prompt: Ids) -> None:
        """Find out, once, in which dialect the server tells the truth about tokens like those of `prompt`.

        Raises:
            StageFailed: Says what it said instead.
        """
        faults = []
        for dialect in () if self._dialect else DIALECTS:
            try:
                fault = self._fault(dialect, prompt)
            except StageFailed as error:
                fault = str(error).partition("; attempts")[0]
            if fault is None:
                self._dialect = dialect
                break
            faults.append(f"{dialect.name}: {fault}")
        if self._dialect is None:
            raise StageFailed(
                f"{self._model} at {self._client.shown} gives no log-likelihoods that can be trusted ("
                f"{'; '.join(faults)}); use a local Model or vLLM for perplexity and choices, or leave out tokenizer="
            )

    def _fault(self, dialect: Dialect, prompt: Ids) -> str | None:
        """Return what is wrong with the echo, None if it repeats what the server said while generating."""
        for quarters in (4, 3, 2, 1):
            before = list(prompt[: max(1, len(prompt) * quarters // 4)])
            spoken = self._spoken(dialect, before)
            if len(spoken) < _FEWEST_TOKENS:
                continue
            whole = [*before, *(token for token, _ in spoken)]
            echoed = [score.logprob for score in self._scores(dialect, whole, "a check of its log-probabilities")]
            said, count = [logprob for _, logprob in spoken], len(spoken)
            if not _close(echoed[-count:], said):
                return _difference(echoed[-count:], said)
            # Where the neighbours' values would pass as well, nothing is shown: a shorter beginning tells more.
            if not _close(echoed[-count - 1 : -1], said) and not _close(echoed[-count + 1 :], said[:-1]):
                return None
        return "no text was found on which a shift by one token would show"

    def _spoken(self, dialect: Dialect, before: Ids) -> list[tuple[int, float]]:
        """Return the likeliest next tokens with their log-probabilities; none if their ids cannot be told."""
        body = {"prompt": before, "max_tokens": _SPOKEN_TOKENS, "temperature": 0, "logprobs": 1, **dialect.speaks}
        choice = self._post(body, "a check of its log-probabilities", lambda body: body["choices"][0])
        try:
            logprobs = [float(value) for value in choice["logprobs"]["token_logprobs"]]
            ids = choice.get("token_ids") or self._tokenizer(choice["text"], add_special_tokens=False)["input_ids"]
        except (KeyError, TypeError, ValueError) as error:
            raise StageFailed(f"its completions have no log-probabilities ({error!r})") from error
        return list(zip(ids, logprobs, strict=True)) if len(ids) == len(logprobs) else []

    def _scores(self, dialect: Dialect, ids: Ids, about: str) -> list[TokenScore]:
        body = {"prompt": list(ids), "max_tokens": 1, "temperature": 0, **dialect.asks}
        self.tokens_sent += len(ids)
        found: list[TokenScore] = self._post(body, about, lambda reply: dialect.read(reply["choices"][0], ids))
        return found

    def _post(self, body: dict[str, Any], about: str, read: Callable[[Any], Any]) -> Any:
        request = HttpRequest(_PATH, {"model": self._model, **body}, about, len(body["prompt"]) + body["max_tokens"])
        return self._client.post(request, read, kind=_KIND).value


def likelihood_of(scores: Sequence[TokenScore], *, bytes_: int) -> Likelihood:
    """Return the likelihood of an answer of `bytes_` UTF-8 bytes with these tokens; without tokens it is certain."""
    total = sum(score.logprob for score in scores)
    return Likelihood(total, len(scores), bytes_, greedy=all(score.first for score in scores))


def _close(some: Sequence[float], others: Sequence[float]) -> bool:
    return all(abs(one - other) <= _CLOSE_NATS for one, other in zip(some, others, strict=True))


def _difference(echoed: Sequence[float], said: Sequence[float]) -> str:
    worst = max(range(len(said)), key=lambda place: abs(echoed[place] - said[place]))
    return (
        f"the echo of its own words gives {echoed[worst]:.2f} where it said {said[worst]:.2f} while writing them, "
        "as servers do whose echo is off by one token"
    )


def _read_prompt_logprobs(choice: Any, ids: Ids) -> list[TokenScore]:
    entries = choice["prompt_logprobs"]
    _check_length(len(entries), len(ids), len(ids))
    found = [entry[str(token)] for entry, token in zip(entries[1:], ids[1:], strict=True)]
    return [TokenScore(float(item["logprob"]), item["rank"] == 1) for item in found]


def _read_echo(choice: Any, ids: Ids) -> list[TokenScore]:
    values, tops = choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"]
    _check_length(len(values), len(ids), len(ids) + 1)  # the token that it generated stands at the end
    pairs = list(zip(values, tops, strict=True))[1 : len(ids)]
    return [TokenScore(float(value), float(value) >= max(top.values())) for value, top in pairs]


def _check_length(length: int, fewest: int, most: int) -> None:
    if not fewest <= length <= most:
        raise ValueError(f"{length} log-probabilities for {fewest} tokens")


PROMPT_LOGPROBS = Dialect("prompt_logprobs", {"prompt_logprobs": 1}, {"return_token_ids": True}, _read_prompt_logprobs)
ECHO = Dialect("echo", {"echo": True, "logprobs": 1}, {}, _read_echo)
DIALECTS = (PROMPT_LOGPROBS, ECHO)


Tokens = tuple[int, ...]
Asker = Callable[[Tokens, Tokens], Mapping[int, TokenScore]]


def scored_branches(answers: Sequence[Tokens], ask: Asker, *, most: int) -> list[list[TokenScore]]:
    """Return the scores of each answer's tokens.

    Args:
        ask: (tokens after the prompt, next tokens) -> the score of each of these next tokens, `most` of them at
            once.
    """
    wanted: dict[Tokens, dict[int, None]] = {}
    for answer in answers:
        for place, token in enumerate(answer):
            wanted.setdefault(answer[:place], {})[token] = None
    found: dict[Tokens, dict[int, TokenScore]] = {}
    for node, tokens in wanted.items():
        listed = tuple(tokens)
        found[node] = {}
        for start in range(0, len(listed), most):
            found[node].update(ask(node, listed[start : start + most]))
    return [[found[answer[:place]][token] for place, token in enumerate(answer)] for answer in answers]
