"""Where the harness keeps what it can always make again: converted weights, file hashes, indexes."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $HARNESS_CACHE, or ~/.cache/harness. The folder may not exist yet."""
    chosen = os.environ.get("HARNESS_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "harness"
