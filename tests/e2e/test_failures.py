"""Bad input, a damaged store, a killed operator: what a person sees, and that the stable revision answers through it all."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from hack.cluster.say import ClusterError
from hack.demo import flights, install
from hack.demo.timeline import condition
from tests.e2e.damage import FORGERIES, flipped, forge, model_file
from tests.e2e.place import ARTIFACTS, DATA, NAMESPACE, Place, eventually, merged, says, torn

pytestmark = pytest.mark.e2e

STABLE = "station"  # serves on two pods, and is asked all the while
TWO_PODS = {"serving": {"replicas": 2}, "storage": {"secretName": "rotated"}}


@dataclass(frozen=True)
class Fault:
    """A Model that cannot be trained, and what it says of that."""

    name: str
    change: dict[str, Any]
    reason: str
    words: str  # what is wrong and what to do about it; a pattern


def data(**change: Any) -> dict[str, Any]:
    return {"training": {"data": change}}


def estimator(name: str) -> dict[str, Any]:
    return {"training": {"estimator": {"class": name}}}


FAULTS = (
    Fault("misspelled", estimator("sklearn.ensemble.RandomForrestClassifier"), "UnknownEstimator", "did you mean RandomForestC"),
    Fault("scaler", estimator("sklearn.preprocessing.StandardScaler"), "UnknownEstimator", "is not a classifier or regressor"),
    Fault("no-target", data(target="tardy"), "MissingTargetColumn", "'tardy' is missing .* restore it, or correct data.target"),
    Fault("malformed", data(uri=f"s3://{DATA}/torn/"), "MalformedData", r"torn.parquet under \S+ cannot be read: .*; replace"),
    Fault("empty-window", data(asOf="Now", window="30d"), "EmptyWindow", "widen data.window, or set data.asOf: LatestRow"),
    Fault("no-data", data(uri=f"s3://{DATA}/nothing/"), "NoData", "write some, or correct data.uri or data.format"),
    Fault("denied", {"storage": {"secretName": "wrong"}}, "StorageDenied", "check the Secret in spec.storage.secretName"),
    Fault("no-secret", {"storage": {"secretName": "absent"}}, "SecretMissing", '"absent" not found; create the secret'),
    Fault("no-bucket", {"storage": {"uri": "s3://nowhere/no-bucket"}}, "BucketMissing", "create it or correct spec.storage.uri"),
)
# Four pods must fail before it is given up: looked at later than the others, and waits while they are.
UNREACHABLE = Fault(
    "unreachable",
    {"storage": {"endpointURL": "http://s3.nowhere.svc:7070"}},
    "StorageUnreachable",
    "at http://s3.nowhere.svc:7070.*check spec.storage.endpointURL",
)


@pytest.fixture(scope="module")
def place(kube) -> Iterator[Place]:
    """A Model that serves on two pods and is asked 20 times a second from here on."""
    frame = flights.flights()
    install.s3_server(kube)
    install.operator(kube)
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    with install.store(kube) as client:
        install.empty(client, DATA, ARTIFACTS)
        made = Place(kube, client)
        january = flights.between(frame, datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))
        made.prepare(january)
        made.put(DATA, "torn/torn.parquet", torn(january))
        made.put(DATA, "replay/flights.parquet", flights.parquet(frame.head(60_000)))  # fifty minutes of it
        made.secret("rotated", right=True)
        made.secret("wrong", right=False)
        made.apply(STABLE, TWO_PODS)
        made.wait_for_condition(STABLE, "Ready", "True", "Serving: revision 1")
        pace = {"ROWS_PER_REQUEST": "1", "REQUESTS_PER_SECOND": "20", "LABELS_UNTIL": "0000"}
        install.replay_pod(kube, pace, NAMESPACE, STABLE, DATA)
        yield made
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def faulty(place) -> Place:
    """All faulty Models at once: they wait for their pods together."""
    for fault in (*FAULTS, UNREACHABLE):
        place.apply(fault.name, fault.change)
    return place


def assert_told(faulty: Place, fault: Fault) -> None:
    """The Model says it in its conditions, its Events and its line, and has nothing to show."""
    words = f"{fault.reason}: .*{fault.words}"
    model = faulty.wait(fault.name, words, lambda m: says(m, "Stalled", "True", words))
    assert says(model, "Ready", "False", words)
    assert faulty.told(fault.name, fault.words, kind="Warning")
    assert eventually(lambda: re.search(fault.words, faulty.kubectl("get", "model", fault.name, "-o", "wide")))
    assert not [key for key in faulty.keys(f"{fault.name}/") if "/manifests/" in key or "/blobs/" in key]
    for kind in ("modelrevisions", "deployments", "services"):
        assert faulty.kubectl("get", kind, "-l", f"stationkeeper.dev/model={fault.name}", "-o", "name") == ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_bad_input_is_told_and_nothing_is_published(faulty, fault):
    assert_told(faulty, fault)


def test_a_class_outside_scikit_learn_is_refused_at_the_door(place):
    with pytest.raises(ClusterError, match=r'estimator.class: Invalid value: "subprocess.Popen"'):
        place.apply("foreign", estimator("subprocess.Popen"))


def test_what_was_wrong_heals_once_it_is_mended(faulty):
    faulty.secret("absent", right=True)
    faulty.apply("no-target", data(target="late"))
    for name in ("no-secret", "no-target"):
        faulty.wait_for_condition(name, "Ready", "True", "Serving: revision 1")
        assert condition(faulty.model(name), "Stalled")["status"] == "False"
    others = [fault.name for fault in FAULTS if fault.name not in ("no-secret", "no-target")]
    faulty.kubectl("delete", "models", *others)
    assert eventually(lambda: not [job for name in others for job in faulty.jobs(name)])


STABLE_FAULTS = (
    Fault("class", estimator("sklearn.ensemble.RandomForrestClassifier"), "UnknownEstimator", "did you mean"),
    Fault("target", data(target="tardy"), "MissingTargetColumn", "restore it, or correct data.target"),
    Fault("file", data(uri=f"s3://{DATA}/torn/"), "MalformedData", "replace or remove it"),
)


@pytest.mark.parametrize("fault", STABLE_FAULTS, ids=lambda fault: fault.name)
def test_a_bad_edit_is_told_and_the_stable_revision_serves_on(place, fault):
    place.apply(STABLE, merged(TWO_PODS, fault.change))
    place.wait(STABLE, fault.reason, lambda m: (m["status"].get("lastTraining") or {}).get("reason") == fault.reason)
    model = place.model(STABLE)
    assert re.search(fault.words, model["status"]["lastTraining"]["message"])
    assert (condition(model, "Available")["status"], model["status"]["readyReplicas"]) == ("True", 2)
    assert [r["spec"]["number"] for r in place.revisions(STABLE)] == [1]
    assert place.told(STABLE, fault.words, kind="Warning")


def test_a_bad_edit_taken_back_leaves_a_ready_model(place):
    place.apply(STABLE, TWO_PODS)
    place.wait_for_condition(STABLE, "Ready", "True", "Serving: revision 1")


def test_a_store_that_does_not_answer_is_told_and_nothing_is_published(faulty):
    assert_told(faulty, UNREACHABLE)
    faulty.kubectl("delete", "model", UNREACHABLE.name)


def test_a_damaged_file_is_never_served_and_a_restored_one_is(faulty):
    name = "no-target"
    key = model_file(faulty, name)
    whole = faulty.read(key)
    faulty.put(ARTIFACTS, key, flipped(whole))
    faulty.kubectl("delete", "pod", faulty.pods(name)[0]["metadata"]["name"], "--wait=false")
    words = f"DigestMismatch: s3://{ARTIFACTS}/{key} does not hash to its name; restore the object"
    model = faulty.wait(name, words, lambda m: says(m, "Available", "False", words))
    assert says(model, "Ready", "False", words)
    assert faulty.told(name, "does not hash to its name", kind="Warning")
    assert "does not hash to its name" in faulty.kubectl("get", "model", name, "-o", "wide")
    faulty.put(ARTIFACTS, key, whole)
    faulty.wait_for_condition(name, "Ready", "True", "Serving")


def test_a_damaged_file_of_a_model_that_serves_costs_no_request(place):
    key = model_file(place, STABLE)
    whole = place.read(key)
    place.put(ARTIFACTS, key, flipped(whole))
    place.kubectl("delete", "pod", place.pods(STABLE)[0]["metadata"]["name"], "--wait=false")
    place.wait_for_condition(STABLE, "RolloutProgressing", "False", "1 of 2 .*DigestMismatch")
    assert condition(place.model(STABLE), "Available")["status"] == "True"
    place.put(ARTIFACTS, key, whole)
    place.wait(STABLE, "both pods are ready again", lambda m: m["status"]["readyReplicas"] == 2)


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.reason.partition(":")[0])
def test_a_forged_revision_never_serves_and_is_not_tried_again(place, forgery):
    digest = forge(place, STABLE, forgery)
    place.record(STABLE, forgery.number, digest)
    words = f"revision 1 serves; revision {forgery.number} does not: .*{forgery.reason}"
    place.wait_for_condition(STABLE, "RolloutProgressing", "False", words)
    model = place.model(STABLE)
    assert digest in {entry["digest"] for entry in model["status"]["quarantine"]}
    assert condition(model, "Ready")["status"] == "True"
    assert place.told(STABLE, forgery.reason, kind="Warning")


def test_wrong_credentials_are_told_and_the_stable_revision_serves_on(place):
    place.secret("rotated", right=False)
    place.kubectl("annotate", "model", STABLE, "stationkeeper.dev/retrain=denied")
    place.wait_for_condition(STABLE, "Retraining", "False", "StorageDenied: .*check the Secret in spec.storage.secretName")
    assert condition(place.model(STABLE), "Available")["status"] == "True"
    place.secret("rotated", right=True)


def test_an_operator_killed_in_training_and_in_rollout_trains_once_and_goes_on(place):
    before = {job["metadata"]["name"] for job in place.jobs(STABLE)}
    place.kubectl("annotate", "model", STABLE, "--overwrite", "stationkeeper.dev/retrain=killed")
    episode = place.wait(STABLE, "a training", lambda m: condition(m, "Retraining")["reason"] == "Training")["status"]["episode"]
    place.kill_the_operator()
    coming = place.wait(STABLE, "a candidate", lambda m: m["status"].get("candidate"))
    place.kill_the_operator()
    assert coming["status"]["serving"]["number"] == 1
    place.wait(STABLE, "revision 5 serves", lambda m: m["status"]["serving"]["number"] == 5)
    assert [episode["cause"], episode["attempt"], episode["revision"]] == ["Manual", 1, 5]
    (job,) = (job for job in place.jobs(STABLE) if job["metadata"]["name"] not in before)
    assert job["metadata"]["labels"]["stationkeeper.dev/episode"] == episode["id"]
    assert job["status"]["succeeded"] == 1
    assert "failed" not in job["status"]


def test_not_one_request_failed_through_it_all(place):
    def seen() -> dict[str, int]:
        return install.replay_line(place.kube, NAMESPACE)["revisions"]

    assert eventually(lambda: seen().keys() == {"1", "5"}), "both revisions answered, the forged ones never"
    place.put(DATA, "replay/stop", b"")
    assert eventually(lambda: install.replay_line(place.kube, NAMESPACE)["final"])
    line = install.replay_line(place.kube, NAMESPACE)
    assert (line["failed"], line["errors"]) == (0, {})
    assert line["sent"] == line["rows"]
    assert line["sent"] > 1000
