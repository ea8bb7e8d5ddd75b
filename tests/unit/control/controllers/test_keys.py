"""Which keys a change touches: as few as can be, and never one too few."""

from typing import Any

import pytest

from stationkeeper.control.controllers.keys import Key, affected
from stationkeeper.control.kube.store import Store

SETTLE = 1.0


def model(name: str, version: int = 1, namespace: str = "ops", **labels: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(version), "labels": labels}
    return {"kind": "Model", "metadata": meta, "spec": {}}


def policy(name: str, selects: str, version: int = 1, generation: int = 1, **meta: Any) -> dict[str, Any]:
    identity = {"name": name, "namespace": "ops", "uid": f"uid-{name}", "resourceVersion": str(version), "generation": generation}
    return {
        "kind": "DriftPolicy",
        "metadata": {**identity, **meta},
        "spec": {"modelSelector": {"matchLabels": {"team": selects}}},
    }


def child(version: int = 1, **labels: str) -> dict[str, Any]:
    named = {f"stationkeeper.dev/{name}": value for name, value in labels.items()}
    return {"kind": "Job", "metadata": {"name": "j", "namespace": "ops", "resourceVersion": str(version), "labels": named}}


FLIGHTS, TRAINS = ("Model", "flights", 0.0), ("Model", "trains", 0.0)
WATCH, OTHER = ("DriftPolicy", "watch", SETTLE), ("DriftPolicy", "other", SETTLE)
CASES = [
    ("a new Model: itself, and the policies that watch it", model("flights", team="ops"), None, [FLIGHTS, WATCH]),
    ("a Model that nobody watches", model("flights"), None, [FLIGHTS]),
    (
        "a Model that changes hands: both policies count anew",
        model("flights", 2, team="ml"),
        model("flights", team="ops"),
        [FLIGHTS, OTHER, WATCH],
    ),
    ("our own write to a Model: only its policies", model("flights", 1, team="ops"), model("flights", 1, team="ops"), [WATCH]),
    ("a Model of another namespace", model("flights", namespace="science", team="ops"), None, [FLIGHTS]),
    ("a new policy: itself, and its Models", policy("watch", "ops"), None, [("DriftPolicy", "watch", 0.0), FLIGHTS, TRAINS]),
    (
        "a policy that looks elsewhere: the Models that it left too",
        policy("watch", "nobody", 2, 2),
        policy("watch", "ops"),
        [("DriftPolicy", "watch", 0.0), FLIGHTS, TRAINS],
    ),
    ("a policy's status: no Model", policy("watch", "ops", 2), policy("watch", "ops"), [("DriftPolicy", "watch", 0.0)]),
    ("our own write to a policy: nothing", policy("watch", "ops"), policy("watch", "ops"), []),
    (
        "a policy that is going: its Models",
        policy("watch", "ops", 2, deletionTimestamp="now"),
        policy("watch", "ops"),
        [("DriftPolicy", "watch", 0.0), FLIGHTS, TRAINS],
    ),
    ("a child: its Model", child(model="flights"), None, [FLIGHTS]),
    ("our own write to a child: nothing", child(model="flights"), child(model="flights"), []),
    ("a child whose label was taken off: the Model that it had", child(2), child(model="flights"), [FLIGHTS]),
    ("a child that was given away: both", child(2, model="trains"), child(model="flights"), [FLIGHTS, TRAINS]),
    ("something that is no Model's", child(), None, []),
]


@pytest.mark.parametrize(("name", "obj", "before", "looks"), CASES, ids=[case[0] for case in CASES])
def test_a_change_touches(name, obj, before, looks):
    store = Store()
    for known in (model("flights", team="ops"), model("trains", team="ops"), policy("watch", "ops"), policy("other", "ml")):
        store.put(known)
    namespace = obj["metadata"]["namespace"]
    found = sorted(affected(obj, before, store))
    assert found == sorted((Key(kind, namespace, which), seconds) for kind, which, seconds in looks)


def test_a_key_reads_well_in_logs():
    assert str(Key("DriftPolicy", "ops", "watch")) == "driftpolicy/ops/watch"
