"""`harness verdict`: the verdict as words and as an exit code."""

import argparse

from harness.commands.adding import add_command
from harness.commands.stores import existing_store, say

_EXIT_CODES = {"GO": 0, "NO_GO": 1, "INCONCLUSIVE": 3, "INVALID": 4}
_NEVER_MEASURED = 4


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "verdict",
        _verdict,
        "print the verdict; exit 0 GO, 1 NO_GO, 3 INCONCLUSIVE, 4 INVALID or never measured",
        "harness verdict home_commands && deploy",
        store=True,
    )
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
