"""`harness compare`: any two stored systems on the same samples."""

import argparse

from harness.commands.adding import add_command
from harness.commands.stores import check_known, existing_store, say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "compare",
        _compare,
        "compare any two stored systems on the same samples",
        "harness compare zero-shot 8-shot --split dev",
        store=True,
    )
    parser.add_argument("first", metavar="SYSTEM")
    parser.add_argument("second", metavar="SYSTEM")
    parser.add_argument("--experiment", help="where several experiments have both")
    parser.add_argument(
        "--split", choices=("holdout", "dev"), help="without it, the holdout if both were measured there"
    )
    parser.add_argument("--metric", help="without it, every metric that both have")


def _compare(options: argparse.Namespace) -> int:
    from harness.comparing import compare_stored

    store = existing_store(options.store)
    check_known(store, options.experiment)
    found = compare_stored(
        store.path,
        options.first,
        options.second,
        experiment=options.experiment,
        split=options.split,
        metric=options.metric,
    )
    say("\n".join(found.lines()))
    return 0
