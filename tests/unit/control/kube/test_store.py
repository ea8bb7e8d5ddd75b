"""What the store believes, told as what lists and watches say, in whatever order they come."""

from typing import Any

import pytest

from stationkeeper.control.kube.store import Store, project

LABEL = "stationkeeper.dev/model"


def obj(name: str = "a", version: int = 1, uid: str = "", namespace: str = "ops", kind: str = "Job", **meta: Any) -> dict:
    identity = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": kind, "metadata": {**identity, **meta}, "spec": {"version": version}}


def has(store: Store, *names: str, kind: str = "Job") -> bool:
    return sorted(found["metadata"]["name"] for found in store.all(kind)) == sorted(names)


def version(store: Store, name: str = "a") -> int:
    found = store.get("Job", "ops", name)
    return found["spec"]["version"] if found else 0


def put(*versions: int):
    return [("put", obj(version=number)) for number in versions]


def gone(number: int, uid: str = ""):
    return [("remove", obj(version=number, uid=uid))]


def listed(number: int, *items: dict):
    return [("replace", (items, str(number)))]


STORIES = [
    ("the newest version wins", [*put(1, 3)], 3),
    ("an older version comes late", [*put(3, 1)], 3),
    ("the same version again", [*put(3, 3)], 3),
    ("it was deleted", [*put(1), *gone(2)], 0),
    ("an event from before its deletion comes late", [*put(1), *gone(4), *put(3)], 0),
    ("a list from before its deletion comes late", [*put(1), *gone(4), *listed(3, obj(version=3))], 0),
    ("it comes back: its label was taken off and put on again", [*put(1), *gone(4), *put(5)], 5),
    ("its deletion was not seen, and the list lacks it", [*put(1), *listed(4)], 0),
    ("an event from before that list comes late", [*put(1), *listed(4), *put(3)], 0),
    ("it was made after the list", [*put(5), *listed(4)], 5),
    ("it was changed after the list", [*put(1, 5), *listed(4, obj(version=2))], 5),
    ("the list is newer", [*put(1), *listed(4, obj(version=3))], 3),
    ("a list that tells no version takes nothing away", [*put(1), ("replace", ((), "0"))], 1),
    ("another one has the name now", [*put(1), ("put", obj(version=6, uid="new"))], 6),
    ("the deletion of its predecessor comes late", [*put(1), ("put", obj(version=6, uid="new")), *gone(5)], 6),
    ("it was never there", [*gone(5)], 0),
]


@pytest.mark.parametrize(("name", "story", "known"), STORIES, ids=[case[0] for case in STORIES])
def test_the_store_believes_what_is_newest(name, story, known):
    store = Store()
    for verb, what in story:
        if verb == "replace":
            store.replace("Job", *what)
        else:
            getattr(store, verb)(what)
    assert version(store) == known


def test_a_list_of_one_namespace_says_nothing_of_others():
    store = Store()
    for namespace in ("ops", "science"):
        store.put(obj(namespace=namespace, uid=namespace))
    store.replace("Job", [], "9", ["ops"])
    assert [found["metadata"]["namespace"] for found in store.all("Job")] == ["science"]


def test_kinds_and_namespaces_are_told_apart():
    store = Store()
    store.put(obj("a"))
    store.put(obj("a", namespace="science", uid="b"))
    store.put(obj("a", kind="Service", uid="c"))
    assert len(list(store.all("Job"))) == 2
    assert len(list(store.all("Job", "science"))) == 1
    assert list(store.all("Pod")) == list(store.all("Job", "nowhere")) == []


def test_the_store_may_change_while_it_is_read():
    store = Store()
    for name in "abc":
        store.put(obj(name))
    for found in store.all("Job", "ops"):
        store.remove(found)
        store.put(obj(f"{found['metadata']['name']}-next"))
    assert has(store, "a-next", "b-next", "c-next")


CHILDREN = [
    ("a child is its model's", [obj("a", labels={LABEL: "flights"})], ["a"]),
    ("a label that moved takes it along", [obj("a", labels={LABEL: "other"}), obj("a", 2, labels={LABEL: "flights"})], ["a"]),
    ("a label that is lost lets it go", [obj("a", labels={LABEL: "flights"}), obj("a", 2)], []),
    ("of two that had the name only the new one is", [obj("a", labels={LABEL: "flights"}), obj("a", 2, uid="new")], []),
    ("a Model is nobody's child, whatever its labels", [obj("a", kind="Model", labels={LABEL: "flights"})], []),
]


@pytest.mark.parametrize(("name", "story", "names"), CHILDREN, ids=[case[0] for case in CHILDREN])
def test_children_are_found_by_their_model(name, story, names):
    store = Store()
    for what in story:
        store.put(what)
    children = [child for kind in ("Job", "Model") for child in store.children(kind, "ops", "flights")]
    assert [child["metadata"]["name"] for child in children] == names


def test_nothing_is_left_of_what_is_gone():
    store = Store()
    for number in range(20):
        store.put(obj(f"job-{number}", labels={LABEL: "flights"}))
        store.remove(obj(f"job-{number}"))
    assert not store.children("Job", "ops", "flights")
    assert not store._children
    assert not store._objects["Job"]


def test_deletions_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr("stationkeeper.control.kube.store._TOMBSTONES", 3)
    store = Store()
    for number in range(10):
        store.remove(obj(f"job-{number}"))
    assert list(store._gone) == ["uid-job-7", "uid-job-8", "uid-job-9"]


POD = {
    **obj(kind="Pod", managedFields=["much"], annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"}),
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"ready": True}],
    },
}


def test_what_no_decision_needs_is_not_kept():
    assert project(POD) == {
        **{name: POD[name] for name in ("apiVersion", "kind")},
        "metadata": {"name": "a", "namespace": "ops", "uid": "uid-a", "resourceVersion": "1"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [{"ready": True}]},
    }


def test_what_decisions_need_is_kept():
    model = {**obj(kind="Model", annotations={"stationkeeper.dev/retrain": "now"}), "status": {"url": "x"}}
    assert project(model) == model
    assert project({"kind": "Pod", "metadata": {"name": "a"}})["status"] == {}


def test_that_a_pod_finds_no_node_is_kept():
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
    pod = {**POD, "status": {"phase": "Pending", "conditions": [unplaced, {"type": "Ready", "status": "False"}]}}
    assert project(pod)["status"] == {"phase": "Pending", "conditions": [unplaced]}


def test_projecting_does_not_change_what_came():
    before = repr(POD)
    project(POD)
    assert repr(POD) == before
