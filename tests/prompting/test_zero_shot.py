import pytest

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.prompting import ZeroShot
from harness.types.models import Endpoint, Model
from harness.types.protocols import Bindable, Strategy
from harness.types.samples import Message, Sample, Split


def test_the_prompt_is_the_tasks_own(english):
    sample = english.samples(Split.DEV)[0]
    strategy = ZeroShot()
    assert isinstance(strategy, Strategy)
    assert isinstance(strategy, Bindable)
    assert strategy.messages(english, sample) == english.prompt(sample)
    assert strategy.bind(english)(sample) == english.prompt(sample)


def test_an_instruction_replaces_the_system_message(english):
    sample = english.samples(Split.DEV)[0]
    assert ZeroShot(instruction="Be brief.").messages(english, sample) == (
        Message("system", "Be brief."),
        Message("user", "Request: raise the office blinds"),
    )


def test_an_instruction_is_added_where_the_task_has_none():
    class Bare:
        name = "bare"

        def samples(self, split):
            return ()

        def prompt(self, sample):
            return (Message("user", sample.input),)

        def read(self, text):
            return text

    asked = ZeroShot(instruction="Be brief.").messages(Bare(), Sample(id="1", input="Why?", reference="So."))
    assert asked == (Message("system", "Be brief."), Message("user", "Why?"))


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        (ZeroShot(), "zero-shot"),
        (ZeroShot(model="models/gpt-x"), "zero-shot @ gpt-x"),
        (ZeroShot(model=Endpoint("http://127.0.0.1:1/v1", "large")), "zero-shot @ large"),
        (ZeroShot(label="polite", instruction="Please."), "polite"),
    ],
)
def test_the_name_says_what_answers(strategy, name):
    assert strategy.name == name


def test_a_bare_string_is_a_model():
    assert ZeroShot(model="gpt-x") == ZeroShot(model=Model("gpt-x"))


def test_the_key_follows_the_instruction_and_not_the_model(english):
    keys = {
        fingerprint(strategy.reads(english)) for strategy in (ZeroShot(), ZeroShot(model="x"), ZeroShot(label="first"))
    }
    assert len(keys) == 1
    assert fingerprint(ZeroShot(instruction="Be brief.").reads(english)) not in keys


def test_a_blank_instruction_is_refused():
    with pytest.raises(InvalidExperiment, match="leave instruction out or write it"):
        ZeroShot(instruction=" ")
