"""What is known of a local model before anything is asked of it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness import SFT, Experiment, FewShot, LoRA, Message, Model, Sample, Split, ZeroShot
from harness.errors import InvalidExperiment
from harness.inference.models.loading import load_tokenizer
from harness.inference.models.rendering import prompt_text
from harness.plan import Plan
from harness.runner.context import Engines, Run
from harness.runner.pipeline import gather
from harness.runner.preflight import NAME, check_adapters, model_checks
from harness.store.store import Store
from harness.types.samples import Check, Messages
from tests.types.test_chat_templates import GEMMA, QWEN

Maker = Callable[..., Experiment]


@dataclass(frozen=True)
class Talks:
    """A task whose rows are conversations; `turns` gives the roles of each row."""

    turns: tuple[tuple[str, ...], ...] = (("system", "user"),)
    name: str = "talks"

    def samples(self, split: Split) -> tuple[Sample, ...]:
        return tuple(
            Sample(
                id=f"{split.value}-{number}",
                input=f"{split.value} question {number}",
                reference="yes",
                messages=tuple(
                    Message(role, f"{split.value} {number} {place}")  # type: ignore[arg-type]
                    for place, role in enumerate(turns)
                ),
            )
            for number, turns in enumerate(self.turns)
        )

    def prompt(self, sample: Sample) -> Messages:
        return sample.messages

    def read(self, text: str) -> object | None:
        return text.strip() or None


@pytest.fixture
def begin(make_experiment: Maker, store: Store, tiny_model: Path, tmp_path: Path, said: Any) -> Callable[..., Run]:
    """Make a run on the tiny model with another chat template."""

    def make(task: Talks, *, template: str | None = None, model: dict[str, Any] | None = None, **changes: Any) -> Run:
        folder = tmp_path / "m"
        if not folder.exists():
            shutil.copytree(tiny_model, folder)
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        declared = Model(str(folder), dtype="float32", **(model or {}))
        experiment = replace(make_experiment(), task=task, model=declared, **changes)
        return Run(Plan(experiment, "talks"), store, said, Engines(said))

    return make


def test_every_prompt_is_rendered_once_and_the_check_is_kept(begin, said, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(Talks(turns=(("user",), ("system", "user"))))
    (check,) = model_checks(run)
    assert check == Check(name=NAME, status="ok", kind="data", detail="m: 6 prompts of every split can be rendered")
    assert said.lines == []
    monkeypatch.setattr("harness.inference.models.loading.load_tokenizer", lambda *_, **__: pytest.fail("it is stored"))
    assert model_checks(run) == (check,)


def test_rows_that_the_template_refuses_are_named_before_anything_runs(begin, monkeypatch) -> None:
    turns = (("user",), ("user", "user"), ("assistant", "user"))
    run = begin(Talks(turns=turns), template=GEMMA)
    monkeypatch.setattr("harness.runner.pipeline._measure_baselines", lambda *_: pytest.fail("something ran"))
    monkeypatch.setattr("harness.runner.pipeline.data_checks", lambda _: ())
    with pytest.raises(InvalidExperiment) as refused:
        gather(run)
    assert str(refused.value).startswith(
        "the chat template of m refuses 6 of 9 prompts: dev row dev-1 of talks (user, user): Conversation roles must "
        "alternate user/assistant/user/assistant/...; dev row dev-2 of talks (assistant, user): "
    )
    assert "train row train-1 of talks" in str(refused.value)
    assert "; and 1 more. Join turns of one role" in str(refused.value)


def test_a_strategy_whose_turns_the_template_refuses_is_found(begin) -> None:
    # The rows themselves are fine; a shot of one that ends with the user's turn stands beside the next.
    run = begin(Talks(turns=(("user", "assistant", "user"), ("user",))), template=GEMMA, baselines=[FewShot(shots=1)])
    (check,) = model_checks(run)
    assert check.status == "ok"
    run = begin(Talks(turns=(("assistant", "user"), ("user",))), template=GEMMA, baselines=[FewShot(shots=1)])
    with pytest.raises(InvalidExperiment, match=r"dev row dev-1 of talks \(assistant, user, assistant, user\)"):
        model_checks(run)


def test_a_template_without_system_messages_is_said_once_and_recorded(begin, said) -> None:
    run = begin(Talks(), template=GEMMA, baselines=[ZeroShot(), ZeroShot(instruction="Say no more.", label="told")])
    (check,) = model_checks(run)
    told = (
        "its chat template knows no system message, so a system message is put before the first user message, in "
        "training and serving alike"
    )
    assert said.lines == [f"m: {told}"]
    assert check.detail == f"m: 5 prompts of every split can be rendered; {told}"
    kept = begin(Talks(), template=GEMMA, model={"system": "keep"})
    with pytest.raises(
        InvalidExperiment, match=r"refuses 3 of 3 prompts: .*\(system, user\): System role not supported"
    ):
        model_checks(kept)


def test_a_fixed_day_and_options_are_said(begin, said) -> None:
    template = QWEN + "{{ strftime_now('%Y') }}"
    (check,) = model_checks(begin(Talks(), template=template, model={"template_options": {"enable_thinking": False}}))
    assert "writes today's date, and every prompt is rendered as on 26 Jul 2024" in check.detail
    assert "rendered with enable_thinking=False in training, evaluation and serving alike" in check.detail
    assert len(said.lines) == 2


def test_tokens_without_an_embedding_are_told_before_anything_runs(begin) -> None:
    run = begin(Talks())
    folder = Path(run.plan.model.source)
    tokenizer = load_tokenizer(Model(str(folder)))
    tokenizer.add_tokens(["<|new|>"])
    tokenizer.save_pretrained(folder)
    (check,) = model_checks(begin(Talks()))
    assert check.status == "warning"
    assert "no prompt holds them, but " in check.detail
    assert "1 tokens without an embedding: '<|new|>'" in check.detail
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}<|new|>")
    with pytest.raises(InvalidExperiment, match=r"dev row dev-0 of talks holds '<\|new\|>'\. .* without an embedding"):
        model_checks(begin(Talks()))


def test_an_adapter_that_names_what_is_not_there_is_refused_before_the_baselines(begin, monkeypatch) -> None:
    run = begin(Talks(), recipes=[SFT(adapter=LoRA(targets=("c_attn",)))])
    with pytest.raises(InvalidExperiment, match="targets names 'c_attn', and the model has down_proj"):
        check_adapters(run)
    monkeypatch.setattr("harness.runner.pipeline._measure_baselines", lambda *_: pytest.fail("something ran"))
    monkeypatch.setattr("harness.runner.pipeline.data_checks", lambda _: ())
    with pytest.raises(InvalidExperiment, match="targets names 'c_attn'"):
        gather(run)


def test_models_that_render_nothing_here_are_passed_over(make_experiment: Maker, store: Store, said: Any) -> None:
    assert model_checks(Run(Plan(make_experiment(), "lamps"), store, said, Engines(said))) == ()


def test_two_days_give_one_prompt(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime

    shutil.copytree(tiny_model, tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text("{{ messages[0].content }} on {{ strftime_now('%d %b %Y') }}.")
    seen = set()
    for day in (1, 2):
        moment = datetime.datetime(2030, 1, day)

        class Clock(datetime.datetime):
            @classmethod
            def now(cls, tz: object = None, at: datetime.datetime = moment) -> datetime.datetime:  # type: ignore[override]
                return at

        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
        tokenizer = load_tokenizer(Model(str(tmp_path / "m")))
        seen.add(prompt_text(tokenizer, (Message("user", "Hi"),)))
    assert seen == {"Hi on 26 Jul 2024."}
