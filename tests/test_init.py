"""What an experiment file may import, and what that import must not cost."""

import subprocess
import sys
from pathlib import Path

import pytest

import harness

# What loads, tunes and measures with models: nothing else needs any of it.
LOADING = (
    "accelerate",
    "bert_score",
    "bitsandbytes",
    "datasets",
    "evaluate",
    "gguf",
    "huggingface_hub",
    "lm_eval",
    "optuna",
    "peft",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
)
HEAVY = ("duckdb", "pyarrow", "scipy", *LOADING)
# What experiment files import today: none of it may go away.
NAMES = """
Accuracy AdaLoRA Adapter AdapterSupport Answer AtLeast AtMost BERTScore BitFit Bottleneck BreakEven Chrf Cost Costs
DPO DatasetTask DoRA EWC Endpoint ExactMatch Experiment FewShot Full GRPO Gain Grader Guard HFMetric HarnessError IA3
Incomparable Inconclusive InvalidData InvalidEvidence InvalidExperiment JsonFields JudgeGrade KTO Latency LmEvalTask
LoRA MAM MacroF1 Message MissingPackage Model NoGo NoWorse NotFingerprintable Numeric ORPO PEFT PPO PTuning PTuningV2
Passage Perplexity Preference PrefixTuning PromptTuning QLoRA RAG RLOO Regex RewardModel Rouge SFT SafetyRules Sample
Sampling Score Split StageFailed Steps Task TextTask TokensIn TokensOut UniPELT Weighted ZeroShot
""".split()  # noqa: SIM905 - a list would be a line a name


def python(code: str, *, folder: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_all_names_the_whole_interface_and_each_is_there():
    assert set(NAMES) <= set(harness.__all__)
    assert len(harness.__all__) == len(set(harness.__all__))
    assert [name for name in harness.__all__ if not hasattr(harness, name)] == []


def test_the_package_itself_loads_nothing_and_still_has_every_name(tmp_path):
    code = (
        "import sys, harness; before = {name.split('.')[0] for name in sys.modules} & {'numpy', 'pydantic', 'yaml'};"
        "from harness import *;"
        "print(sorted(before), Experiment.__name__, 'SFT' in dir(harness), harness.metrics.__name__)"
    )

    assert python(code, folder=tmp_path) == "[] Experiment True harness.metrics"


def test_a_name_that_is_not_there_is_pythons_own_error():
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'Experimnt'"):
        _ = harness.Experimnt  # type: ignore[attr-defined]


def test_no_go_is_no_error():
    assert not issubclass(harness.NoGo, harness.HarnessError)
    assert not issubclass(harness.Inconclusive, harness.HarnessError)


@pytest.mark.parametrize("module", ["harness", "harness.cli", "harness.pytest_plugin", "harness.api"])
def test_importing_the_declarations_and_the_doors_loads_nothing_heavy(module, tmp_path):
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"

    assert python(code, folder=tmp_path) == ""


def test_collecting_experiments_loads_nothing_heavy(tmp_path, write_experiment):
    write_experiment(tmp_path / "experiments" / "lamps.py")
    code = (
        "import sys, pytest; code = pytest.main(['experiments', '--collect-only', '-q']);"
        f"print('exit', int(code), *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    lines = python(code, folder=tmp_path).splitlines()

    assert lines[0] == "experiments/lamps.py::experiment"
    assert lines[-1] == "exit 0"
