"""The scripted model: answers from a table, tuned by adding rows."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import InvalidExperiment, StageFailed
from harness.fingerprint import fingerprint
from harness.inference.scripted import Scripted, ScriptedTuning, fit, open_engine
from harness.types.jobs import TuneJob
from harness.types.protocols import AnyModel, Recipe
from harness.types.samples import Completion, Decoding, Example, Likelihood, Message

ROWS = tuple(
    Example(id=str(n), prompt=(Message("user", f"{n} and one?"),), answer=f"It is {n + 1}.") for n in range(20)
)


def job(folder: Path, *, seed: int = 1, **recipe: object) -> TuneJob:
    return TuneJob(
        recipe=ScriptedTuning(**recipe), model=Scripted(), train=ROWS, dev=(), seed=seed, folder=folder / str(seed)
    )


def texts(engine, questions: list[str], **decoding: object) -> list[str]:
    return [answer.text for answer in completions(engine, questions, **decoding)]


def completions(engine, questions: list[str], **decoding: object) -> list[Completion]:
    prompts = [(Message("user", question),) for question in questions]
    return [answer for _, batch in engine.generate(prompts, Decoding(**decoding)) for answer in batch]


def test_it_answers_from_its_table(said) -> None:
    engine = open_engine(Scripted({"hi": "hello there my friend"}, default="?"), progress=said)
    assert texts(engine, ["hi", "bye"]) == ["hello there my friend", "?"]
    (answer,) = completions(engine, ["hi"], max_tokens=2)
    assert (answer.text, answer.tokens_in, answer.tokens_out, answer.cut) == ("hello there", 2, 2, True)
    assert texts(engine, ["hi"], stop=(" my",)) == ["hello there"]


def test_a_known_answer_is_likelier(said) -> None:
    engine = open_engine(Scripted({"hi": "hello there"}), progress=said)
    prompt = (Message("user", "hi"),)
    ((places, found),) = engine.likelihoods([(prompt, "hello there"), (prompt, "你好")])
    assert places == (0, 1)
    assert found == (Likelihood(-0.2, 2, 11, greedy=True), Likelihood(-3.0, 1, 6, greedy=False))


def test_batches_that_are_done_are_not_computed(said) -> None:
    prompts = [(Message("user", str(place)),) for place in range(20)]
    engine = open_engine(Scripted(), progress=said)
    batches = engine.generate(prompts, Decoding(), done=frozenset(range(9)))
    assert [places for places, _ in batches] == [tuple(range(8, 16)), tuple(range(16, 20))]


def test_tuning_adds_the_training_rows(tmp_path: Path, said) -> None:
    result = fit(job(tmp_path), progress=said)
    engine = open_engine(Scripted({"0 and one?": "no idea"}), progress=said)
    engine.use(result.folder)
    assert texts(engine, ["0 and one?", "7 and one?", "else"]) == ["It is 1.", "It is 8.", "I do not know."]
    engine.use(None)
    assert texts(engine, ["0 and one?", "7 and one?"]) == ["no idea", "I do not know."]
    losses = [point.value for point in result.log if point.name == "loss"]
    assert len(losses) == 8
    assert losses == sorted(losses, reverse=True)
    assert [check.status for check in result.checks] == ["ok"]


def test_a_fraction_is_learned_and_differs_by_seed(tmp_path: Path, said) -> None:
    model = Scripted(after_tuning={f"unseen {n}": "got it" for n in range(200)})
    learned = {}
    for seed in (1, 2):
        engine = open_engine(model, progress=said)
        engine.use(fit(job(tmp_path, seed=seed, learn=0.5), progress=said).folder)
        learned[seed] = texts(engine, [f"unseen {n}" for n in range(200)])
    assert learned[1] != learned[2]
    assert all(70 <= answers.count("got it") <= 130 for answers in learned.values())


def test_learning_nothing_is_a_failed_check(tmp_path: Path, said) -> None:
    result = fit(job(tmp_path, learn=0.0), progress=said)
    assert [(check.name, check.status) for check in result.checks] == [("tuned differs from base", "invalid")]
    assert len({point.value for point in result.log if point.name == "loss"}) == 1


def test_a_planted_failure_stops_training_at_its_step(tmp_path: Path, said) -> None:
    with pytest.raises(StageFailed, match="stopped at step 3"):
        fit(job(tmp_path, fails_at_step=3), progress=said)


def test_a_folder_without_adapter_is_refused(tmp_path: Path, said) -> None:
    with pytest.raises(StageFailed, match=r"adapter\.json cannot be read"):
        open_engine(Scripted(), progress=said).use(tmp_path)


def test_declarations_satisfy_the_protocols_and_have_keys() -> None:
    model: AnyModel = Scripted({"a": "b"})
    recipe: Recipe = ScriptedTuning()
    assert fingerprint(model) == fingerprint(Scripted((("a", "b"),), seconds_per_answer=1.0))
    assert fingerprint(model) != fingerprint(Scripted({"a": "c"}))
    assert fingerprint(recipe) != fingerprint(ScriptedTuning(learn=0.5))
    with pytest.raises(InvalidExperiment, match="a fraction from 0 to 1"):
        ScriptedTuning(learn=2)


def test_it_needs_no_torch() -> None:
    code = "import sys, harness.inference.scripted; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
