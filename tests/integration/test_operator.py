"""The operator against a real API server: every object, every crash, nobody's objects written to."""

import json
import time
from typing import Any

import pytest

from tests.integration.conftest import Cluster, Operator
from tests.support import kubelet, world

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def apply_model(cluster: Cluster, namespace: str, **metadata: Any) -> Object:
    return cluster.create({**world.model(), "metadata": {"name": "flights", "namespace": namespace, **metadata}})


def job(cluster: Cluster, namespace: str) -> Object:
    return cluster.wait("a training Job", lambda: trainings(cluster, namespace))[0]


def trainings(cluster: Cluster, namespace: str) -> list[Object]:
    """The training Jobs, without those that write decisions down."""
    jobs = cluster.list("jobs", namespace)
    return [job for job in jobs if job["metadata"]["labels"]["stationkeeper.dev/component"] == "training"]


def finish(cluster: Cluster, namespace: str, text: str) -> None:
    """Play the kubelet: the pod of the training Job ends with a published revision."""
    name = job(cluster, namespace)["metadata"]["name"]
    pods = cluster.wait("its pod", lambda: [p for p in cluster.list("pods", namespace) if p["metadata"]["name"].startswith(name)])
    episode = cluster.get("model", namespace, "flights")["status"]["episode"]
    cluster.set_status("pod", namespace, pods[0]["metadata"]["name"], kubelet.published(episode, text))


def make_ready(cluster: Cluster, namespace: str, number: int) -> None:
    """Play the kubelet: the pods of a revision are ready."""

    def found() -> list[Object]:
        ours = cluster.list("deployments", namespace)
        return [d for d in ours if d["metadata"]["labels"]["stationkeeper.dev/revision"] == str(number)]

    deployment = cluster.wait(f"the Deployment of revision {number}", found)[0]
    for pod in cluster.list("pods", namespace):
        if pod["metadata"]["labels"].get("stationkeeper.dev/revision") == str(number):
            ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "PodScheduled", "Initialized")]
            running = {"name": "serve", "image": "x", "imageID": "x", "ready": True, "restartCount": 0, "state": {"running": {}}}
            status = {"phase": "Running", "conditions": ready, "containerStatuses": [running], "podIP": "10.0.0.1"}
            cluster.set_status("pod", namespace, pod["metadata"]["name"], status)
    assert deployment


def pods_of(cluster: Cluster, namespace: str, number: int) -> list[Object]:
    return [
        p for p in cluster.list("pods", namespace) if p["metadata"]["labels"].get("stationkeeper.dev/revision") == str(number)
    ]


def bring_up(cluster: Cluster, namespace: str) -> None:
    apply_model(cluster, namespace)
    finish(cluster, namespace, "first")
    cluster.wait("the pods of revision 1", lambda: len(pods_of(cluster, namespace, 1)) == 2)
    make_ready(cluster, namespace, 1)
    cluster.wait("revision 1 serves", lambda: serving(cluster, namespace) == 1)


def serving(cluster: Cluster, namespace: str) -> int:
    status = cluster.get("model", namespace, "flights").get("status") or {}
    return int((status.get("serving") or {}).get("number", 0))


def test_a_model_becomes_a_service(cluster, namespace, operator):
    cluster.create({**world.policy(), "metadata": {"name": "watch", "namespace": namespace}})
    bring_up(cluster, namespace)
    service = cluster.get("service", namespace, "flights")
    assert service["spec"]["selector"]["stationkeeper.dev/revision"] == "1"
    record = cluster.list("modelrevisions", namespace)[0]
    assert record["spec"]["digest"] == world.digest("first")
    assert record["spec"]["cause"] == "Initial"
    cronjob = cluster.wait("the CronJob of the policy", lambda: cluster.list("cronjobs", namespace))[0]
    assert cronjob["spec"]["concurrencyPolicy"] == "Forbid"
    model = cluster.wait("Ready", lambda: (m := cluster.get("model", namespace, "flights")) and ready(m, "True") and m)
    assert model["status"]["url"].endswith("/v2/models/flights")
    # A policy is looked at a second after its Models, once for all of them; the first one may be ready before that.
    cluster.wait("the policy counts it", lambda: cluster.get("driftpolicy", namespace, "watch")["status"].get("models") == 1)
    cluster("-n", namespace, "wait", "--for=condition=Ready", "model/flights", "--timeout=10s")


def ready(model: Object, status: str) -> bool:
    conditions = model["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == status for c in conditions)


def test_nothing_is_written_to_peoples_objects_but_status(cluster, namespace, operator):
    bring_up(cluster, namespace)
    model = cluster.get("model", namespace, "flights")
    assert "finalizers" not in model["metadata"]
    assert "annotations" not in model["metadata"]
    managers = {(entry["manager"], entry.get("subresource", "")) for entry in model["metadata"]["managedFields"]}
    assert managers == {("test", ""), ("stationkeeper", "status")}


def test_a_steady_model_costs_no_request(cluster, namespace, tmp_path):
    running = Operator(cluster.kubeconfig, tmp_path / "log", "--no-leader-election", f"--namespace={namespace}", "--resync=1s")
    running.start().wait_ready()
    try:
        bring_up(cluster, namespace)
        time.sleep(3)  # the drain and its last writes
        before = running.requests()
        time.sleep(4)  # several resyncs
        assert running.requests() == before
        assert before, "the counter counts"
    finally:
        running.stop()


def test_creating_makes_one_status_write_and_one_apply(cluster, namespace, operator):
    before = operator.requests()
    apply_model(cluster, namespace)
    job(cluster, namespace)
    time.sleep(1)
    made = {name: count - before.get(name, 0) for name, count in operator.requests().items() if count != before.get(name, 0)}
    writes = {name: count for name, count in made.items() if 'verb="get"' not in name and 'kind="Event"' not in name}
    assert sum(writes.values()) == 2, writes


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2])
def test_a_killed_operator_goes_on_where_it_was(cluster, namespace, tmp_path, delay):
    running = (
        Operator(cluster.kubeconfig, tmp_path / "log", "--no-leader-election", f"--namespace={namespace}").start().wait_ready()
    )
    try:
        apply_model(cluster, namespace)
        time.sleep(delay)
        running.kill()
        running.start().wait_ready()
        finish(cluster, namespace, "first")
        time.sleep(delay)
        running.kill()
        running.start().wait_ready()
        cluster.wait("the pods of revision 1", lambda: len(pods_of(cluster, namespace, 1)) == 2)
        make_ready(cluster, namespace, 1)
        time.sleep(delay)
        running.kill()
        running.start().wait_ready()
        cluster.wait("revision 1 serves", lambda: serving(cluster, namespace) == 1)
        assert len(trainings(cluster, namespace)) == 1
        assert len(cluster.list("modelrevisions", namespace)) == 1
        assert len(cluster.list("deployments", namespace)) == 1
    finally:
        running.stop()


def test_a_foreign_service_stays_as_it_is(cluster, namespace, operator):
    ports = [{"port": 80}]
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "flights", "namespace": namespace}}
    cluster.create({**foreign, "spec": {"selector": {"app": "theirs"}, "ports": ports}})
    apply_model(cluster, namespace)
    finish(cluster, namespace, "first")
    cluster.wait("the pods of revision 1", lambda: len(pods_of(cluster, namespace, 1)) == 2)
    make_ready(cluster, namespace, 1)

    def conflicted() -> bool:
        conditions = (cluster.get("model", namespace, "flights").get("status") or {}).get("conditions") or []
        return any(c["type"] == "Stalled" and c["reason"] == "NameConflict" for c in conditions)

    cluster.wait("NameConflict", conflicted)
    assert cluster.get("service", namespace, "flights")["spec"]["selector"] == {"app": "theirs"}


def test_a_foreign_edit_is_put_right(cluster, namespace, operator):
    bring_up(cluster, namespace)
    name = cluster.list("deployments", namespace)[0]["metadata"]["name"]
    cluster("-n", namespace, "patch", "deployment", name, "--type=merge", "-p", '{"spec": {"replicas": 7}}')
    cluster.wait("two replicas again", lambda: cluster.list("deployments", namespace)[0]["spec"]["replicas"] == 2)


def test_what_an_autoscaler_says_is_never_taken_back(cluster, namespace, operator):
    bring_up(cluster, namespace)
    budget = cluster.wait("a budget", lambda: cluster.list("poddisruptionbudgets", namespace))[0]
    assert budget["spec"]["selector"]["matchLabels"]["stationkeeper.dev/revision"] == "1"
    change(cluster, namespace, autoscaling={"minReplicas": 2, "maxReplicas": 9})
    autoscaler = cluster.wait("an autoscaler", lambda: cluster.list("horizontalpodautoscalers", namespace))[0]
    name = autoscaler["spec"]["scaleTargetRef"]["name"]

    def replicas() -> int:
        return int(cluster.get("deployment", namespace, name)["spec"]["replicas"])

    def settled() -> bool:
        model = cluster.get("model", namespace, "flights")
        return bool(model["status"]["observedGeneration"] == model["metadata"]["generation"])

    cluster.wait("the edit is seen", settled)
    assert replicas() == 2, "whom the number belongs to changes, the number does not"
    # As the autoscaler's controller does it: by the subresource, under a name of its own.
    cluster("-n", namespace, "scale", "deployment", name, "--replicas=6")
    change(cluster, namespace, resources={"requests": {"cpu": "200m", "memory": "300Mi"}})

    def rebuilt() -> bool:
        pod = cluster.get("deployment", namespace, name)["spec"]["template"]["spec"]
        return bool(pod["containers"][0]["resources"]["requests"]["cpu"] == "200m")

    cluster.wait("the new resources", rebuilt)
    assert replicas() == 6
    change(cluster, namespace, autoscaling=None)
    cluster.wait("the spec says how many again", lambda: replicas() == 2)
    cluster.wait("the autoscaler is gone", lambda: not cluster.list("horizontalpodautoscalers", namespace))


def change(cluster: Cluster, namespace: str, **serving: Any) -> None:
    cluster("-n", namespace, "patch", "model", "flights", "--type=merge", "-p", json.dumps({"spec": {"serving": serving}}))


def test_deletion_collects_everything(cluster, namespace, operator):
    bring_up(cluster, namespace)
    cluster("-n", namespace, "delete", "model", "flights", "--wait=true")
    kinds = "deployments,services,cronjobs,jobs,modelrevisions,pods,poddisruptionbudgets"
    cluster.wait("nothing is left", lambda: not cluster("-n", namespace, "get", kinds, "-o", "name").strip(), 60)


def test_one_of_two_operators_leads_and_the_other_takes_over(cluster, namespace, tmp_path):
    flags = ("--leader-election", f"--lease-namespace={namespace}", f"--namespace={namespace}")
    first = Operator(cluster.kubeconfig, tmp_path / "first", *flags, "--identity=first").start().wait_ready()
    cluster.wait("the first leads", lambda: holder(cluster, namespace) == "first")
    second = Operator(cluster.kubeconfig, tmp_path / "second", *flags, "--identity=second").start().wait_ready()
    try:
        apply_model(cluster, namespace)
        job(cluster, namespace)
        assert holder(cluster, namespace) == "first"
        assert second.requests() == {}, "a stand-by does nothing"
        assert first.stop() == 0
        cluster.wait("the second leads", lambda: holder(cluster, namespace) == "second", 20)
        finish(cluster, namespace, "first")
        cluster.wait("the second works", lambda: cluster.list("modelrevisions", namespace))
    finally:
        first.stop()
        second.stop()


def holder(cluster: Cluster, namespace: str) -> str:
    lease = cluster.get("lease", namespace, "stationkeeper-operator")
    return str((lease.get("spec") or {}).get("holderIdentity", ""))
