"""Puts everything into the cluster: S3 server, operator (by Helm), the sample's namespace, data and objects."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import yaml
from botocore.config import Config

from hack.cluster.paths import REPOSITORY
from hack.demo import flights
from hack.demo.kube import Kube
from hack.images.__main__ import name as image_name

NAMESPACE, MODEL, BUCKET, ARTIFACTS = "flights", "flight-delays", "flights", "models"
SAMPLE = REPOSITORY / "manifests" / "samples" / "flights"
FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)
TRAIN_UNTIL = datetime(2013, 4, 1, tzinfo=UTC)
REPLAY_FROM = datetime(2013, 5, 1, tzinfo=UTC)
REPLAY_UNTIL = datetime(2013, 8, 15, tzinfo=UTC)
OPERATOR_NAMESPACE = "stationkeeper-system"


def s3_server(kube: Kube) -> None:
    """The demo's own S3 server, in a pod."""
    text = (REPOSITORY / "manifests" / "s3" / "s3.yaml").read_text(encoding="utf-8")
    kube.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
        text=text.replace("stationkeeper/versitygw:dev", image_name("versitygw")),
    )
    kube.kubectl("-n", "storage", "rollout", "status", "deployment/s3", "--timeout=180s")


def operator(kube: Kube, *extra: str) -> None:
    """The operator, by its chart."""
    values = []
    for image in ("operator", "workloads"):
        repository, _, tag = image_name(image).rpartition(":")
        values += ["--set", f"image.{image}.repository={repository}", "--set", f"image.{image}.tag={tag}"]
    kube.apply(REPOSITORY / "crds")
    upgrade = bool(kube.get("deployment", "stationkeeper", OPERATOR_NAMESPACE))
    chart = str(REPOSITORY / "charts" / "stationkeeper")
    where = ["--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--skip-crds", "--timeout", "5m"]
    kube.helm("upgrade", "--install", "stationkeeper", chart, *where, *values, *extra)
    if upgrade:  # the tag is the same for every build of a clone, so a running pod would keep the old image
        kube.kubectl("-n", OPERATOR_NAMESPACE, "rollout", "restart", "deployment/stationkeeper")
    kube.kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/stationkeeper", "--timeout=180s")


@contextmanager
def store(kube: Kube) -> Iterator[Any]:
    """A client of the demo's S3 server."""
    with kube.forwarded("storage", "service/s3", 7070) as port:
        (secret,) = (
            d for d in yaml.safe_load_all((SAMPLE / "namespace.yaml").read_text(encoding="utf-8")) if d["kind"] == "Secret"
        )
        yield boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=secret["stringData"]["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret["stringData"]["AWS_SECRET_ACCESS_KEY"],
            # A forwarded port may go dead without a word: better a failed call than an hour of waiting.
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=20,
                retries={"max_attempts": 3, "mode": "standard"},
            ),
        )


def empty(client: Any, *buckets: str) -> None:
    """Fresh buckets: what an earlier run left is removed."""
    for bucket in buckets:
        existing = {entry["Name"] for entry in client.list_buckets().get("Buckets") or []}
        if bucket not in existing:
            client.create_bucket(Bucket=bucket)
            continue
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents") or []:
                client.delete_object(Bucket=bucket, Key=entry["Key"])


def training_data(client: Any, frame: pl.DataFrame) -> int:
    """January to March with labels, an object a month. Returns the rows."""
    rows, start = 0, FIRST_DAY
    while start < TRAIN_UNTIL:
        end = (start + timedelta(days=32)).replace(day=1)
        part = flights.between(frame, start, end)
        client.put_object(Bucket=BUCKET, Key=f"labelled/{start:%Y-%m}.parquet", Body=flights.parquet(part))
        rows, start = rows + part.height, end
    return rows


def april(client: Any, frame: pl.DataFrame) -> int:
    """The labels of April arrive, as labels do: late."""
    part = flights.between(frame, TRAIN_UNTIL, REPLAY_FROM)
    client.put_object(Bucket=BUCKET, Key="labelled/2013-04.parquet", Body=flights.parquet(part))
    return part.height


def replay_rows(client: Any, frame: pl.DataFrame) -> int:
    """The flights that will be replayed."""
    part = flights.between(frame, REPLAY_FROM, REPLAY_UNTIL)
    client.put_object(Bucket=BUCKET, Key="replay/flights.parquet", Body=flights.parquet(part))
    return part.height


def replay_pod(kube: Kube, pace: dict[str, str], namespace: str = NAMESPACE, model: str = MODEL, bucket: str = BUCKET) -> None:
    """Start the pod that replays flights, `replay/flights.parquet` of the bucket, through the Service of a Model."""
    script = (Path(__file__).parent / "replay.py").read_text(encoding="utf-8")
    environment = {
        "MODEL_HOST": f"{model}.{namespace}.svc",
        "MODEL_NAME": model,
        "BUCKET": bucket,
        "S3_ENDPOINT": "http://s3.storage.svc:7070",
        "POLARS_MAX_THREADS": "1",
        **pace,
    }
    kube.kubectl("-n", namespace, "delete", "pod/replay", "configmap/replay", "--ignore-not-found", "--wait=true")
    objects = [_script(script, namespace), _pod(environment, namespace)]
    kube.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(objects))
    kube.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/replay", "--timeout=120s")


def replay_line(kube: Kube, namespace: str = NAMESPACE) -> dict[str, Any]:
    """What the replay last said of itself; empty before its first line."""
    text = kube.kubectl("-n", namespace, "logs", "pod/replay", "--tail=1", check=False).strip()
    try:
        line: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
    except ValueError:  # read while it was written
        return {}
    return line


def _script(text: str, namespace: str) -> dict[str, Any]:
    meta = {"name": "replay", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"replay.py": text}}


def _pod(environment: dict[str, str], namespace: str) -> dict[str, Any]:
    secret = [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": "s3-credentials", "key": key}}}
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
    container = {
        "name": "replay",
        "image": image_name("workloads"),
        "imagePullPolicy": os.environ.get("IMAGE_PULL_POLICY", "IfNotPresent"),
        "command": ["python3", "/scripts/replay.py"],
        "env": [{"name": key, "value": value} for key, value in environment.items()] + secret,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts", "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "replay", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "scripts", "configMap": {"name": "replay"}}, {"name": "tmp", "emptyDir": {}}],
        },
    }
