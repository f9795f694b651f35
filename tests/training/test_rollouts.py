"""Completions drawn in training: those that serving would give, with the probabilities that they had."""

import shutil
from pathlib import Path

import pytest
import torch

from harness.inference.local.engine import open_engine
from harness.inference.models.loading import load_model, load_tokenizer, side_by_side
from harness.recipes import GRPO
from harness.training.config import Precision
from harness.training.rl.rollouts import Drawing, draw_completions, drawing, think, with_room
from harness.training.rows import TokenizedRow, make_rows
from harness.types.models import Model
from harness.types.samples import Answer, Decoding, Example, Message, Sample

_PRECISION = Precision(torch.device("cpu"), torch.float32, None)
_EXAMPLES = tuple(
    Example(id=f"e{place}", prompt=(Message("user", "red" + "!" * place),), answer="green") for place in range(5)
)


def worth(sample: Sample, answer: Answer) -> float:
    return 1.0


def drawn_by(model: Model, **fields: object) -> Drawing:
    recipe = GRPO(reward=worth, **{"max_tokens": 12, **fields})  # type: ignore[arg-type]
    return drawing(recipe, None, load_tokenizer(model), load_model(model), _PRECISION)


def prompts(how: Drawing) -> list[tuple[int, ...]]:
    return [row.prompt for row in make_rows(how.tokenizer, _EXAMPLES)]


def test_greedy_completions_are_what_is_served(tiny: Model, heard) -> None:  # type: ignore[no-untyped-def]
    how = drawn_by(tiny)
    found = [how.read(ids) for ids in draw_completions(load_model(tiny), prompts(how), how, greedy=True)]

    engine, served = open_engine(tiny, progress=heard), {}
    for places, completions in engine.generate([one.prompt for one in _EXAMPLES], Decoding(max_tokens=12)):
        served |= dict(zip(places, completions, strict=True))
    assert [(one.text, len(one.tokens), one.cut) for one in found] == [
        (served[place].text, served[place].tokens_out, served[place].cut) for place in range(len(_EXAMPLES))
    ]


def test_draws_follow_the_random_state_and_leave_training_on(tiny: Model) -> None:
    how, network = drawn_by(tiny), load_model(tiny).train()
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(draw_completions(network, prompts(how), how))
    assert drawn[0] == drawn[1]
    assert network.training
    assert drawn[0] != draw_completions(network, prompts(how), how)


def test_an_answer_ends_where_the_template_ends_it_though_eos_is_another_token(tiny: Model, tmp_path: Path) -> None:
    shutil.copytree(tiny.source, tmp_path / "other")
    tokenizer = load_tokenizer(tiny)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(tmp_path / "other")
    network = load_model(tiny)
    network.generation_config.eos_token_id = network.config.eos_token_id = tokenizer.eos_token_id
    network.save_pretrained(tmp_path / "other")
    how = drawn_by(Model(str(tmp_path / "other"), dtype="float32"))

    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert how.ends == (end, tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    hello = tokenizer("hello", add_special_tokens=False)["input_ids"]
    assert (how.read([*hello, end]).text, how.read([*hello, end]).cut) == ("hello", False)
    assert how.read(hello).cut


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_probabilities_do_not_depend_on_the_rows_beside(tiny: Model, temperature: float) -> None:
    how, network = drawn_by(tiny), load_model(tiny)
    answers = [(5, 6, 7), (8, 9), (10,), (11, 12, 13), (14, 15)]
    left, left_mask = side_by_side(prompts(how), how.pad, left=True)
    right, right_mask = side_by_side(answers, how.pad, left=False)
    ids, mask = torch.cat([left, right], dim=1), torch.cat([left_mask, right_mask], dim=1)
    with torch.no_grad():
        together = think(network, (ids, mask), answer=3, temperature=temperature, states=True)
    assert together.states is not None
    assert together.states.shape == (5, 3, 64)

    for place, (prompt, answer) in enumerate(zip(prompts(how), answers, strict=True)):
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
        chances = (logits / temperature).log_softmax(-1)
        alone = [float(chances[at, token]) for at, token in enumerate(answer)]
        assert together.logprobs[place, : len(answer)].tolist() == pytest.approx(alone, abs=1e-4)
        entropy = torch.distributions.Categorical(logits=chances).entropy().tolist()
        assert together.entropy[place, : len(answer)].tolist() == pytest.approx(entropy, abs=1e-4)


def test_prompts_without_room_for_an_answer_are_left_out_and_named() -> None:
    rows = [TokenizedRow(example=one, prompt=(1,) * (10 + place), answer=(2,)) for place, one in enumerate(_EXAMPLES)]
    kept, check = with_room(rows, most=8, longest=20, kind="train")
    assert [row.example.id for row in kept] == ["e0", "e1", "e2"]
    assert (check.status, check.items) == ("warning", ("e3", "e4"))
    assert "2 of 5 train prompts leave no room for an answer of 8 tokens within 20" in check.detail
