"""The pod of a server that is the team's own choice: our image fetches and verifies the model, theirs serves it."""

from collections.abc import Sequence

from stationkeeper.api.jobs import FetchConfig, RevisionIdentity
from stationkeeper.api.meta import (
    CONTAINER_FETCH,
    CONTAINER_SERVE,
    ENV_DIGEST,
    ENV_MODEL,
    ENV_REVISION,
    PATH_MODEL,
)
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.api.serving import ServingContainer
from stationkeeper.control.resources.common import Image, Object, Owner, container, environment, pod_spec, probe

FETCH_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="128Mi"))
DRAIN_SECONDS = 10  # a pod that is told to stop still answers for this long; a server that is not ours knows nothing of it
GRACE_SECONDS = 40
_READY, _LIVE = "/v2/health/ready", "/v2/health/live"


def foreign_pod(
    owner: Owner, theirs: ServingContainer, revision: RevisionIdentity, image: Image, spread: Sequence[Object]
) -> Object:
    """The pod that serves `revision` by a container of the team's own. Only who fetches has credentials, and it has gone by then."""
    config = FetchConfig(model=owner.identity, storage=owner.spec.storage, revision=revision)
    fetch = container(
        CONTAINER_FETCH,
        image,
        ["python3", "-m", "stationkeeper.workloads.jobs.fetch"],
        environment(config, owner.spec.storage),
        FETCH_RESOURCES,
        {"model": PATH_MODEL, "home": "/tmp"},  # noqa: S108  an emptyDir of the pod's own
    )
    pull = {"imagePullSecrets": [{"name": name} for name in theirs.pull_secrets]} if theirs.pull_secrets else {}
    return pod_spec(
        [_serve(owner, theirs, revision)],
        ["model", "home", "tmp"],
        initContainers=[fetch],
        terminationGracePeriodSeconds=GRACE_SECONDS,
        topologySpreadConstraints=list(spread),
        **pull,
    )


def _serve(owner: Owner, theirs: ServingContainer, revision: RevisionIdentity) -> Object:
    given = {ENV_MODEL: PATH_MODEL, ENV_REVISION: str(revision.number), ENV_DIGEST: revision.digest}
    env: list[Object] = [{"name": name, "value": value} for name, value in given.items()]
    # The kubelet reads `$(NAME)` as a variable; here it is what the team wrote.
    env += [{"name": variable.name, "value": variable.value.replace("$", "$$")} for variable in theirs.env]
    serve = container(
        CONTAINER_SERVE,
        Image(theirs.image, "IfNotPresent"),
        theirs.command,
        env,
        owner.spec.serving.resources,
        {"model": (PATH_MODEL, True), "tmp": "/tmp"},  # noqa: S108  an emptyDir of the pod's own
    )
    serve["args"] = list(theirs.args)
    ready = theirs.ready_path or _READY
    serve["ports"] = [{"name": "http", "containerPort": theirs.port, "protocol": "TCP"}]
    # How long it may take is said by progressDeadline; to kill what is still loading helps nobody.
    serve["startupProbe"] = probe(ready, period=2, failures=1800)
    serve["readinessProbe"] = probe(ready, period=2, failures=3)
    if theirs.protocol == "OpenInference":
        serve["livenessProbe"] = probe(_LIVE, period=10, failures=6)
    serve["lifecycle"] = {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}}
    return {name: value for name, value in serve.items() if value or name not in ("command", "args")}
