"""The local engine against transformers' and lm-eval's own answers, on a two-layer model."""

from pathlib import Path

import pytest
import torch

from harness.errors import InvalidEvidence, StageFailed
from harness.inference.local.engine import LocalEngine, open_engine
from harness.inference.local.loglikelihood import halving
from harness.inference.models.rendering import answer_ids, prompt_ids
from harness.types.models import Model
from harness.types.samples import Completion, Decoding, Likelihood, Message, Messages

SHOTS = (
    Message("system", "You are a helpful assistant. Answer with one word only."),
    Message("user", "What is the capital of France?"),
    Message("assistant", "Paris."),
)
QUESTIONS = (
    "What is it?",
    "Turn on the light in the kitchen and close the blinds, please!",
    "请打开灯",
    "2+2",
    "a" * 40,
)


def asked(*questions: str, shots: Messages = ()) -> list[Messages]:
    return [(*shots, Message("user", question)) for question in questions]


def answers(engine: LocalEngine, prompts: list[Messages], decoding: Decoding) -> list[Completion]:
    found = {p: c for places, batch in engine.generate(prompts, decoding) for p, c in zip(places, batch, strict=True)}
    return [found[position] for position in range(len(prompts))]


def weighed(engine: LocalEngine, requests: list[tuple[Messages, str]]) -> list[Likelihood]:
    found = {p: x for places, batch in engine.likelihoods(requests) for p, x in zip(places, batch, strict=True)}
    return [found[position] for position in range(len(requests))]


@pytest.fixture
def engine(tiny_model: Path, said) -> LocalEngine:
    return open_engine(Model(str(tiny_model), dtype="float32"), progress=said)


def by_library(engine: LocalEngine, prompt: Messages, *, tokens: int, ends: list[int]) -> list[int]:
    """Return the new tokens of `model.generate`."""
    ids = torch.tensor([prompt_ids(engine._tokenizer, prompt)])
    mask = torch.ones_like(ids)
    whole = engine._network.generate(
        ids, attention_mask=mask, do_sample=False, max_new_tokens=tokens, eos_token_id=ends
    )
    return [int(token) for token in whole[0, ids.shape[1] :]]


@pytest.mark.parametrize("shots", [(), SHOTS], ids=["own prompts", "shared prefix"])
def test_greedy_text_equals_the_librarys(engine: LocalEngine, shots: Messages) -> None:
    prompts = asked(*QUESTIONS, shots=shots)
    end = engine._tokenizer.eos_token_id
    expected = [by_library(engine, prompt, tokens=24, ends=[end]) for prompt in prompts]
    got = answers(engine, prompts, Decoding(max_tokens=24))
    for prompt, tokens, answer in zip(prompts, expected, got, strict=True):
        assert answer.text == engine._tokenizer.decode(tokens, skip_special_tokens=True)
        assert answer.tokens_in == len(prompt_ids(engine._tokenizer, prompt))
        assert (answer.tokens_out, answer.cut) == (len(tokens), tokens[-1] != end)


def test_answers_that_end_early_leave_the_batch_and_the_others_go_on(engine: LocalEngine) -> None:
    prompts = asked(*QUESTIONS, shots=SHOTS)
    # What the first answer says fifth becomes an end token, so that it ends there.
    fifth = by_library(engine, prompts[0], tokens=5, ends=[2])[4]
    ends = [fifth, engine._tokenizer.eos_token_id]
    expected = [by_library(engine, prompt, tokens=24, ends=ends) for prompt in prompts]
    engine._network.generation_config.eos_token_id = ends
    got = answers(engine, prompts, Decoding(max_tokens=24))
    assert [answer.tokens_out for answer in got] == [len(tokens) for tokens in expected]
    assert [answer.cut for answer in got] == [tokens[-1] not in ends for tokens in expected]
    assert len({answer.tokens_out for answer in got}) > 1


def test_a_stop_string_ends_the_answer_before_it(engine: LocalEngine) -> None:
    prompts = asked(*QUESTIONS)
    plain = answers(engine, prompts, Decoding(max_tokens=24))
    stop = plain[1].text[7:10]
    got = answers(engine, prompts, Decoding(max_tokens=24, stop=(stop,)))
    assert [answer.text for answer in got] == [answer.text.partition(stop)[0] for answer in plain]
    assert not got[1].cut
    assert got[1].tokens_out < plain[1].tokens_out


def test_a_sampled_answer_does_not_depend_on_its_batch(engine: LocalEngine) -> None:
    prompts = asked(*QUESTIONS, shots=SHOTS)
    drawn = Decoding(max_tokens=12, temperature=1.0, top_p=0.9, seed=3)
    together = [answer.text for answer in answers(engine, prompts, drawn)]
    alone = [answers(engine, [prompt], drawn)[0].text for prompt in prompts]
    other = Decoding(max_tokens=12, temperature=1.0, top_p=0.9, seed=4)
    assert together == alone
    assert together != [answer.text for answer in answers(engine, prompts, other)]


def test_repeats_of_a_prompt_are_drawn_apart_and_the_same_each_time(engine: LocalEngine) -> None:
    drawn = Decoding(max_tokens=12, temperature=1.0, seed=3)
    three = [answer.text for answer in answers(engine, asked("2+2", "2+2", "2+2"), drawn)]
    assert len(set(three)) == 3
    assert [answer.text for answer in answers(engine, asked("hi", "2+2", "2+2"), drawn)][1:] == three[:2]


def test_a_resumed_call_computes_only_the_groups_that_are_missing(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.inference.local.engine._DECODE_ROWS", {"cpu": 1})
    prompts = asked(*QUESTIONS, shots=SHOTS)  # groups of two
    whole = {place: batch[0].text for (place,), batch in engine.generate(prompts, Decoding(max_tokens=8))}
    lengths = [len(prompt_ids(engine._tokenizer, prompt)) for prompt in prompts]
    longest = sorted(range(5), key=lambda place: -lengths[place])
    done = frozenset({*longest[:2], longest[2]})  # the first group, and one of the second
    rest = {place: batch[0].text for (place,), batch in engine.generate(prompts, Decoding(max_tokens=8), done=done)}
    assert rest == {place: whole[place] for place in longest[2:]}
    everything = frozenset(range(5))
    assert list(engine.generate(prompts, Decoding(max_tokens=8), done=everything)) == []


def test_a_prompt_that_the_context_cannot_hold_is_named(engine: LocalEngine) -> None:
    prompts = asked("short", "long " * 600)
    with pytest.raises(
        StageFailed, match=r"position 1: its prompt has \d+ tokens, the context of tiny-llama holds 512"
    ):
        list(engine.generate(prompts, Decoding(max_tokens=4)))
    with pytest.raises(StageFailed, match="position 1"):
        list(engine.likelihoods([(prompt, "x") for prompt in prompts]))


def test_the_context_limits_the_answers_length(engine: LocalEngine) -> None:
    prompts = asked("a b " * 120)
    length = len(prompt_ids(engine._tokenizer, prompts[0]))
    (answer,) = answers(engine, prompts, Decoding(max_tokens=4000))
    assert answer.tokens_out <= 512 - length


def test_no_prompt_gives_no_batch(engine: LocalEngine) -> None:
    assert list(engine.generate([], Decoding())) == []
    assert list(engine.likelihoods([])) == []


@pytest.mark.parametrize("shots", [(), SHOTS], ids=["own prompts", "shared prefix"])
def test_likelihoods_equal_those_of_lm_eval(engine: LocalEngine, shots: Messages) -> None:
    from lm_eval.models.huggingface import HFLM

    texts = ("Paris.", '{"intent": "light_on"}', "厨房", " yes", "a much longer answer than all of the others here")
    requests = [(prompt, text) for prompt in asked(*QUESTIONS, shots=shots) for text in texts]
    got = weighed(engine, requests)

    tokenizer = engine._tokenizer
    theirs = HFLM(pretrained=engine._network, tokenizer=tokenizer, batch_size=4, max_length=512, device="cpu")
    rows = [
        (("", str(place)), prompt_ids(tokenizer, prompt), answer_ids(tokenizer, text, end=False))
        for place, (prompt, text) in enumerate(requests)
    ]
    expected = theirs._loglikelihood_tokens(rows, disable_tqdm=True)
    for likelihood, (logprob, greedy), (_, text), row in zip(got, expected, requests, rows, strict=True):
        assert likelihood.logprob == pytest.approx(logprob, abs=1e-4)
        assert (likelihood.greedy, likelihood.tokens, likelihood.bytes) == (greedy, len(row[2]), len(text.encode()))


def test_an_empty_answer_has_likelihood_one(engine: LocalEngine) -> None:
    requests = [(prompt, text) for prompt in asked("one", "two") for text in ("", "x")]
    assert weighed(engine, requests)[0] == Likelihood(0.0, 0, 0, greedy=True)


def test_the_likelihood_of_the_greedy_answer_says_so(engine: LocalEngine) -> None:
    prompts = asked(*QUESTIONS)
    texts = [answer.text for answer in answers(engine, prompts, Decoding(max_tokens=1))]
    # A single token that is whole characters is read back as the same token.
    whole = [place for place, text in enumerate(texts) if text and "\ufffd" not in text]
    said_first = weighed(engine, [(prompts[place], texts[place]) for place in whole])
    assert whole
    assert all(likelihood.greedy for likelihood in said_first)
    assert not any(likelihood.greedy for likelihood in weighed(engine, [(prompts[p], texts[p] + "?") for p in whole]))


@pytest.mark.parametrize("shares", [True, False], ids=["packed", "padded"])
def test_what_does_not_fit_the_memory_is_halved(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    engine._shares = shares
    prompts = asked(*QUESTIONS)
    whole = [answer.text for answer in answers(engine, prompts, Decoding(max_tokens=8))]
    forward, sizes = engine._network.forward, []

    def small_memory(input_ids: torch.Tensor, **rest: object) -> object:
        stepping = isinstance(rest["logits_to_keep"], int) and rest["logits_to_keep"] == 0  # in one packed row
        answering = input_ids.numel() if stepping else len(input_ids)
        sizes.append(answering)
        if answering > 2:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return forward(input_ids=input_ids, **rest)

    monkeypatch.setattr(engine._network, "forward", small_memory)
    assert [answer.text for answer in answers(engine, prompts, Decoding(max_tokens=8))] == whole
    assert max(sizes) == 5
    assert sizes.count(2) >= 8


def test_one_row_that_does_not_fit_is_a_clear_error() -> None:
    def full(rows: object) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    with pytest.raises(StageFailed, match="one row alone does not fit the memory"):
        halving(full, [1, 2, 3])


def test_weights_that_are_no_numbers_are_no_evidence(engine: LocalEngine) -> None:
    engine._network.model.norm.weight.data[0] = float("nan")
    with pytest.raises(InvalidEvidence, match="NaN"):
        list(engine.generate(asked("hi"), Decoding(max_tokens=2)))
    with pytest.raises(InvalidEvidence, match="NaN"):
        list(engine.likelihoods([(asked("hi")[0], "x")]))


def test_a_closed_engine_says_so(engine: LocalEngine) -> None:
    engine.close()
    with pytest.raises(StageFailed, match="closed"):
        list(engine.generate(asked("hi"), Decoding(max_tokens=2)))


def test_the_description_names_what_computed(engine: LocalEngine) -> None:
    expected = {"device": "cpu", "dtype": "float32", "torch": torch.__version__, "model": "tiny-llama", "adapter": None}
    assert expected.items() <= engine.description.items()


def test_bfloat16_ranks_like_float32(engine: LocalEngine, tiny_model: Path, said) -> None:
    half = open_engine(Model(str(tiny_model), dtype="bfloat16"), progress=said)
    requests = [(prompt, "Paris.") for prompt in asked(*QUESTIONS, shots=SHOTS)]
    full, rough = weighed(engine, requests), weighed(half, requests)
    assert half.description["dtype"] == "bfloat16"
    assert [x.logprob for x in rough] == pytest.approx([x.logprob for x in full], rel=0.05)


def test_a_prompt_with_many_choices_is_tokenised_once(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Messages] = []

    def counted(tokenizer: object, prompt: Messages) -> list[int]:
        seen.append(prompt)
        return prompt_ids(tokenizer, prompt)

    monkeypatch.setattr("harness.inference.local.engine.prompt_ids", counted)
    prompts = asked("one", "two")
    weighed(engine, [(prompt, text) for prompt in prompts for text in ("a", "b", "c")])
    assert seen == prompts
