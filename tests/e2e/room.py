"""How much memory the node has left for pods, as the scheduler counts it, and files of the S3 server that are made to look old."""

import json
import math
import re
import time
from collections.abc import Iterator
from typing import Any

from hack.demo.kube import Kube
from hack.images.__main__ import name as image_name
from tests.e2e.place import Object, eventually

_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text: str) -> float:
    """A Kubernetes quantity: `64Mi` is 67108864."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    assert found, f"{text!r} is no quantity"
    return float(found[1]) * _UNITS[found[2]]


def _asks(pod: Object) -> float:
    """Bytes of memory that a pod is scheduled by: its containers together, or the largest that runs before them."""

    def of(containers: list[Object]) -> Iterator[float]:
        yield from (quantity(c.get("resources", {}).get("requests", {}).get("memory", "0")) for c in containers)

    return max(sum(of(pod["spec"]["containers"])), max(of(pod["spec"].get("initContainers", [])), default=0.0))


def free_memory(kube: Kube) -> int:
    """Bytes that the only node still has to give; pods that are ending are taken for gone."""
    everything: dict[str, list[Object]] = {
        kind: json.loads(kube.kubectl("get", kind, "-A", "-o", "json"))["items"] for kind in ("nodes", "namespaces", "pods")
    }
    (node,) = everything["nodes"]
    ending = {n["metadata"]["name"] for n in everything["namespaces"] if n["metadata"].get("deletionTimestamp")}
    staying = [
        pod
        for pod in everything["pods"]
        if pod["status"]["phase"] in ("Pending", "Running")
        and not pod["metadata"].get("deletionTimestamp")
        and pod["metadata"]["namespace"] not in ending
    ]
    return math.floor(quantity(node["status"]["allocatable"]["memory"]) - sum(_asks(pod) for pod in staying))


_AGE = """
import os, sys, time
folder, seconds = sys.argv[1], float(sys.argv[2])
for place, _, files in os.walk(folder):
    for name in files:
        path = os.path.join(place, name)
        then = os.stat(path).st_mtime - seconds
        os.utime(path, (then, then))
"""


def age(kube: Kube, folder: str, seconds: float) -> None:
    """Make everything in a folder of the demo's S3 server this much older: by a container beside it, for its own has no shell."""
    (pod,) = kube.list("pods", "storage")
    name = f"age-{time.time_ns()}"
    (mount,) = (m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == "/data")
    container: Object = {
        "name": name,
        "image": image_name("workloads"),
        "imagePullPolicy": pod["spec"]["containers"][0]["imagePullPolicy"],
        "command": ["python3", "-c", _AGE, f"/data/{folder}", str(seconds)],
        "securityContext": pod["spec"]["containers"][0]["securityContext"],
        "volumeMounts": [mount],
    }
    patch = json.dumps({"spec": {"ephemeralContainers": [container]}})
    kube.kubectl("-n", "storage", "patch", "pod", pod["metadata"]["name"], "--subresource=ephemeralcontainers", "-p", patch)

    def ended() -> Any:
        (seen,) = kube.list("pods", "storage")
        states = {s["name"]: s["state"] for s in seen["status"].get("ephemeralContainerStatuses", [])}
        return states.get(name, {}).get("terminated")

    assert eventually(ended, 60)
    assert ended()["exitCode"] == 0
