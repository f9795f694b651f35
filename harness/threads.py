"""How the threads of one process wait for each other."""

import os

# Loops of OpenMP's waiting threads before they sleep, some tens of microseconds: longer than the gap between two
# operations of a network, and nothing beside the time slice that a busy neighbour would lose.
SPINS = 10_000


def wait_briefly() -> None:
    """Let threads spin for a moment while they wait, and then sleep, so that another process can use the core.

    Called by each door before torch is loaded, since its OpenMP reads the variables once. What the user has set stands.
    Sleeping at once (OMP_WAIT_POLICY=PASSIVE) is faster beside busy processes, and costs a sixth to a third of a
    training's speed where there are none: docs/log.md.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
