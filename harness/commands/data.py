"""`harness data`: look at a data file, or make preference pairs from answers that an experiment stored."""

import argparse
import json
import sys
from pathlib import Path

from harness.commands.adding import add_command
from harness.commands.stores import check_known, existing_store
from harness.errors import HarnessError

_HOLDOUT, _OTHERS = "holdout", ("train", "dev")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and its two actions."""
    text = "check a data file, or make pairs from stored answers"
    data = commands.add_parser(
        "data", help=text, description=f"{text}.", epilog="example: harness data check tickets.jsonl"
    )
    actions = data.add_subparsers(required=True, metavar="ACTION")
    check = add_command(
        actions,
        "check",
        _check,
        "check a data file: format, rows, duplicates",
        "harness data check tickets.jsonl",
    )
    check.add_argument("file", type=Path)
    pairs = add_command(
        actions,
        "pairs",
        _pairs,
        "write the best against the worst stored answer of each sample, for DPO(pairs=FILE)",
        "harness data pairs home_commands --metric exact_match --output pairs.jsonl",
        store=True,
    )
    pairs.add_argument("experiment")
    pairs.add_argument("--metric", required=True, help="whose stored scores tell better from worse")
    pairs.add_argument(
        "--margin", type=float, default=0.0, help="how much better the best must be, in score units; 0 is any"
    )
    pairs.add_argument(
        "--split",
        choices=(*_OTHERS, _HOLDOUT),
        help="without it, train and dev; pairs of the holdout spend it",
    )
    pairs.add_argument("--output", type=Path, default=Path("pairs.jsonl"), metavar="FILE")


def _check(options: argparse.Namespace) -> int:
    from harness.data.checking import check_file

    for line in check_file(options.file):
        sys.stdout.write(f"{line}\n")
    return 0


def _pairs(options: argparse.Namespace) -> int:
    from harness.data.answer_pairs import pairs_from
    from harness.store.scored_answers import scored_answers

    better, splits = _measured(options)
    answers = scored_answers(options.store, options.experiment, metric=options.metric, splits=splits)
    made = pairs_from(
        answers, better="lower" if better == "lower" else "higher", margin=options.margin, metric=options.metric
    )
    for line in made.lines():
        sys.stdout.write(f"{line}\n")
    if not made.rows:
        raise HarnessError(
            f"no pair could be made by {options.metric} of {options.experiment}: measure more systems, draw several "
            "answers with sampling=, or lower --margin"
        )
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in made.rows)
    options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(f"wrote {options.output}\n")
    if _HOLDOUT in splits:
        sys.stderr.write(
            "harness: these pairs hold answers to the holdout: what learns from them cannot be judged on it, and the "
            "holdout is spent; give the experiment new holdout samples\n"
        )
    return 0


def _measured(options: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """Return the metric's better direction and the splits whose answers are taken.

    Raises HarnessError where the store has no such experiment, metric or answers.
    """
    from harness.store.scored_answers import metrics_measured

    check_known(existing_store(options.store), options.experiment)
    found = metrics_measured(options.store, options.experiment)
    if options.metric not in found:
        raise HarnessError(
            f"{options.experiment} has no scores by {options.metric!r}; it has {', '.join(found) or 'none yet'}"
        )
    better, there = found[options.metric]
    wanted = _OTHERS if options.split is None else (options.split,)
    splits = tuple(split for split in wanted if split in there)
    if not splits:
        raise HarnessError(
            f"{options.experiment} has no scores by {options.metric} on {' or '.join(wanted)}, only on "
            f"{', '.join(sorted(there))}; "
            + (
                "answers to the holdout are taken with --split holdout, which spends it"
                if options.split is None
                else "leave --split out"
            )
        )
    return better, splits
