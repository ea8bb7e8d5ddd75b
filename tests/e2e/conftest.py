"""A whole node of its own for the end-to-end tests, with the project's images in it."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hack.cluster import existing, paths
from hack.cluster.paths import REPOSITORY
from hack.demo.kube import Kube

CLUSTER = os.environ.get("E2E_CLUSTER", "stationkeeper-e2e")  # another name: beside a run that is under way


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=REPOSITORY, stdout=sys.stderr, check=False)
    assert done.returncode == 0, f"{module} {' '.join(arguments)} failed: its output tells why"


@pytest.fixture(scope="session")
def kube(pytestconfig: pytest.Config) -> Iterator[Kube]:
    """A cluster with images; the one the user named, or a node that is ended afterwards (KEEP_CLUSTER=1 keeps it)."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # building takes minutes: people should see that it goes on
        _run("hack.cluster", "up", "--name", CLUSTER)
        _run("hack.images", "--name", CLUSTER)
    yield Kube(paths.cluster_directory(CLUSTER) / "kubeconfig")
    if not existing.wanted() and not os.environ.get("KEEP_CLUSTER"):
        _run("hack.cluster", "down", "--name", CLUSTER)
