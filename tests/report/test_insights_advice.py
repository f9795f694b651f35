"""What advice is drawn from the evidence of a run."""

from dataclasses import replace
from types import ModuleType

import pytest

from harness import RAG, FewShot, ZeroShot
from harness.report.insights import situation
from harness.types.protocols import Strategy


@pytest.mark.parametrize(
    ("strategy", "retrieves"),
    [(ZeroShot(), False), (FewShot(shots=4), False), (FewShot(shots=3, select="nearest"), True), (RAG(), True)],
)
def test_only_what_looks_something_up_for_a_question_is_retrieval(
    made: ModuleType, strategy: Strategy, retrieves: bool
) -> None:
    evidence = made.go()
    systems = [
        replace(row, system=strategy.name, description=repr(strategy), retrieves=getattr(strategy, "retrieves", False))
        if row.role == "baseline"
        else row
        for row in evidence.systems
    ]
    found = situation(replace(evidence, systems=tuple(systems)))
    assert (found.baseline, found.baseline_retrieves) == (strategy.name, retrieves)
