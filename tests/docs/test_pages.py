"""The README and pages outside of the how-tos: what they declare can be declared, what they cite is there."""

import re
from pathlib import Path

from harness import Experiment
from harness.experiment.experiment import check_data
from harness.types.protocols import Metric, Strategy, Task
from harness.types.samples import Answer, Split

ROOT = Path(__file__).parents[2]


def blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def scope_of(document: str) -> dict[str, object]:
    scope: dict[str, object] = {"__name__": "document"}
    for source in blocks(document):
        exec(source, scope)
    return scope


def test_the_experiment_of_the_readme_can_be_judged():
    (source,) = blocks("README.md")
    scope: dict[str, object] = {}
    exec(source, scope)

    experiment = scope["experiment"]
    assert isinstance(experiment, Experiment)
    check_data(experiment)


def test_the_experiment_on_tasks_of_lm_eval_can_be_declared():
    scope: dict[str, object] = {}
    exec(blocks("docs/how-to/lm-eval.md")[0], scope)

    experiment = scope["experiment"]
    assert isinstance(experiment, Experiment)
    assert [guard.comparison_name for guard in experiment.guards] == ["lambada_openai: acc"]


def test_the_documented_metric_strategy_and_task_satisfy_their_protocols():
    metric = scope_of("docs/how-to/write-a-metric.md")["Brevity"](words=2)
    task = scope_of("docs/how-to/write-a-task.md")["Arithmetic"]()
    strategy = scope_of("docs/how-to/write-a-strategy.md")["StepByStep"]()

    assert isinstance(metric, Metric)
    assert isinstance(task, Task)
    assert isinstance(strategy, Strategy)
    sample = task.samples(Split.DEV)[0]
    assert metric.score(sample, Answer(sample_id="1", text="three short words")) == 0.0
    assert task.read(" 12 ") == 12
    assert strategy.messages(task, sample)[-1].content.endswith("Think step by step.")
    assert [len(task.samples(split)) for split in Split] == [400, 80, 220]


def test_each_planted_fault_of_the_training_checks_is_a_test():
    text = (ROOT / "docs" / "measurements" / "training-checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*`(tests/[\w/]+\.py)::(\w+)` \|$", text, re.MULTILINE)

    assert [int(number) for number, *_ in rows] == list(range(1, 18))
    for _, path, name in rows:
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {name}"


def test_recipes_of_the_methods_page_can_be_declared():
    scope: dict[str, object] = {}
    exec(blocks("docs/methods.md")[0], scope)

    assert [scope[name].name for name in ("supervised", "aligned", "graded")] == [
        "sft lora-r16 epochs=2",
        "sft lora-r16 then dpo lora-r16 beta=0.1",
        "sft qlora-r16 limit=200 then grpo qlora-r16 reward=exact_match",
    ]
