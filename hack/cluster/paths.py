"""Where things are kept: everything under one cache outside the clone."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The project's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "stationkeeper"


def names_existing() -> bool:
    """Whether the user named a cluster of their own."""
    return os.environ.get("USE_EXISTING_CLUSTER", "") not in ("", "0", "false")


def cluster_directory(name: str) -> Path:
    """State of the cluster of this name. One that the user named has a place apart: it must not replace a local node's kubeconfig."""
    return cache() / "clusters" / (f"{name}.existing" if names_existing() else name)
