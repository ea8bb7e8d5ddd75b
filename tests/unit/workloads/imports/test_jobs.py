"""The composition roots: what the operator reads of a pod that looked, imported or fetched."""

import json

import pytest

from stationkeeper.api.base import sha256
from stationkeeper.api.jobs import FetchConfig, LookConfig
from stationkeeper.api.meta import ENV_CONFIG, EXIT_INVALID, EXIT_OK
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.jobs import fetch, import_model, look_at_source
from stationkeeper.workloads.jobs._run import ENV_TERMINATION_LOG
from stationkeeper.workloads.training.handover import ENV_ROOT
from tests.unit.workloads.imports import made_elsewhere as made
from tests.unit.workloads.imports.made_elsewhere import Pod, config, source


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """A pod whose stores are in memory, and where it writes its last word."""
    pod = Pod(tmp_path, made.onnx_classifier())
    monkeypatch.setenv(ENV_TERMINATION_LOG, str(tmp_path / "log"))
    monkeypatch.setenv(ENV_ROOT, str(tmp_path))
    monkeypatch.setattr(S3Store, "open", lambda storage, uri=None: pod.open(config(source("onnx")), uri))
    for job in (fetch, import_model, look_at_source):
        monkeypatch.setattr(job, "configure_logging", lambda: None)
    return pod


def run(monkeypatch, tmp_path, main, given=None):
    """Exit code and last word of a container."""
    if given is None:
        monkeypatch.delenv(ENV_CONFIG, raising=False)
    else:
        monkeypatch.setenv(ENV_CONFIG, given.model_dump_json(by_alias=True, exclude_none=True))
    log = tmp_path / "log"
    log.unlink(missing_ok=True)
    code = main()
    return code, json.loads(log.read_text()) if log.exists() else None


MAINS = [look_at_source.main, fetch.main, lambda: import_model.main(["prepare"])]


@pytest.mark.parametrize("main", MAINS, ids=["look", "fetch", "import"])
def test_without_a_configuration_it_says_so(pod, monkeypatch, tmp_path, main):
    code, said = run(monkeypatch, tmp_path, main)
    assert (code, said["reason"]) == (EXIT_INVALID, "InvalidSpec")


def test_an_import_needs_the_name_of_its_step():
    assert import_model.main([]) == import_model.main(["train"]) == EXIT_INVALID


def test_a_look_an_import_and_a_fetch_hand_the_file_on(pod, monkeypatch, tmp_path):
    wanted = config(source("onnx"))
    looked = LookConfig(model=wanted.model, storage=wanted.storage, source=wanted.source)
    code, seen = run(monkeypatch, tmp_path, look_at_source.main, looked)
    assert (code, seen["kind"], seen["digest"]) == (EXIT_OK, "Source", sha256(pod.lake.objects["model.bin"]))
    given = wanted.model_copy(update={"digest": seen["digest"]})
    assert run(monkeypatch, tmp_path, lambda: import_model.main(["prepare"]), given) == (EXIT_OK, None)
    code, done = run(monkeypatch, tmp_path, lambda: import_model.main(["evaluate-and-publish"]), given)
    assert (code, done["outcome"], done["dataDigest"]) == (EXIT_OK, "Published", seen["digest"])
    revision = {"number": 1, "digest": done["digest"]}
    served = FetchConfig.model_validate({"model": wanted.model, "storage": wanted.storage, "revision": revision})
    assert run(monkeypatch, tmp_path, fetch.main, served) == (EXIT_OK, None)
    found = tmp_path / "mnt/model/repository/flights/1/model.onnx"
    assert found.read_bytes() == pod.lake.objects["model.bin"]
