"""What all children share: metadata, owner, restricted security, the environment of a workload."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stationkeeper.api.base import canonical_json, parse_duration
from stationkeeper.api.jobs import JobConfig, ModelIdentity
from stationkeeper.api.meta import (
    API_VERSION,
    ENV_ACCESS_KEY,
    ENV_CONFIG,
    ENV_SECRET_KEY,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_MODEL,
    MANAGED_BY,
)
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.resources import Resources
from stationkeeper.api.storage import Storage

Object = dict[str, Any]

USER_ID = 65532  # "nonroot" of the images
_MAX_SECONDS = 2**31 - 1  # 68 years; what a Deployment's deadline can hold, and a Job's can count in nanoseconds


@dataclass(frozen=True)
class Owner:
    """The Model that children belong to."""

    namespace: str
    name: str
    uid: str
    spec: ModelSpec

    @property
    def identity(self) -> ModelIdentity:
        """The Model as jobs know it."""
        return ModelIdentity(namespace=self.namespace, name=self.name, uid=self.uid)

    def reference(self) -> Object:
        """The controlling owner reference; deletion of the Model then collects the child."""
        return {"apiVersion": API_VERSION, "kind": "Model", "name": self.name, "uid": self.uid, "controller": True}


@dataclass(frozen=True)
class Image:
    """The workloads' image and how it is pulled."""

    name: str
    pull_policy: str


def labels(owner: Owner, component: str | None = None, **more: str) -> dict[str, str]:
    """Labels of a child. `more` takes full label keys, by `**{key: value}`."""
    base = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_MODEL: owner.name}
    if component:
        base[LABEL_COMPONENT] = component
    return base | more


def metadata(owner: Owner, name: str, child_labels: Mapping[str, str]) -> Object:
    """Metadata of a child of the Model."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": dict(child_labels),
        "ownerReferences": [owner.reference()],
    }


def whole_seconds(duration: str) -> int:
    """A duration of the API as a deadline in whole seconds: at least one, and no more than the API server takes."""
    return min(max(1, math.ceil(parse_duration(duration).total_seconds())), _MAX_SECONDS)


def environment(config: JobConfig, storage: Storage | None) -> list[Object]:
    """Configuration as one JSON variable, and the two keys of the secret by reference: the operator never sees them."""
    # The kubelet reads `$(NAME)` and `$$` in a value as its own; as an escape of JSON the sign passes through it.
    text = canonical_json(config.wire()).decode().replace("$", r"\u0024")
    variables: list[Object] = [{"name": ENV_CONFIG, "value": text}]
    if storage and storage.secret_name:
        for key in (ENV_ACCESS_KEY, ENV_SECRET_KEY):
            variables.append({"name": key, "valueFrom": {"secretKeyRef": {"name": storage.secret_name, "key": key}}})
    return variables


def container(
    name: str,
    image: Image,
    command: Sequence[str],
    env: Sequence[Object],
    resources: Resources,
    mounts: Mapping[str, str | tuple[str, bool]],
) -> Object:
    """A container under the restricted Pod Security standard.

    Args:
        name: name of the container.
        image: image and pull policy.
        command: program and arguments.
        env: environment, as in the API.
        resources: requests and limits.
        mounts: volume name to path, or to path and whether it is read-only.
    """
    return {
        "name": name,
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "command": list(command),
        "env": list(env),
        "resources": resources.wire(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [_mount(volume, where) for volume, where in mounts.items()],
    }


def _mount(volume: str, where: str | tuple[str, bool]) -> Object:
    path, read_only = where if isinstance(where, tuple) else (where, False)
    return {"name": volume, "mountPath": path} | ({"readOnly": True} if read_only else {})


def probe(path: str, period: int, failures: int) -> Object:
    """A look at a path of the port `http`, every `period` seconds."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def pod_spec(containers: Sequence[Object], volumes: Sequence[str], **more: Any) -> Object:
    """A pod that is non-root, has no API token, and writes only to its own empty directories."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": [{"name": name, "emptyDir": {}} for name in volumes],
    } | more
