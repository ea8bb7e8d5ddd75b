"""The recording pod: what was decided stands in one object, with what the store knows of the revision."""

from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from stationkeeper.api import layout
from stationkeeper.api.base import sha256
from stationkeeper.api.decision import EvidenceBundle
from stationkeeper.api.jobs import RecordConfig
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import OwnerConflict, StoreUnavailable
from stationkeeper.workloads.jobs.record import record
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

AT = "2013-03-01T06:00:00Z"
URI = "s3://test/model/decisions/20130301T060000Z-0123456789ab.json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], str, dict[str, Any]]:
    """A published revision 1, its digest, and the record of a challenger that its gates refused."""
    store = MemoryStore()
    gates = [{"metric": "roc_auc", "min": 0.999}]
    with threadpool_limits(1):
        first = pod.train(tmp_path_factory.mktemp("first"), pod.rows(40), store)
        champion = {"number": 1, "digest": first.digest}
        refused = pod.train(
            tmp_path_factory.mktemp("refused"), pod.rows(60), store, episode="e2", revision=2, champion=champion, gates=gates
        )
    assert refused.outcome is TrainingOutcome.REFUSED
    known = {
        "modelName": "test",
        "number": 2,
        "outcome": "Rejected",
        "reason": refused.reason,
        "digest": sha256(refused.encode()),
        "outcomeURI": layout.uri(pod.config().storage, layout.outcome("e2", 1)),
        "cause": "Drift",
        "episode": "e2",
        "attempt": 1,
        "evidence": "s3://test/model/checks/newest.json",
        "templateDigest": "sha256:" + "0" * 64,
        "dataDigest": refused.data_digest,
        "trainedAt": refused.finished_at,
    }
    return store.objects, str(first.digest), known


def config(kind: str, digest: str, known: dict[str, Any] | None = None, **more: Any) -> RecordConfig:
    decision = {"id": "0123456789ab", "at": AT, "kind": kind, "revision": 1, "digest": digest, "uri": URI} | more
    return RecordConfig.model_validate(
        {
            "model": {"namespace": "default", "name": "test", "uid": pod.MODEL_UID},
            "storage": {"uri": "s3://test/model"},
            "decision": decision,
            "record": known,
        }
    )


def written(store: MemoryStore) -> EvidenceBundle:
    (key,) = (key for key in store.objects if key.startswith("decisions/"))
    assert store.uri(key) == URI, "the operator has told it before it was written"
    return EvidenceBundle.model_validate_json(store.objects[key])


def test_a_promotion_holds_what_manifest_and_canary_say(world: tuple[dict[str, bytes], str, dict[str, Any]]) -> None:
    objects, digest, _ = world
    store = MemoryStore(dict(objects))
    canary = {
        "steps": 2,
        "measured": [{"number": 1, "requests": 900, "errors": 0, "p95Seconds": 0.004}],
        "shift": 0.02,
        "queries": [{"name": "late", "value": 0.01, "max": 0.05}, {"name": "bookings", "min": 1.0, "problem": "it gives nan"}],
        "images": ["serve=registry/workloads@sha256:1", "train=registry/team@sha256:2"],
        "approver": "ana@example.com",
    }
    summary, code = record(config("Promoted", digest, **canary), store)
    assert (summary.uri, code) == (URI, 0)
    bundle = written(store)
    assert (bundle.decision, bundle.revision.digest, bundle.approver) == ("Promoted", digest, "ana@example.com")
    assert bundle.evaluation is not None
    assert [(gate.metric, gate.verdict) for gate in bundle.evaluation.gates] == [
        ("roc_auc", "Passed"),
        ("roc_auc", "NotApplicable"),
    ]
    assert bundle.data is not None
    assert bundle.data.digest == bundle.data_digest
    assert bundle.data.rows == 800
    assert bundle.trigger is not None
    assert (bundle.trigger.cause, bundle.trigger.episode) == ("Initial", "e1")
    assert bundle.code.images == {"serve": "registry/workloads@sha256:1", "train": "registry/team@sha256:2"}
    assert bundle.code.estimator == "sklearn.ensemble.HistGradientBoostingClassifier"
    assert bundle.rollout.steps_passed == 2
    assert bundle.rollout.measured[0].requests == 900
    assert [(q.name, q.value, q.max, q.min, q.problem) for q in bundle.rollout.queries] == [
        ("late", 0.01, 0.05, None, ""),
        ("bookings", None, None, 1.0, "it gives nan"),
    ]
    assert bundle.missing == []


def test_a_refused_challenger_has_its_gates_and_the_report_that_caused_it(
    world: tuple[dict[str, bytes], str, dict[str, Any]],
) -> None:
    objects, _, known = world
    store = MemoryStore(dict(objects))
    record(config("TrainingRefused", known["digest"], known), store)
    bundle = written(store)
    assert sha256(objects[keys.outcome("e2", 1)]) == bundle.revision.digest
    assert bundle.evaluation is not None
    assert [gate.verdict for gate in bundle.evaluation.gates] == ["Refused"]
    assert bundle.evaluation.champion_number == 1
    assert bundle.trigger is not None
    assert bundle.trigger.report == "s3://test/model/checks/newest.json"
    assert bundle.revision.outcome_uri == "s3://test/model/episodes/e2/1/outcome.json"


def test_what_is_missing_is_named_and_the_decision_is_written_all_the_same(
    world: tuple[dict[str, bytes], str, dict[str, Any]],
) -> None:
    objects, digest, known = world
    store = MemoryStore(dict(objects))
    store.objects[keys.manifest(digest)] += b" "
    record(config("RolledBack", digest), store)
    (said,) = written(store).missing
    assert "does not hash to its name" in said
    del store.objects[keys.evaluation("e2", 1)]
    store.objects = {key: data for key, data in store.objects.items() if not key.startswith("decisions/")}
    record(config("TrainingRefused", known["digest"], known), store)
    (said,) = written(store).missing
    assert "there is no such object" in said


def test_a_decision_is_written_once_and_a_second_pod_changes_nothing(
    world: tuple[dict[str, bytes], str, dict[str, Any]],
) -> None:
    objects, digest, _ = world
    store = MemoryStore(dict(objects))
    asked = config("Promoted", digest)

    def lost(operation: str, key: str) -> None:
        if operation == "create" and key.startswith("decisions/"):
            raise StoreUnavailable("the answer was lost")

    store.after = lost
    with pytest.raises(StoreUnavailable):
        record(asked, store)
    store.after = lambda _operation, _key: None
    before = dict(store.objects)
    assert record(asked, store)[0].uri == URI
    assert store.objects == before


def test_another_models_prefix_is_not_written_to() -> None:
    store = MemoryStore({keys.OWNER: b'{"namespace":"default","name":"other","uid":"uid-2"}'})
    with pytest.raises(OwnerConflict):
        record(config("Promoted", "sha256:" + "1" * 64), store)
    assert list(store.objects) == [keys.OWNER]


def test_the_store_away_is_worth_another_pod(
    world: tuple[dict[str, bytes], str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stationkeeper.api.meta import ENV_CONFIG
    from stationkeeper.workloads.jobs import record as job

    def refuse(*_: object) -> MemoryStore:
        raise StoreUnavailable("down")

    monkeypatch.setattr(job.S3Store, "open", refuse)
    monkeypatch.setenv("STATIONKEEPER_TERMINATION_LOG", str(tmp_path / "said"))
    monkeypatch.setenv(ENV_CONFIG, config("Promoted", world[1]).model_dump_json(by_alias=True))
    assert job.main() == 1
    assert '"reason":"StorageUnreachable"' in (tmp_path / "said").read_text()
