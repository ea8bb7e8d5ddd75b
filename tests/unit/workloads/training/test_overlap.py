"""Which rows an earlier revision may have learned, by what its manifest says."""

import pytest

from stationkeeper.api.base import sha256
from stationkeeper.api.evaluation import Holdout
from stationkeeper.api.manifest import Binding, Manifest
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.training.overlap import Judging
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

ONE, OTHER = sha256(b"one holdout"), sha256(b"another")
FEATURES = ["x", "count", "colour", "member"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    store = MemoryStore()
    return load_manifest(store, pod.train(tmp_path_factory.mktemp("pod"), pod.rows(20), store).digest or "")


def judged_by(revision: Manifest, holdout: str, **changes: object) -> Manifest:
    """The same, judged by a holdout of its own."""
    return revision.model_copy(update={"evaluation": revision.evaluation.model_copy(update={"frozen": holdout}), **changes})


def test_the_same_holdout_of_its_own_was_never_learned(trained: Manifest) -> None:
    revision = judged_by(trained, ONE)
    assert Judging(Holdout(), ONE).known_through(revision) is None
    assert Judging(Holdout(), ONE).shares_split(revision, [])
    assert Judging(Holdout(), OTHER).known_through(revision) == revision.data.through
    assert not Judging(Holdout(), OTHER).shares_split(revision, FEATURES)


def test_a_hash_does_not_keep_its_rows_from_what_a_holdout_of_its_own_judged(trained: Manifest) -> None:
    assert not Judging(Holdout()).shares_split(judged_by(trained, ONE), FEATURES)


def test_of_a_model_that_was_made_elsewhere_its_evaluation_set_says_nothing(trained: Manifest) -> None:
    """It may know any rows; then it looks better than it is, and holds a challenger back rather than letting it pass."""
    imported = judged_by(trained, ONE, binding=Binding())
    assert Judging(Holdout()).shares_split(imported, FEATURES)
