"""Where things are kept: everything under one cache outside the clone."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The project's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "stationkeeper"


def cluster_directory(name: str) -> Path:
    """State of the cluster of this name."""
    return cache() / "clusters" / name
