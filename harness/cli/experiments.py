"""`harness verdict`: the verdict as words and as an exit code.

`harness compare`: any two stored systems on the same samples.

`harness plan`: what is stored of an experiment, and what would run.

`harness report`: draw the pages again from the store.

`harness sql`: a question to the store.

`harness verify`: recompute a page's verdict from what the page itself embeds.
"""

import argparse
from pathlib import Path

from harness.cli.options import add_command, add_store, check_known, existing_store, say

_EXIT_CODES = {"GO": 0, "NO_GO": 1, "INCONCLUSIVE": 3, "INVALID": 4}
_NEVER_MEASURED = 4


def add_verdict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "verdict",
        _verdict,
        "print the verdict; exit 0 GO, 1 NO_GO, 3 INCONCLUSIVE, 4 INVALID or never measured",
        "harness verdict home_commands && deploy",
    )
    add_store(parser)
    parser.add_argument("experiment", nargs="?", help="without it, all experiments; the worst gives the exit code")


def _verdict(options: argparse.Namespace) -> int:
    if not options.store.exists():
        say(f"never measured: {options.store} does not exist; run pytest experiments/ first")
        return _NEVER_MEASURED
    store = existing_store(options.store)
    names = [options.experiment] if options.experiment else list(store.experiments())
    worst = 0 if names else _NEVER_MEASURED
    for name in names:
        decision = store.decision(name)
        if decision is None:
            say(f"never measured: {name}; run pytest experiments/{name}.py first")
            worst = _NEVER_MEASURED
            continue
        say(f"{decision.verdict:<13} {name}: {decision.reason}")
        worst = max(worst, _EXIT_CODES[decision.verdict])
    return worst


def add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "compare",
        _compare,
        "compare any two stored systems on the same samples",
        "harness compare zero-shot 8-shot --split dev",
    )
    add_store(parser)
    parser.add_argument("first", metavar="SYSTEM", help="what is compared with, as pages call it, such as zero-shot")
    parser.add_argument("second", metavar="SYSTEM", help="the other one; differences are this one minus the first")
    parser.add_argument("--experiment", help="which one, if several experiments have both")
    parser.add_argument(
        "--split", choices=("holdout", "dev"), help="without it, the holdout if both were measured there"
    )
    parser.add_argument("--metric", help="without it, every metric that both have")


def _compare(options: argparse.Namespace) -> int:
    from harness.verification.stored_systems import Within, compare_stored

    store = existing_store(options.store)
    check_known(store, options.experiment)
    within = Within(experiment=options.experiment, split=options.split, metric=options.metric)
    found = compare_stored(store.path, options.first, options.second, within)
    say("\n".join(found.lines()))
    return 0


def add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "plan",
        _plan,
        "show what is stored and what would run",
        "harness plan experiments/home_commands.py",
    )
    add_store(parser)
    parser.add_argument("file", type=Path, help="an experiment file")


def _plan(options: argparse.Namespace) -> int:
    from harness.api import load_experiment, preview
    from harness.store.names import expected_name

    experiment = load_experiment(options.file)
    name = expected_name(options.store, options.file.resolve())
    for line in preview(experiment, name=name, store_path=options.store):
        say(line)
    return 0


def add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "report",
        _report,
        "draw the pages again from the store",
        "harness report",
    )
    add_store(parser)
    parser.add_argument("experiment", nargs="?", help="print the path of this experiment's page")


def _report(options: argparse.Namespace) -> int:
    from harness.api import report

    check_known(existing_store(options.store), options.experiment)
    for path in report(options.experiment, store=options.store):
        say(str(path))
    return 0


def add_sql(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "sql",
        _sql,
        "ask the store a question; nothing is changed",
        'harness sql "SELECT * FROM scoreboard"',
    )
    add_store(parser)
    parser.add_argument("query", help="SQL of DuckDB, in quotes; its tables: docs/reference/tables.md")


def _sql(options: argparse.Namespace) -> int:
    names, records = existing_store(options.store).query(options.query)
    say("\t".join(names))
    for record in records:
        say("\t".join("" if value is None else str(value) for value in record))
    return 0


_LIST = "index.html"
_OLDER = 3  # A page made under other statistics: neither confirmed nor refuted.


def add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "verify",
        _verify,
        "recompute a page's verdict from the scores it embeds; exit 1 if a number differs, 3 for an older page",
        "harness verify reports/home_commands.html",
    )
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE", help="the page of an experiment, one or several")


def _verify(options: argparse.Namespace) -> int:
    from harness.verification.page import verify_page

    # `harness verify reports/*.html` names the list of experiments too, which holds no scores of its own.
    lists = [path for path in options.pages if path.name == _LIST] if len(options.pages) > 1 else []
    for path in lists:
        say(f"{path}: the list of experiments, left out")
    found = [verify_page(path) for path in options.pages if path not in lists]
    for page in found:
        say("\n".join(page.lines()))
    if not all(page.holds for page in found):
        return 1
    return _OLDER if any(page.older is not None for page in found) else 0
