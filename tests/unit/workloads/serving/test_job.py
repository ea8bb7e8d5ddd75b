"""The composition root: what the operator reads of a serving pod that ended."""

import json
from pathlib import Path

import pytest

from stationkeeper.api.meta import ENV_CONFIG, EXIT_INVALID, TERMINATION_LIMIT
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.jobs import serve
from stationkeeper.workloads.jobs._run import ENV_TERMINATION_LOG
from tests.support.loaded import loaded
from tests.unit.workloads.serving.published import published


@pytest.fixture
def message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "termination-log"
    monkeypatch.setenv(ENV_TERMINATION_LOG, str(path))
    monkeypatch.setattr(serve, "configure_logging", lambda: None)
    return path


def test_without_a_configuration_it_says_so(message: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV_CONFIG, raising=False)
    assert serve.main() == EXIT_INVALID
    assert json.loads(message.read_text())["reason"] == "InvalidSpec"


def test_a_tampered_revision_ends_with_its_reason(message: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = published().fresh()
    revision.store.objects[keys.manifest(revision.digest)] = b"{}"
    config = revision.config.model_copy(update={"port": 0})
    monkeypatch.setenv(ENV_CONFIG, config.model_dump_json(by_alias=True))
    monkeypatch.setattr(S3Store, "open", lambda _storage: revision.store)
    assert serve.main() == EXIT_INVALID
    said = json.loads(message.read_text())
    assert said["reason"] == "DigestMismatch"
    assert "restore the object or retrain" in said["message"]
    assert len(message.read_bytes()) <= TERMINATION_LIMIT


def test_serving_onnx_does_not_pay_for_training_libraries() -> None:
    """They would double the memory and the start of every serving pod."""
    assert loaded("import stationkeeper.workloads.jobs.serve", ("sklearn", "scipy", "pandas", "skops")) == []
