"""Write the measured tables of docs/methods.md from what the long experiments left in the store.

    pytest experiments/ladder.py experiments/preferences.py      # an hour and more on two cores
    python -m benchmarks.methods

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`; nothing else of the page is touched.
"""

import argparse
import math
import re
import runpy
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.plan import Plan
from harness.report.read import UNKNOWN, duration, estimate, part_of, rounded_or_unknown, shift
from harness.resources.estimate import spoken
from harness.resources.time import Duration
from harness.runner.training import planned
from harness.store.rows import Evidence
from harness.store.store import Store

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Rewrite every table whose experiment is in the store; the others stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("reports/results.duckdb"), metavar="PATH")
    store = Store(parser.parse_args().store)
    known = store.experiments()

    def table(found: re.Match[str]) -> str:
        name = found[2]
        evidence = store.evidence(name) if name in known else None
        if evidence is None:
            sys.stdout.write(f"not in the store, left as it is: {name}\n")
            return found[0]
        lines = "\n".join(_table(evidence, _estimated(name)))
        return f"{found[1]}{lines}\n{found[3]}"

    PAGE.write_text(_BLOCK.sub(table, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
    return 0


def _table(evidence: Evidence, estimated: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of one experiment's recipes side by side, and where they were measured."""
    ladder: Any = next(row.content for row in evidence.insights if row.kind == "ladder")
    rungs: Sequence[Mapping[str, Any]] = ladder["rungs"]
    guards = list(dict.fromkeys(forgot["guard"] for rung in rungs for forgot in rung["forgot"]))
    unit = ladder["unit"]
    rates = _rates(evidence)
    losses = _dev_losses(evidence)
    heads = [
        "recipe",
        "rate",
        "DEV loss",
        f"{ladder['metric']} on DEV",
        f"gain over {ladder['baseline']}",
        "trained parameters",
    ]
    heads += ["training", "estimated", *guards]
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for rung in rungs:
        cells = [f"**{rung['system']}**" if rung["chosen"] else rung["system"], rates[rung["system"]]]
        cells += [rounded_or_unknown(losses.get(rung["system"]))]
        cells += [
            estimate(rung["mean"], unit),
            shift(rung["gain"], unit),
            part_of(rung["trainable"], rung["total"]),
            duration(rung["seconds"]),
        ]
        cells += [estimated.get(rung["system"], UNKNOWN)]
        cells += [_forgot(rung, guard) for guard in guards]
        yield f"| {' | '.join(cells)} |"
    yield ""
    untuned = {forgot["guard"]: (forgot["untuned"], forgot["unit"]) for rung in rungs for forgot in rung["forgot"]}
    said = [f"{guard} of the untuned model: {rounded_or_unknown(*value)}." for guard, value in untuned.items()]
    yield " ".join([f"{ladder['samples']} DEV samples; 95 % intervals; bold: chosen.", *said, _machine(evidence)])
    yield ""
    yield from _in_a_row([row.content for row in evidence.insights if row.kind == "continual"])


def _rates(evidence: Evidence) -> Mapping[str, str]:
    """Return the learning rate of each recipe's steps."""
    stages = {stage.key: stage.environment for stage in evidence.stages if isinstance(stage.environment, dict)}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in evidence.memberships:
        if row.kind == "tune" and row.stage_key in stages:
            found[row.system].append(f"{stages[row.stage_key]['learning_rate']:.2g}")
    return {system: ", ".join(rates) for system, rates in found.items()}


def _dev_losses(evidence: Evidence) -> Mapping[str, float]:
    """Return the lowest dev loss of each recipe's last step, where that step has one."""
    # A step may be several recipes' own.
    last = {row.system: row.stage_key for row in evidence.memberships if row.kind == "tune"}
    lowest: defaultdict[str, float] = defaultdict(lambda: math.inf)
    for row in evidence.training_log:
        if row.name == "dev_loss":
            lowest[row.stage_key] = min(row.value, lowest[row.stage_key])
    return {system: lowest[key] for system, key in last.items() if key in lowest}


def _estimated(name: str) -> Mapping[str, str]:
    """Return what the harness says of the training time of each recipe before it begins."""
    plan = Plan(runpy.run_path(str(EXPERIMENTS / f"{name}.py"))["experiment"], name)
    found = {system.name: planned(plan, system, folder=Path("reports")) for system in plan.tuned}
    return {
        system: spoken(Duration(sum(one.duration.low for one in steps), sum(one.duration.high for one in steps)))
        for system, steps in found.items()
    }


def _in_a_row(rows: Sequence[Any]) -> Iterator[str]:
    """Yield the lines of the recipes that learned several tasks: what each task came to after the last step."""
    if not rows:
        return
    tasks = [column["task"] for column in rows[0]["columns"] if column["learned"]]
    heads = ["recipe", *(f"{task} at the end" for task in tasks), "average", "backward transfer", "forgotten"]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        last = {column["task"]: column["cells"][-1] for column in row["columns"]}
        cells = [row["system"], *(estimate(last[task], row["unit"]) for task in tasks)]
        cells += [estimate(row["average"], row["unit"])]
        cells += [shift(row[name], row["unit"]) for name in ("backward", "forgetting")]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _forgot(rung: Mapping[str, Any], guard: str) -> str:
    found = next((one for one in rung["forgot"] if one["guard"] == guard), None)
    return "–" if found is None else shift(found["difference"], found["unit"])


def _machine(evidence: Evidence) -> str:
    """Say where the recipes were trained, from the record of the first of them."""
    known = [stage.environment for stage in evidence.stages if stage.kind == "tune"]
    first = next((found for found in known if isinstance(found, dict)), {})
    formats = sorted({str(found.get("dtype")) for found in known if isinstance(found, dict)})
    return (
        f"Trained on {first.get('device')} ({first.get('machine')}, {first.get('threads')} threads), "
        f"base in {' or '.join(formats)}, torch {first.get('torch')}, peft {first.get('peft')}, trl {first.get('trl')}."
    )


if __name__ == "__main__":
    sys.exit(main())
