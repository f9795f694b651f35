"""The question "does LoRA beat 8 shots?", asked of the harness and answered by hand: lm-eval, TRL, lm-eval.

Each command is a process of its own, as a user would start it, and its imports count. Both sides read the same rows and
the same converted weights; the harness also answers DEV, checks its data and draws its report.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.plain_trl import RECIPE
from benchmarks.row import Row
from benchmarks.setting import MODEL, SHOTS, version
from harness import Split
from harness.inference.models.loading import weights_folder
from harness.store.store import Store
from harness.types.samples import Sample
from tasks.home_commands import HomeCommands

SIZES = {Split.TRAIN: 120, Split.DEV: 8, Split.HOLDOUT: 64}
SYSTEM = "Home command to JSON."
_ROOT = Path(__file__).parents[1]
_THEIR_BATCH = 16  # as in generation.py
_EXPERIMENT = """
from harness import SFT, DatasetTask, ExactMatch, Experiment, FewShot, Gain, LoRA, Model

experiment = Experiment(
    question="Does LoRA beat 8 shots?",
    task=DatasetTask(
        "commands",
        train="train.jsonl",
        dev="dev.jsonl",
        holdout="holdout.jsonl",
        input_column="input",
        reference_column="output",
        system={system!r},
        answer_tokens={tokens},
    ),
    model=Model({model!r}, dtype="bfloat16"),
    baselines=[FewShot(shots={shots})],
    recipes=[
        SFT(adapter=LoRA(rank={rank}), epochs={epochs}, batch_size={batch}, learning_rate={rate}, evaluate_every=1000)
    ],
    metrics=[ExactMatch()],
    go_if=[Gain(ExactMatch(), at_least=0.1)],
)
"""
_TASK = """
task: commands
dataset_path: json
dataset_kwargs: {{data_files: {{train: {folder}/train.jsonl, test: {folder}/holdout.jsonl}}}}
output_type: generate_until
test_split: test
fewshot_split: train
fewshot_config: {{sampler: first_n}}
doc_to_text: input
doc_to_target: output
target_delimiter: ""
generation_kwargs: {{until: ["<|im_end|>"], max_gen_toks: {tokens}, do_sample: false}}
filter_list: [{{name: none, filter: [{{function: remove_whitespace}}, {{function: take_first}}]}}]
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _write(folder)
        ours = _harness(folder)
        scores, spent = _scores(folder), _spent(folder, ours)
        theirs, expected = _by_hand(folder)
    sizes = f"{SIZES[Split.HOLDOUT]} holdout and {SIZES[Split.TRAIN]} train samples, bfloat16"
    yield Row(
        work=f"the whole question: does LoRA beat {SHOTS} shots? {sizes}",
        against=f"{version('lm-eval')}, {version('trl')}, lm-eval again with peft=",
        ours=(ours,),
        theirs=(sum(theirs),),
        equal=f"exact: {_said(scores)}; by hand {_said(expected)}",
        target=3.0,
        note="processes as a user starts them, imports counted; by hand "
        + " + ".join(f"{seconds:.0f} s" for seconds in theirs)
        + f", lm-eval in batches of {_THEIR_BATCH}, TRL without checkpointing; once each; ours: {spent}",
    )


def _said(scores: Sequence[float]) -> str:
    return " and ".join(f"{score:.0%}" for score in scores)


def _write(folder: Path) -> None:
    """Write the rows, the experiment and the lm-eval task to `folder`."""
    task = HomeCommands(language="en")
    for split, size in SIZES.items():
        lines = [json.dumps(_row(sample)) for sample in task.samples(split)[:size]]
        (folder / f"{split.value}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = str(weights_folder(MODEL))
    said = {"system": SYSTEM, "tokens": task.answer_tokens, "model": model, "shots": SHOTS, "rank": 16}
    said |= {"epochs": RECIPE.epochs, "batch": RECIPE.batch_size, "rate": RECIPE.rate}
    (folder / "commands.py").write_text(_EXPERIMENT.format(**said), encoding="utf-8")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "commands.yaml").write_text(
        _TASK.format(folder=folder, tokens=task.answer_tokens), encoding="utf-8"
    )


def _row(sample: Sample) -> dict[str, object]:
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": sample.input}]
    return {"id": sample.id, "input": sample.input, "output": sample.reference, "messages": asked}


def _harness(folder: Path) -> float:
    """Return the seconds of one `pytest commands.py` with a store and a cache of its own."""
    return _run(["pytest", "commands.py", "-q", "--verdict", "report", "--store", "results.duckdb"], folder)


def _scores(folder: Path) -> list[float]:
    """Return the share of exact answers on the holdout, of the 8 shots and of LoRA."""
    asked = "SELECT system, avg(score) FROM scores WHERE split = 'holdout' GROUP BY system"
    found = {str(system): float(score) for system, score in Store(folder / "results.duckdb").query(asked)[1]}
    baseline = f"{SHOTS}-shot"
    return [found.pop(baseline), *found.values()]


def _spent(folder: Path, seconds: float) -> str:
    """Return where the harness's seconds went, the longest first: by kind of stage, and what is in no stage."""
    asked = "SELECT kind, sum(seconds) FROM stages GROUP BY kind"
    found = {str(kind): float(spent) for kind, spent in Store(folder / "results.duckdb").query(asked)[1]}
    found["imports, loading, page"] = seconds - sum(found.values())
    longest = sorted(found.items(), key=lambda item: item[1], reverse=True)
    return ", ".join(f"{kind} {spent:.0f} s" for kind, spent in longest if spent >= 0.5)


def _by_hand(folder: Path) -> tuple[list[float], list[float]]:
    """Return the seconds of the three commands and the two shares of exact answers."""
    model = weights_folder(MODEL)
    plain = f"pretrained={model},dtype=bfloat16"
    seconds = [
        _lm_eval(folder, plain, shots=SHOTS, name="base"),
        _run(["benchmarks.plain_trl", str(model), "train.jsonl", "tuned"], folder),
        _lm_eval(folder, f"{plain},peft={folder}/tuned/adapter", shots=0, name="lora"),
    ]
    return seconds, [_exact(folder / name) for name in ("base", "lora")]


def _lm_eval(folder: Path, model: str, *, shots: int, name: str) -> float:
    command = ["lm_eval", "run", "--model", "hf", "--model_args", model, "--tasks", "commands"]
    command += ["--include_path", str(folder / "tasks"), "--num_fewshot", str(shots)]
    command += ["--apply_chat_template", "--system_instruction", SYSTEM]
    command += ["--batch_size", str(_THEIR_BATCH), "--device", "cpu", "--output_path", str(folder / name)]
    return _run(command, folder)


def _exact(folder: Path) -> float:
    (found,) = folder.rglob("results_*.json")
    return float(json.loads(found.read_text(encoding="utf-8"))["results"]["commands"]["exact_match,none"])


def _run(module: list[str], folder: Path) -> float:
    """Return the seconds of `python -m module...` in `folder`.

    Raises RuntimeError with the end of what it printed where it fails.
    """
    own = {"HARNESS_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-m", *module],
        cwd=folder,
        env={**os.environ, **own, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(module)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds
