"""The model of a revision, fetched for a server that is not ours."""

from pathlib import Path

import pytest

from stationkeeper.api.jobs import FetchConfig
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.meta import EXIT_INVALID, EXIT_TRANSIENT
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import DigestMismatch, StoreDenied, StoreUnavailable
from stationkeeper.workloads.jobs._run import failure
from stationkeeper.workloads.jobs.fetch import fetch, work
from tests.unit.workloads.serving.published import Published, published


def config_of(revision: Published) -> FetchConfig:
    return FetchConfig(model=revision.config.model, storage=revision.config.storage, revision=revision.config.revision)


@pytest.mark.parametrize(("form", "names"), [("onnx", ["model.onnx", "model.skops"]), ("skops", ["model.skops"])])
def test_the_models_files_lie_where_servers_look_for_them(tmp_path: Path, form: str, names: list[str]) -> None:
    revision = published(form).fresh()
    fetch(config_of(revision), revision.store, tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == sorted(["manifest.json", *names, *(f"repository/flights/7/{name}" for name in names)])
    for name in names:
        content = revision.store.objects[keys.blob(revision.manifest.files[name].digest)]
        assert (tmp_path / name).read_bytes() == (tmp_path / "repository/flights/7" / name).read_bytes() == content
    assert Manifest.model_validate_json((tmp_path / "manifest.json").read_bytes()) == revision.manifest


def test_a_container_that_starts_again_begins_anew(tmp_path: Path) -> None:
    revision = published().fresh()
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial/model.skops").write_bytes(b"half")
    fetch(config_of(revision), revision.store, tmp_path)
    before = (tmp_path / "model.skops").read_bytes()
    fetch(config_of(revision), revision.store, tmp_path)
    assert (tmp_path / "model.skops").read_bytes() == before != b"half"
    assert not (tmp_path / ".partial").exists()


def test_other_bytes_than_those_that_were_published_are_never_served(tmp_path: Path) -> None:
    revision = published().fresh()
    revision.store.objects[keys.blob(revision.manifest.files["model.skops"].digest)] = b"tampered"
    with pytest.raises(DigestMismatch):
        fetch(config_of(revision), revision.store, tmp_path)
    assert not (tmp_path / "model.skops").exists()
    summary, code = work(config_of(revision), revision.store, tmp_path)
    assert summary is not None
    assert (getattr(summary, "reason", ""), code) == ("DigestMismatch", EXIT_INVALID)


@pytest.mark.parametrize("error", [StoreDenied("no"), StoreUnavailable("not now")])
def test_a_store_that_refuses_says_nothing_about_the_revision(tmp_path: Path, error: Exception) -> None:
    revision = published().fresh()

    def refuse(_operation: str, _key: str) -> None:
        raise error

    revision.store.before = refuse
    try:
        _, code = work(config_of(revision), revision.store, tmp_path)
    except StoreUnavailable as raised:  # the frame around it knows this one
        _, code = failure(raised)
    assert code == EXIT_TRANSIENT
