"""The command `harness`: look at, redraw and ask about what experiments have left behind."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands import data, memory, recipe, tuner
from harness.commands.adding import add_command
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.store.store import Store

_FAILURE = 2
_EXIT_CODES = {"GO": 0, "NO_GO": 1, "INCONCLUSIVE": 3, "INVALID": 4}
_NEVER_MEASURED = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A user's mistake is one line on stderr and code 2."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except HarnessError as error:
        sys.stderr.write(f"harness: {error}\n")
        return _FAILURE
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Ask about experiments and their verdicts. Run experiments with: pytest experiments/",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = add_command(
        commands, "report", _report, "draw the pages again from the store", "harness report", store=True
    )
    report.add_argument("experiment", nargs="?", help="print the path of this experiment's page")
    verdict = add_command(
        commands,
        "verdict",
        _verdict,
        "print the verdict; exit 0 GO, 1 NO_GO, 3 INCONCLUSIVE, 4 INVALID or never measured",
        "harness verdict home_commands && deploy",
        store=True,
    )
    verdict.add_argument("experiment", nargs="?", help="without it, all experiments; the worst gives the exit code")
    verify = add_command(
        commands,
        "verify",
        _verify,
        "recompute a page's verdict from the item scores it embeds; exit 1 where one number differs",
        "harness verify reports/home_commands.html",
    )
    verify.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    compare = add_command(
        commands,
        "compare",
        _compare,
        "compare any two stored systems on the same samples",
        "harness compare zero-shot 8-shot --split dev",
        store=True,
    )
    compare.add_argument("first", metavar="SYSTEM")
    compare.add_argument("second", metavar="SYSTEM")
    compare.add_argument("--experiment", help="where several experiments have both")
    compare.add_argument(
        "--split", choices=("holdout", "dev"), help="without it, the holdout if both were measured there"
    )
    compare.add_argument("--metric", help="without it, every metric that both have")
    plan = add_command(
        commands,
        "plan",
        _plan,
        "show what is stored and what would run",
        "harness plan experiments/home_commands.py",
        store=True,
    )
    plan.add_argument("file", type=Path)
    new = add_command(commands, "new", _new, "write a new experiment file to start from", "harness new tickets")
    new.add_argument("name")
    sql = add_command(
        commands,
        "sql",
        _sql,
        "ask the store a question; nothing is changed",
        'harness sql "SELECT * FROM scoreboard"',
        store=True,
    )
    sql.add_argument("query")
    data.add(commands)
    vllm = add_command(
        commands,
        "vllm",
        _vllm,
        "install vLLM in an environment of its own, for Model(..., engine='vllm')",
        "harness vllm install",
    )
    vllm.add_argument("action", choices=("install",))
    vllm.add_argument("--build", choices=("cpu", "cuda"), help="without it, cuda where an NVIDIA driver runs")
    add_command(commands, "doctor", _doctor, "check the installation", "harness doctor")
    memory.add(commands)
    recipe.add(commands)
    tuner.add(commands)
    return parser


# The commands import what they need themselves: `harness --help` must not wait for duckdb.


def _report(options: argparse.Namespace) -> int:
    from harness.front import draw

    store = _existing_store(options.store)
    _known(store, options.experiment)
    paths = draw(store)
    wanted = store.folder / f"{options.experiment}.html" if options.experiment else None
    for path in paths if wanted is None else [wanted]:
        sys.stdout.write(f"{path}\n")
    return 0


def _verdict(options: argparse.Namespace) -> int:
    if not options.store.exists():
        sys.stdout.write(f"never measured: {options.store} does not exist; run pytest experiments/ first\n")
        return _NEVER_MEASURED
    store = _existing_store(options.store)
    names = [options.experiment] if options.experiment else list(store.experiments())
    worst = 0 if names else _NEVER_MEASURED
    for name in names:
        decision = store.decision(name)
        if decision is None:
            sys.stdout.write(f"never measured: {name}; run pytest experiments/{name}.py first\n")
            worst = _NEVER_MEASURED
            continue
        sys.stdout.write(f"{decision.verdict:<13} {name}: {decision.reason}\n")
        worst = max(worst, _EXIT_CODES[decision.verdict])
    return worst


def _verify(options: argparse.Namespace) -> int:
    from harness.verify import verify_page

    found = [verify_page(path) for path in options.pages]
    for page in found:
        _say("\n".join(page.lines()))
    return 0 if all(page.holds for page in found) else 1


def _compare(options: argparse.Namespace) -> int:
    from harness.comparing import compare_stored

    store = _existing_store(options.store)
    _known(store, options.experiment)
    found = compare_stored(
        store.path,
        options.first,
        options.second,
        experiment=options.experiment,
        split=options.split,
        metric=options.metric,
    )
    _say("\n".join(found.lines()))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from harness.outlook import load_experiment, outlook

    experiment = load_experiment(options.file)
    for line in outlook(experiment, name=options.file.stem, store_path=options.store):
        sys.stdout.write(f"{line}\n")
    return 0


def _new(options: argparse.Namespace) -> int:
    from harness.scaffold import write_experiment

    for path in write_experiment(options.name, Path("experiments")):
        sys.stdout.write(f"wrote {path}\n")
    return 0


def _sql(options: argparse.Namespace) -> int:
    names, records = _existing_store(options.store).query(options.query)
    sys.stdout.write("\t".join(names) + "\n")
    for record in records:
        sys.stdout.write("\t".join("" if value is None else str(value) for value in record) + "\n")
    return 0


def _vllm(options: argparse.Namespace) -> int:
    from harness.engine.vllm_environment import install

    install(options.build, say=_say)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # minutes may pass until the next


def _doctor(_: argparse.Namespace) -> int:
    from harness.doctor import examine

    healthy = True
    for finding in examine():
        healthy = healthy and finding.healthy
        sys.stdout.write(f"{'ok ' if finding.healthy else 'BAD'}  {finding.text}\n")
    return 0 if healthy else 1


def _existing_store(path: Path) -> "Store":
    from harness.store.store import Store

    if not path.exists():
        raise HarnessError(f"{path} does not exist; run pytest experiments/ first, or name another with --store PATH")
    return Store(path)


def _known(store: "Store", name: str | None) -> None:
    if name is not None and name not in store.experiments():
        raise HarnessError(f"no experiment {name!r} in {store.path}; it has {', '.join(store.experiments()) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
