"""Experiments whose files are called the same."""

from pathlib import Path

from benchmarks.situations.situation import Got, Situation, decide_once
from benchmarks.situations.world import world
from harness.store.names import claim_name
from harness.store.store import Store

_GROUP = "Names"


def _two_files(folder: Path, *, together: bool) -> Got:
    """Run two files of one name into one store; the verdict of the first, and what the store says of both.

    together: in one session, which knows of both files; else in two.
    """
    store = Store(folder / "results.duckdb")
    files = [folder / side / "tickets.py" for side in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.touch()
    names = []
    for file, built in zip(files, (world(0.3, 0.8), world(0.6, 0.5)), strict=True):
        experiment = built.experiment(question=f"Should {file.parent.name} be tuned?")
        others = [other for other in files if other != file] if together else []
        shown = file.relative_to(folder)
        names.append(claim_name(store.path, file, shown=shown, question=experiment.question, others=others))
        decide_once(experiment, folder, name=names[-1])
    kept = {name: decision.verdict for name in names if (decision := store.decision(name))}
    return Got(kept.get(names[0], "error"), ", ".join(f"{name} is {verdict}" for name, verdict in kept.items()))


SITUATIONS = (
    Situation(
        group=_GROUP,
        name="two files of one name",
        planted="a/tickets.py, which gains 50 points, and b/tickets.py, which loses 10, in one session",
        expected="GO",
        says="a-tickets is GO, b-tickets is NO_GO",
        play=lambda folder: _two_files(folder, together=True),
    ),
    Situation(
        group=_GROUP,
        name="two files of one name, one after the other",
        planted="the same in two sessions with one store",
        expected="GO",
        says="tickets is GO, b-tickets is NO_GO",
        play=lambda folder: _two_files(folder, together=False),
    ),
)
