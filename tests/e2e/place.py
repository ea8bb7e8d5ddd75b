"""A namespace where Models break: small flights, an S3 server, and what a person sees of each Model."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest
import yaml

from hack.demo import flights
from hack.demo.install import OPERATOR_NAMESPACE, SAMPLE, replay_line
from hack.demo.kube import Kube
from hack.demo.timeline import condition

Object = dict[str, Any]
NAMESPACE, DATA, ARTIFACTS = "failures", "failures-data", "failures"
OPERATOR = "system:serviceaccount:stationkeeper-system:stationkeeper"

# A training takes seconds: one month of flights, few trees.
GOOD: Object = {
    "storage": {"endpointURL": "http://s3.storage.svc:7070", "secretName": "s3-credentials"},
    "serving": {
        "replicas": 1,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "capture": {"flushInterval": "60s"},
    },
    "retraining": {"limit": {"max": 100}},
    "training": {
        "estimator": {
            "class": "sklearn.ensemble.HistGradientBoostingClassifier",
            "params": {"max_iter": 20, "early_stopping": False},
        },
        "data": {
            "uri": f"s3://{DATA}/january/",
            "target": "late",
            "positiveLabel": "true",
            "timestamp": "scheduled_at",
            "features": list(flights.FEATURES),
            "asOf": "LatestRow",
        },
        "evaluation": {"gates": [{"metric": "roc_auc", "min": 0.55}]},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
    },
}


def merged(base: Object, change: Object) -> Object:
    """A JSON merge patch applied (RFC 7396): what it does not name stays, what it gives as null goes."""
    result = dict(base)
    for key, value in change.items():
        result[key] = merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return {key: value for key, value in result.items() if value is not None}


class Place:
    """The namespace, by kubectl as a person has it, and the store behind it."""

    def __init__(self, kube: Kube, client: Any) -> None:
        self.kube, self.client = kube, client

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return self.kube.kubectl("-n", NAMESPACE, *arguments, text=text)

    def cli(self, *arguments: str) -> str:
        """Run our command line, as a person would. Returns what it prints."""
        command = [sys.executable, "-m", "stationkeeper.cli.main", "-n", NAMESPACE, *arguments]
        environment = os.environ | {"KUBECONFIG": str(self.kube.kubeconfig)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill_the_operator(self) -> None:
        chosen = ["-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=stationkeeper"]
        self.kube.kubectl("delete", "pods", *chosen, "--grace-period=0", "--force", "--wait=false")

    def prepare(self, frame: pl.DataFrame) -> None:
        """Namespace, secrets, and a month of flights."""
        self.put(DATA, "january/flights.parquet", flights.parquet(frame))
        namespace, secret = yaml.safe_load_all((SAMPLE / "namespace.yaml").read_text(encoding="utf-8"))
        namespace["metadata"]["name"] = secret["metadata"]["namespace"] = NAMESPACE
        self.create(namespace)
        self.create(secret)

    def create(self, *objects: Object) -> None:
        self.kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=yaml.safe_dump_all(objects))

    def secret(self, name: str, *, right: bool) -> None:
        """Credentials of the store, right or wrong."""
        (good,) = (s for s in self.kube.list("secrets", NAMESPACE) if s["metadata"]["name"] == "s3-credentials")
        data = good["data"] if right else good["data"] | {"AWS_SECRET_ACCESS_KEY": "d3Jvbmc="}
        meta = {"name": name, "namespace": NAMESPACE}
        self.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})

    def record(self, model: str, number: int, digest: str) -> None:
        """A revision's record, written as only the operator may."""
        owner = self.model(model)
        reference = {key: owner[key] for key in ("apiVersion", "kind")} | {"controller": True}
        reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
        first = self.first(model)
        labels = first["metadata"]["labels"] | {"stationkeeper.dev/revision": str(number)}
        meta = {"name": f"{model}-forged-{number}", "namespace": NAMESPACE, "labels": labels, "ownerReferences": [reference]}
        spec = first["spec"] | {"number": number, "digest": digest}
        text = yaml.safe_dump({"apiVersion": first["apiVersion"], "kind": first["kind"], "metadata": meta, "spec": spec})
        self.kubectl(f"--as={OPERATOR}", "apply", "--server-side", "-f", "-", text=text)

    def apply(self, name: str, change: Object | None = None, without: Sequence[str] = ()) -> None:
        """A good Model, but for `change`, and without these fields of its training."""
        spec = merged(merged(GOOD, {"storage": {"uri": f"s3://{ARTIFACTS}/{name}"}}), change or {})
        if "training" in spec:
            spec["training"] = {key: value for key, value in spec["training"].items() if key not in without}
        meta = {"name": name, "namespace": NAMESPACE}
        self.create({"apiVersion": "stationkeeper.dev/v1alpha1", "kind": "Model", "metadata": meta, "spec": spec})

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def read(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read()
        return data

    def keys(self, prefix: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket=ARTIFACTS, Prefix=prefix).get("Contents") or []
        return [entry["Key"] for entry in found]

    def model(self, name: str) -> Object:
        return self.kube.get("model", name, NAMESPACE)

    def revisions(self, name: str) -> list[Object]:
        return [r for r in self.kube.list("modelrevisions", NAMESPACE) if r["spec"]["modelName"] == name]

    def first(self, name: str) -> Object:
        """The record of revision 1."""
        return next(r for r in self.revisions(name) if r["spec"]["number"] == 1)

    def manifest(self, name: str, digest: str) -> Object:
        found: Object = json.loads(self.read(f"{name}/manifests/{digest.removeprefix('sha256:')}.json"))
        return found

    def pods(self, name: str, component: str = "serving") -> list[Object]:
        chosen = f"stationkeeper.dev/model={name},stationkeeper.dev/component={component}"
        return list(yaml.safe_load(self.kubectl("get", "pods", "-l", chosen, "-o", "yaml"))["items"])

    def jobs(self, name: str) -> list[Object]:
        """Its training Jobs."""
        wanted = {"stationkeeper.dev/model": name, "stationkeeper.dev/component": "training"}
        return [j for j in self.kube.list("jobs", NAMESPACE) if wanted.items() <= j["metadata"]["labels"].items()]

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of what people were told."""
        found = yaml.safe_load(self.kubectl("get", "events", f"--field-selector=involvedObject.name={name}", "-o", "yaml"))
        return [(event["type"], event["reason"], event["message"]) for event in found["items"]]

    def told(self, name: str, words: str, *, reason: str = "", kind: str = "") -> bool:
        """Whether people are told of `words`, a pattern, within a minute: Events are written behind the work, after the status."""

        def found() -> bool:
            events = [e for e in self.events(name) if kind in ("", e[0]) and reason in ("", e[1])]
            return any(re.search(words, text) for _, _, text in events)

        return eventually(found, 60)

    def wait(self, name: str, what: str, holds: Callable[[Object], bool], seconds: float = 600) -> Object:
        """The Model, once something holds of it."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.model(name)
            if found.get("status") and holds(found):
                return found
            if time.monotonic() > deadline:
                described = self.kubectl("describe", "model", name)
                pods = self.kubectl("get", "pods", "-o", "wide")
                traffic = replay_line(self.kube, NAMESPACE)
                logs = self.kube.kubectl("-n", OPERATOR_NAMESPACE, "logs", "deploy/stationkeeper", "--tail=40", check=False)
                pytest.fail(f"not within {seconds:.0f} s: {what}\n{described[-5000:]}\n{pods}\n{traffic}\n{logs}")
            time.sleep(0.5)

    def wait_for_condition(self, name: str, type_: str, status: str, words: str) -> None:
        self.wait(name, f"{type_}={status} with {words!r}", lambda model: says(model, type_, status, words))


def says(model: Object, type_: str, status: str, words: str) -> bool:
    """Whether a condition has this status and `words`, a pattern, in its reason and message."""
    found = condition(model, type_)
    text = f"{found.get('reason')}: {found.get('message')}"
    return found.get("status") == status and re.search(words, text) is not None


def eventually(holds: Callable[[], Any], seconds: float = 180) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def torn(frame: pl.DataFrame) -> bytes:
    """A Parquet file whose writer died."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]
