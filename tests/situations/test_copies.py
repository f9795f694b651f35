"""Copies of the long experiments on a model of two layers: `harness verify` recomputes each page."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import SFT, DatasetTask, Experiment, Full, Guard, MacroF1, Model, Split, Steps, ZeroShot
from harness.api import load_experiment, run_and_report
from harness.cli.__main__ import main
from harness.recipes import Trained
from harness.training.sft import fit
from harness.types.jobs import TuneJob
from harness.types.samples import Example

pytestmark = pytest.mark.slow  # twenty trainings

_EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory: pytest.TempPathFactory, silent: object) -> Model:
    """Two layers with the default model's tokenizer, taught to give each task one answer and to end."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from harness.inference.models.loading import load_tokenizer
    from tasks.home_commands import HomeCommands
    from tasks.icd10_codes import Icd10Codes
    from tasks.tone import ToneReplies

    folder = tmp_path_factory.mktemp("two-layers")
    tokenizer = load_tokenizer(Model("smollm2-135m-instruct"), progress=silent)  # type: ignore[arg-type]
    tokenizer.save_pretrained(folder / "base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    base = Model(str(folder / "base"), dtype="float32")
    tasks = (ToneReplies(), HomeCommands(language="en"), HomeCommands(language="zh"), Icd10Codes())
    examples = tuple(
        Example(
            id=f"{task.name} {sample.id}", prompt=task.prompt(sample), answer=task.samples(Split.TRAIN)[0].reference
        )
        for task in tasks
        for sample in task.samples(Split.TRAIN)[:120]
    )
    recipe = SFT(adapter=Full(), epochs=3, batch_size=8, learning_rate=5e-3, evaluate_every=1000)
    job = TuneJob(recipe=recipe, model=base, train=examples, dev=(), seed=0, folder=folder / "taught")
    return Model(str(fit(job, progress=silent).folder), dtype="float32")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def silent() -> object:
    from harness.runner.context import SilentProgress

    return SilentProgress()


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> DatasetTask:
    """A task of two labels for a guard by macro F1."""
    path = tmp_path_factory.mktemp("moods") / "moods.csv"
    rows = [
        f"I felt {word} on day {n},{label}" for n in range(60) for word, label in (("glad", "good"), ("sad", "bad"))
    ]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return DatasetTask("moods", files=path, choices=("good", "bad"))


def small(recipe: Trained | Steps) -> Trained | Steps:
    """Return the recipe on 24 examples, evaluated once."""
    if isinstance(recipe, Steps):
        return replace(recipe, steps=tuple(small(step) for step in recipe.steps))
    return replace(recipe, limit=24, evaluate_every=100)


def ladder(experiment: Experiment) -> Experiment:
    wanted = {"lora-r16", "ia3", "bitfit"}
    kept = [replace(small(one), trials=2) for one in experiment.recipes if one.adapter.name in wanted]
    return replace(experiment, recipes=kept, baselines=[ZeroShot()])


def preferences(experiment: Experiment) -> Experiment:
    wanted = {"sft", "dpo", "sft, kto", "orpo"}
    kept = [small(one) for one in experiment.recipes if one.name in wanted]
    return replace(experiment, recipes=kept, baselines=[ZeroShot()])


def continual(experiment: Experiment) -> Experiment:
    kept = [small(recipe) for recipe in experiment.recipes[:2]]
    return replace(experiment, recipes=kept, baselines=[ZeroShot()])


@pytest.mark.parametrize("make", [ladder, preferences, continual], ids=lambda make: make.__name__)
def test_the_page_of_a_copy_is_recomputed(
    make: Callable[[Experiment], Experiment],
    two_layers: Model,
    moods: DatasetTask,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = make.__name__
    experiment = make(load_experiment(_EXPERIMENTS / f"{name}.py"))
    guards = [*experiment.guards, Guard(moods, MacroF1(), by_at_most=0.1)]

    outcome = run_and_report(
        replace(experiment, model=two_layers, guards=guards),
        name=name,
        store_path=tmp_path / "results.duckdb",
    )

    assert outcome.decision.verdict.value in ("NO_GO", "INCONCLUSIVE"), outcome.decision.reason
    assert main(["verify", str(tmp_path / f"{name}.html")]) == 0
    assert "every number agrees" in capsys.readouterr().out
