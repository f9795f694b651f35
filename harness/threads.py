"""How the threads of one process wait for each other."""

import os


def wait_passively() -> None:
    """Let threads sleep while they wait, instead of spinning on a core that another process could use.

    Called by each door before torch is loaded, since its OpenMP reads the variable once. What the user has set stands.
    Measured on two cores beside two busy processes: docs/log.md.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
