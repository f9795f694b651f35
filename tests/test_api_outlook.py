"""What is said before anything is computed."""

from dataclasses import replace

from harness import (
    SFT,
    AtLeast,
    ExactMatch,
    Experiment,
    Gain,
    LoRA,
    MacroF1,
    Message,
    Model,
    Sample,
    Split,
    TokensIn,
    ZeroShot,
)
from harness.api import preview, too_small
from harness.inference.scripted import Scripted, ScriptedTuning


class Letters:
    name = "letters"

    def __init__(self, holdout):
        self.sizes = {Split.TRAIN: 20, Split.DEV: 20, Split.HOLDOUT: holdout}

    def samples(self, split):
        count = self.sizes[split]
        return [Sample(id=f"{split.value}{n}", input=f"letter {split.value} {n}", reference="a") for n in range(count)]

    def prompt(self, sample):
        return (Message("user", sample.input),)

    def read(self, text):
        return text


def experiment(holdout, *rules):
    return Experiment(
        question="Is it better?",
        task=Letters(holdout),
        model=Scripted(),
        baselines=[ZeroShot()],
        recipes=[ScriptedTuning()],
        metrics=[ExactMatch(), MacroF1(), TokensIn()],
        go_if=list(rules),
    )


def test_a_holdout_too_small_for_the_gain_asked_for_is_said_with_the_number_that_would_do(tmp_path):
    (said,) = too_small(experiment(100, Gain(ExactMatch(), at_least=0.05)))

    # 2.8016 * sqrt(2 * 0.25 * 0.5) / sqrt(100) = 14.0 points; (1.4008 / 0.05)^2 = 785 samples.
    assert said == (
        "100 holdout samples show a true difference in exact_match of about 14.0 pts with 80 % power (assumed: half of "
        "the answers right, correlation 0.5 between systems). A gain of 5.0 pts is less than that: about 785 samples "
        "would do."
    )
    lines = list(preview(experiment(100, Gain(ExactMatch(), 0.05)), name="letters", store_path=tmp_path / "r.duckdb"))
    assert lines[0] == f"letters: {said}"


def test_nothing_is_said_where_it_is_enough_or_cannot_be_known():
    assert list(too_small(experiment(800, Gain(ExactMatch(), at_least=0.05)))) == []
    assert list(too_small(experiment(100, Gain(ExactMatch(), at_least=0.0)))) == []
    assert list(too_small(experiment(100, Gain(MacroF1(), at_least=0.05)))) == []
    assert list(too_small(experiment(100, Gain(TokensIn(), at_least=5)))) == []
    assert list(too_small(experiment(100, AtLeast(ExactMatch(), 0.5)))) == []


def test_what_training_would_take_is_said_of_what_is_not_stored(tmp_path, tiny_model):
    declared = experiment(100, Gain(ExactMatch(), at_least=0.5))
    lines = list(
        preview(
            replace(declared, model=Model(str(tiny_model)), recipes=[SFT(adapter=LoRA(rank=4)), SFT(epochs=1)]),
            name="letters",
            store_path=tmp_path / "r.duckdb",
        )
    )
    told = [line for line in lines if "of memory" in line]
    assert [line.split(":")[0] for line in told] == ["  sft lora-r4", "  sft lora-r16 epochs=1"]
    assert all(" free (" in line and " of disk, " in line for line in told)


def test_a_model_whose_files_say_too_little_is_named(tmp_path, tiny_model):
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_model.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "config.json").write_text('{"model_type": "strange"}')
    declared = replace(experiment(100, Gain(ExactMatch(), at_least=0.5)), model=Model(str(other)), recipes=[SFT()])
    lines = list(preview(declared, name="letters", store_path=tmp_path / "r.duckdb"))
    assert "  sft lora-r16: its memory cannot be estimated: the config of a strange model says" in "\n".join(lines)
