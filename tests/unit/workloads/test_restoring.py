"""A prefix that another cluster left: what is whole and witnessed comes back, in as many bytes as a message has."""

from datetime import timedelta
from typing import Any

import pytest

from stationkeeper.api import layout
from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.decision import EvidenceBundle
from stationkeeper.api.jobs import ModelIdentity, RestoreConfig
from stationkeeper.api.status import DecisionKind
from stationkeeper.api.summary import RestoreSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import OwnerConflict, StoreUnavailable
from stationkeeper.workloads.artifacts.owner import adopt, claim
from stationkeeper.workloads.jobs.restore import restore
from tests.support.bucket import OLD, Bucket
from tests.support.memory_store import MemoryStore

NEW = ModelIdentity(namespace="ops", name="flights", uid="uid-2")


def config(most: int = 10) -> RestoreConfig:
    return RestoreConfig.model_validate({"model": NEW.wire(), "storage": {"uri": "s3://test/model"}, "most": most})


def told(store: Bucket, most: int = 10) -> RestoreSummary:
    summary, code = restore(config(most), store)
    assert code == 0
    assert len(summary.encode()) <= 4096
    return summary


def decide(store: Bucket, hours: int, kind: DecisionKind, number: int, digest: str, **more: Any) -> None:
    at = OLD + timedelta(hours=hours)
    bundle = {
        "id": f"d{hours}",
        "at": at,
        "decision": kind,
        "model": {"namespace": "ops", "name": "flights", "uid": "uid-1"},
        "revision": {"number": number, "digest": digest},
        "message": f"{kind} because",
        "code": {"templateDigest": sha256(b"template")},
        "dataDigest": sha256(b"data"),
    }
    made = EvidenceBundle.model_validate(bundle | more)
    store.objects[layout.decision(at, made.id)] = made.encode()


def test_what_was_published_comes_back_newest_first_with_what_a_record_needs() -> None:
    store = Bucket()
    digests = [store.publish(number, b"file %d" % number) for number in (1, 2)]
    summary = told(store)
    assert [(r.number, r.digest) for r in summary.revisions] == [(2, digests[1]), (1, digests[0])]
    assert (summary.latest_revision, summary.serving, summary.untrusted, summary.left_out) == (2, 2, 0, 0)
    newest = summary.revisions[0]
    assert (newest.episode, newest.attempt, newest.data_digest) == ("e2", 1, sha256(b"data"))


def test_who_served_last_is_read_from_the_decisions_and_what_fell_stays_out() -> None:
    store = Bucket()
    first, second, third = (store.publish(number, b"file %d" % number) for number in (1, 2, 3))
    waiting = store.publish(4, b"file 4")  # published, and its canary had not ended
    decide(store, 1, DecisionKind.PROMOTED, 1, first)
    decide(store, 2, DecisionKind.PROMOTED, 2, second)
    decide(store, 3, DecisionKind.ROLLED_BACK, 2, second)
    decide(store, 4, DecisionKind.REJECTED, 3, third)
    summary = told(store)
    assert summary.serving == 1
    assert [r.number for r in summary.revisions] == [3, 2, 1], "what was taken back is on record, so that it is known"
    assert waiting not in [r.digest for r in summary.revisions]
    assert summary.latest_revision == 4, "its number is not given again"
    assert [(q.digest, q.promoted) for q in summary.quarantine] == [(second, True), (third, False)]
    assert summary.quarantine[0].data_digest == sha256(b"data")


def test_a_pin_to_an_older_revision_is_who_served_last() -> None:
    store = Bucket()
    first, second = store.publish(1, b"one"), store.publish(2, b"two")
    decide(store, 1, DecisionKind.PROMOTED, 1, first)
    decide(store, 2, DecisionKind.PROMOTED, 2, second)
    decide(store, 3, DecisionKind.PINNED, 1, first)
    assert told(store).serving == 1


def test_revisions_from_before_decisions_were_written_down_have_served() -> None:
    store = Bucket()
    store.publish(1, b"one")
    second, _ = store.publish(2, b"two"), store.publish(3, b"three")
    decide(store, 1, DecisionKind.PROMOTED, 2, second)
    summary = told(store)
    assert summary.serving == 2
    assert [r.number for r in summary.revisions] == [2, 1]


DISTRUST = [
    ("no outcome", lambda store, key, made: store.objects.pop(keys.outcome("e2", 1))),
    ("an outcome of another", lambda store, key, made: store.objects.update({keys.outcome("e2", 1): store.objects[keys.outcome("e1", 1)]})),
    ("an outcome that is none", lambda store, key, made: store.objects.update({keys.outcome("e2", 1): b"{"})),
    ("a file has gone", lambda store, key, made: store.objects.pop(keys.blob(sha256(b"two")))),
    ("it does not hash to its name", lambda store, key, made: store.objects.update({key: store.objects[key] + b" "})),
    ("it is no manifest", lambda store, key, made: store.objects.update({key: b"{}"})),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm"), DISTRUST, ids=[row[0] for row in DISTRUST])
def test_a_manifest_without_a_witness_is_not_trusted(name: str, harm: Any) -> None:
    store = Bucket()
    store.publish(1, b"one")
    key = keys.manifest(store.publish(2, b"two"))
    harm(store, key, None)
    summary = told(store)
    assert [r.number for r in summary.revisions] == [1]
    assert (summary.serving, summary.untrusted) == (1, 1)


def test_one_number_is_one_revision() -> None:
    """A training that an edit superseded published what was never served; the next had its number."""
    store = Bucket()
    first = store.publish(1, b"one")
    superseded = store.publish(2, b"superseded", episode="a")
    wanted = store.publish(2, b"wanted", episode="b", at=OLD + timedelta(hours=1))
    assert [(r.number, r.digest) for r in told(store).revisions] == [(2, wanted), (1, first)], "without decisions the later one"
    decide(store, 1, DecisionKind.PROMOTED, 1, first)
    decide(store, 2, DecisionKind.PROMOTED, 2, superseded)
    assert [r.digest for r in told(store).revisions] == [superseded, first], "with them, what was promoted"


def test_the_newest_have_room_and_who_served_last_always_has() -> None:
    store = Bucket()
    digests = [store.publish(number, b"file %d" % number) for number in range(1, 41)]
    for number, digest in enumerate(digests, 1):
        decide(store, number, DecisionKind.PROMOTED, number, digest)
    decide(store, 50, DecisionKind.PINNED, 1, digests[0])
    summary = told(store, most=40)
    numbers = [r.number for r in summary.revisions]
    assert numbers[0] == 40
    assert numbers[-1] == summary.serving == 1
    assert len(numbers) > 5
    assert summary.left_out == 40 - len(numbers)
    assert summary.latest_revision == 40


def test_a_last_training_that_was_refused_is_not_tried_again() -> None:
    store = Bucket()
    first = store.publish(1, b"one")
    decide(store, 1, DecisionKind.PROMOTED, 1, first)
    refused = {
        "message": "CodeChange, GateRefused: roc_auc 0.5 is below 0.6",
        "trigger": {"cause": "CodeChange", "episode": "e9", "attempt": 1},
        "code": {"templateDigest": sha256(b"tried")},
        "dataDigest": sha256(b"file"),
    }
    decide(store, 2, DecisionKind.TRAINING_REFUSED, 2, sha256(b"outcome"), **refused)
    summary = told(store)
    assert summary.refused is not None
    assert (summary.refused.reason, summary.refused.template_digest) == ("GateRefused", sha256(b"tried"))
    assert summary.refused.source == sha256(b"file"), "whoever imports files must not judge this one again"
    assert summary.latest_revision == 2
    assert summary.serving == 1


def test_taking_over_is_done_once_and_keeps_the_line() -> None:
    store = Bucket()
    store.publish(1, b"one")
    with pytest.raises(OwnerConflict, match=r"set spec\.storage\.adopt to take over"):
        claim(store, NEW)
    assert told(store).lineage == "uid-1"
    claim(store, NEW)
    with pytest.raises(OwnerConflict):  # whoever had it publishes no more
        claim(store, ModelIdentity(namespace="ops", name="flights", uid="uid-1"))
    third = ModelIdentity(namespace="ops", name="flights", uid="uid-3")
    assert adopt(store, third) == "uid-1", "rows are split as by the first"


def test_an_empty_prefix_has_no_past() -> None:
    store = Bucket()
    store.objects.clear()
    summary = told(store)
    assert (summary.lineage, summary.latest_revision, summary.revisions) == ("uid-2", 0, [])


def test_what_is_no_owner_is_left_alone() -> None:
    store = MemoryStore({keys.OWNER: b"[]"})
    with pytest.raises(OwnerConflict):
        restore(config(), store)
    assert store.objects == {keys.OWNER: b"[]"}


def test_a_crash_anywhere_is_made_good_by_the_next_pod() -> None:
    whole = Bucket()
    whole.publish(1, b"one")
    wanted = told(whole)
    for number in range(100):
        store, left = Bucket(), [number]
        store.publish(1, b"one")

        def die(_operation: str, _key: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise StoreUnavailable("dead")

        store.before = die
        try:
            restore(config(), store)
        except StoreUnavailable:
            store.before = lambda _operation, _key: None
            assert told(store) == wanted
            continue
        assert number > 5
        return


def test_decisions_that_cannot_be_read_are_left_out() -> None:
    store = Bucket()
    first = store.publish(1, b"one")
    decide(store, 1, DecisionKind.PROMOTED, 1, first)
    store.objects["decisions/20260101T000000Z-x.json"] = canonical_json({"schemaVersion": 2})
    assert told(store).serving == 1
