"""A kind of others that the cluster has not got, gets, and loses: HTTPRoute. Models are looked after all the while."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Cluster, Operator
from tests.integration.test_operator import apply_model, bring_up, job, serving

pytestmark = pytest.mark.integration

GROUP, CRD = "gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io"


def crd() -> dict:
    """The kind as it is served, but for its schema; `tests/e2e/test_gateway.py` has the real one."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"kind": "HTTPRoute", "plural": "httproutes", "singular": "httproute"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # A name of the group is asked for its approval, which an annotation says.
        "metadata": {
            "name": CRD,
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/891"},
        },
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.fixture
def running(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    flags = ["--no-leader-election", f"--namespace={namespace}", "--resync=20s"]
    made = Operator(cluster.kubeconfig, tmp_path / "log", *flags).start().wait_ready()
    yield made
    made.stop()
    cluster("delete", "crd", CRD, "--ignore-not-found", "--wait=true")


def routed(cluster: Cluster, namespace: str) -> str:
    conditions = (cluster.get("model", namespace, "flights").get("status") or {}).get("conditions") or []
    return next((c["reason"] for c in conditions if c["type"] == "Routed"), "")


def test_routes_are_used_when_the_cluster_gets_them_and_nothing_ends_when_it_loses_them(cluster, namespace, running):
    route = {"serving": {"replicas": 2, "route": {"gateway": {"name": "public"}}}}
    bring_up(cluster, namespace)
    cluster("-n", namespace, "patch", "model", "flights", "--type=merge", "-p", json.dumps({"spec": route}))
    cluster.wait("it says what is missing", lambda: routed(cluster, namespace) == "GatewayAPIMissing")
    assert "Traceback" not in running.log.read_text()

    cluster("create", "-f", "-", body=crd())
    cluster("wait", "--for=condition=Established", "--timeout=30s", f"crd/{CRD}")
    made = cluster.wait("its route", lambda: cluster.get("httproute", namespace, "flights"), 60)
    assert made["spec"]["rules"][0]["backendRefs"][0]["weight"] == 100
    cluster.wait("it waits for the Gateway", lambda: routed(cluster, namespace) == "RoutePending")
    cluster.wait("the watches run anew", lambda: running.answers("/readyz"))
    condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1}
    parent = {"parentRef": {"name": "public"}, "controllerName": "example.com/x", "conditions": [condition]}
    cluster.set_status("httproute", namespace, "flights", {"parents": [parent]})
    cluster.wait("the Gateway's word is heard", lambda: routed(cluster, namespace) == "RouteAccepted")

    cluster("delete", "crd", CRD, "--wait=true")
    cluster.wait("it says that they are gone", lambda: routed(cluster, namespace) == "GatewayAPIMissing", 60)
    cluster("-n", namespace, "delete", "model", "flights")
    apply_model(cluster, namespace)
    assert job(cluster, namespace), "Models are looked after"
    assert serving(cluster, namespace) == 0
    cluster.wait("the watches run again", lambda: running.answers("/readyz"))
