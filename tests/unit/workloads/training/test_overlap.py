"""Which rows an earlier revision may have learned, by what its manifest says."""

from pathlib import Path

from stationkeeper.api.base import sha256
from stationkeeper.api.evaluation import Holdout
from stationkeeper.api.manifest import Binding, Manifest
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.training.overlap import Judging
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

ONE, OTHER = sha256(b"one holdout"), sha256(b"another")
FEATURES = ["x", "count", "colour", "member"]


def judged_by(tmp_path: Path, holdout: str | None, **changes: object) -> Manifest:
    """A revision that was judged by a holdout of its own."""
    store = MemoryStore()
    manifest = load_manifest(store, pod.train(tmp_path, pod.rows(20), store).digest or "")
    evaluation = manifest.evaluation.model_copy(update={"frozen": holdout})
    return manifest.model_copy(update={"evaluation": evaluation, **changes})


def test_the_same_holdout_of_its_own_was_never_learned(tmp_path: Path) -> None:
    revision = judged_by(tmp_path, ONE)
    assert Judging(Holdout(), ONE).known_through(revision) is None
    assert Judging(Holdout(), ONE).shares_split(revision, [])
    assert Judging(Holdout(), OTHER).known_through(revision) == revision.data.through
    assert not Judging(Holdout(), OTHER).shares_split(revision, FEATURES)


def test_a_hash_does_not_keep_its_rows_from_what_a_holdout_of_its_own_judged(tmp_path: Path) -> None:
    assert not Judging(Holdout()).shares_split(judged_by(tmp_path, ONE), FEATURES)


def test_of_a_model_that_was_made_elsewhere_its_evaluation_set_says_nothing(tmp_path: Path) -> None:
    """It may know any rows; then it looks better than it is, and holds a challenger back rather than letting it pass."""
    imported = judged_by(tmp_path, ONE, binding=Binding())
    assert Judging(Holdout()).shares_split(imported, FEATURES)
