"""`harness data`: look at a data file, or make preference pairs from answers that an experiment stored."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.options import add_command, add_store, check_known, existing_store, say
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.types.samples import Sample


_HOLDOUT, _OTHERS = "holdout", ("train", "dev")
_FRACTIONS = (0.8, 0.1, 0.1)  # those of a DatasetTask that says nothing else
_HOLDOUT_DECIDES = 200


def add_data(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and its two actions."""
    text = "check a data file, or make pairs from stored answers"
    data = commands.add_parser(
        "data", help=text, description=f"{text}.", epilog="example: harness data check tickets.jsonl"
    )
    actions = data.add_subparsers(required=True, metavar="ACTION")
    _add_check(actions)
    pairs = add_command(
        actions,
        "pairs",
        _pairs,
        "write the best against the worst stored answer of each sample, for DPO(pairs=FILE)",
        "harness data pairs home_commands --metric exact_match --output pairs.jsonl",
    )
    add_store(pairs)
    pairs.add_argument("experiment", help="its name in the store")
    pairs.add_argument("--metric", required=True, help="whose stored scores tell better from worse")
    pairs.add_argument(
        "--margin", type=float, default=0.0, help="how much better the best must be, in score units; 0 is any"
    )
    pairs.add_argument(
        "--split",
        choices=(*_OTHERS, _HOLDOUT),
        help="without it, train and dev; pairs of the holdout spend it",
    )
    pairs.add_argument(
        "--output", type=Path, default=Path("pairs.jsonl"), metavar="FILE", help="what is written (pairs.jsonl)"
    )


def _add_check(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = add_command(
        actions,
        "check",
        _check,
        "check a data file: what its columns mean, rows that cannot be read, duplicates, size",
        "harness data check tickets.csv --input text --reference category",
    )
    check.add_argument("file", type=Path, help="JSON, JSONL, CSV, Parquet or another kind, or a folder of such files")
    check.add_argument("--input", metavar="COLUMN", help="the column of the question; without it, told from the names")
    check.add_argument("--reference", metavar="COLUMN", help="the column of the answer; given together with --input")
    check.add_argument(
        "--label-names", metavar="NAME,NAME", default="", help="what labels written as 0, 1, ... are called, in order"
    )
    check.add_argument(
        "--turns", choices=("last", "all"), default="last", help="take the last answer of a conversation, or each"
    )
    check.add_argument(
        "--media", choices=("refuse", "text"), default="refuse", help="rows with pictures or sounds: their text alone"
    )


def _check(options: argparse.Namespace) -> int:
    """Print the findings; 1 if a row cannot be read."""
    from harness.data.checking import check_file
    from harness.data.column_roles import Columns

    if (options.input is None) != (options.reference is None):
        raise HarnessError("--input and --reference are given together or not at all")
    columns = Columns(
        input=options.input,
        reference=options.reference,
        label_names=tuple(name.strip() for name in options.label_names.split(",") if name.strip()),
        turns=options.turns,
        media=options.media,
        naming="name the columns: --input, --reference",
    )
    found = check_file(options.file, columns)
    for line in (*found.lines, *_size(found.reading.samples)):
        say(line)
    return 1 if found.reading.left_out else 0


def _size(samples: "Sequence[Sample]") -> "Iterator[str]":
    """Yield what a run would say about the number of examples, the file split by hash as a task does."""
    from harness.analysis.readiness import training_examples
    from harness.data.splits import split_samples
    from harness.types.samples import Split

    if not samples:
        return
    splits = split_samples(samples, fractions=_FRACTIONS)
    train, holdout = splits[Split.TRAIN] or samples, len(splits[Split.HOLDOUT])
    yield f"size: a task trains on {len(train):,} of {len(samples):,} samples: {training_examples(train).detail}"
    if holdout < _HOLDOUT_DECIDES:
        yield (f"size: its holdout has {holdout:,}; {_HOLDOUT_DECIDES} or more decide differences of several points")


def _pairs(options: argparse.Namespace) -> int:
    from harness.data.preferences import pairs_from
    from harness.store.queries import scored_answers

    better, splits = _measured(options)
    answers = scored_answers(options.store, options.experiment, metric=options.metric, splits=splits)
    made = pairs_from(
        answers, better="lower" if better == "lower" else "higher", margin=options.margin, metric=options.metric
    )
    for line in made.lines():
        say(line)
    if not made.rows:
        raise HarnessError(
            f"no pair could be made by {options.metric} of {options.experiment}: measure more systems, draw several "
            "answers with sampling=, or lower --margin"
        )
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in made.rows)
    options.output.write_text(text, encoding="utf-8")
    say(f"wrote {options.output}")
    if _HOLDOUT in splits:
        sys.stderr.write(
            "harness: these pairs hold answers to the holdout: what learns from them cannot be judged on it, and the "
            "holdout is spent; give the experiment new holdout samples\n"
        )
    return 0


def _measured(options: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """Return the metric's better direction and the splits whose answers are taken.

    Raises:
        HarnessError: If the store has no such experiment, metric or answers.
    """
    from harness.store.queries import metrics_measured

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
