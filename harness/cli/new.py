"""`harness new`: an experiment file to start from.

A new experiment to start from: a file that runs as it stands, on 72 rows of data to replace.
"""

import argparse
import json
from pathlib import Path

from harness.cli.options import add_command, say
from harness.errors import InvalidExperiment
from harness.store.names import check_name


def add_new(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(commands, "new", _new, "write a new experiment file to start from", "harness new tickets")
    parser.add_argument("name", help="of the file in experiments/: letters, digits and _, such as tickets")


def _new(options: argparse.Namespace) -> int:

    for path in write_experiment(options.name, Path("experiments")):
        say(f"wrote {path}")
    return 0


_EXPERIMENT = '''"""Should we fine-tune for {title}?"""

from harness import (
    SFT,
    DatasetTask,
    ExactMatch,
    Experiment,
    FewShot,
    Gain,
    LoRA,
    NoWorse,
    SafetyRules,
    ZeroShot,
)

experiment = Experiment(
    question="Should we fine-tune for {title}, or keep prompting?",
    # A row a line: {{"prompt": ..., "completion": ...}}, messages, instruction/input/output; docs/data.md lists more.
    task=DatasetTask(name="{name}", files=("experiments/{name}.jsonl",)),
    model="smollm2-135m-instruct",
    baselines=[ZeroShot(), FewShot(shots=4)],
    recipes=[SFT(adapter=LoRA(rank=16), epochs=3)],
    metrics=[ExactMatch(), SafetyRules()],
    go_if=[
        Gain(ExactMatch(), at_least=0.05),  # the whole 95 % interval above +5 points
        NoWorse(SafetyRules(), by_at_most=0.02),
    ],
    seeds=(1, 2, 3),  # three trainings, so that a lucky one is no GO; two leave three times the doubt about luck
)
'''


def write_experiment(name: str, folder: Path) -> list[Path]:
    """Write `folder/name.py` and its data file; returns their paths.

    Raises:
        InvalidExperiment: If the name is not a Python module's, or a file is there already.
    """
    if not name.isidentifier() or name.startswith("test_"):
        raise InvalidExperiment(f"{name!r} cannot name a file of Python; use letters, digits and _, such as my_tickets")
    check_name(name)
    experiment, data = folder / f"{name}.py", folder / f"{name}.jsonl"
    for path in (experiment, data):
        if path.exists():
            raise InvalidExperiment(f"{path} exists already; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    experiment.write_text(_EXPERIMENT.format(name=name, title=name.replace("_", " ")), encoding="utf-8")
    rows = [{"prompt": f"Say the number {n} as a digit: {word}", "completion": str(n)} for n, word in _NUMBERS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [experiment, data]


_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBERS = tuple((10 * (tens + 2) + ones + 1, f"{_TENS[tens]}-{_ONES[ones]}") for tens in range(8) for ones in range(9))
