"""Names that both planes and the cluster agree on: API group, labels, containers, ports, exit codes."""

from typing import Final

GROUP: Final = "stationkeeper.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FIELD_MANAGER: Final = "stationkeeper"
FIELD_MANAGER_REPLICAS: Final = "stationkeeper-replicas"  # of the number of pods alone: an autoscaler may own it instead

# Labels on every child. Values are names or numbers, never free text.
LABEL_MODEL: Final = f"{GROUP}/model"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_COMPONENT: Final = f"{GROUP}/component"
LABEL_POLICY: Final = f"{GROUP}/policy"
LABEL_EPISODE: Final = f"{GROUP}/episode"
LABEL_SHADOW: Final = f"{GROUP}/shadow"  # which two revisions a comparison is of
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "stationkeeper"

# A person asks for a training by setting this to a value not seen before (a time, a token); status remembers it.
ANNOTATION_RETRAIN: Final = f"{GROUP}/retrain"
# These name a revision by its digest, so that answering them twice changes nothing.
ANNOTATION_APPROVE: Final = f"{GROUP}/approve"  # this candidate may take all requests
ANNOTATION_REJECT: Final = f"{GROUP}/reject"  # this candidate may not
ANNOTATION_ROLLBACK: Final = f"{GROUP}/rollback"  # this revision, which serves, must not any more
# Who set one of those, and for which revision, as `<name> <digest>`: for the record, believed no more than any annotation.
ANNOTATION_BY: Final = f"{GROUP}/by"
# What is quarantined up to this revision, named by its digest, may be trained again from the same code and data.
ANNOTATION_RESUME: Final = f"{GROUP}/resume"
ANNOTATION_PAUSE: Final = f"{GROUP}/pause"  # any value: a rollout stays where it is

# What a Deployment's pods were first built from, and as: an upgrade of the operator builds them the same again, and restarts nothing.
ANNOTATION_INPUTS: Final = f"{GROUP}/inputs"
ANNOTATION_TEMPLATE: Final = f"{GROUP}/template"

COMPONENT_SERVING: Final = "serving"
COMPONENT_TRAINING: Final = "training"
COMPONENT_CHECK: Final = "drift-check"
COMPONENT_WORKLOAD: Final = "training-workload"  # what trains across machines
COMPONENT_SHADOW: Final = "shadow"
COMPONENT_RECORD: Final = "record"
COMPONENT_SWEEP: Final = "sweep"
COMPONENT_RESTORE: Final = "restore"
COMPONENT_WATCH: Final = "watch"
COMPONENT_LOOK: Final = "source-look"

# Containers whose termination message the operator reads. Nothing else in a pod is believed.
CONTAINER_FETCH: Final = "fetch-model"  # beside a server of the team's own
CONTAINER_SERVE: Final = "serve"
CONTAINER_PREPARE: Final = "prepare"
CONTAINER_TRAIN: Final = "train"
CONTAINER_PUBLISH: Final = "evaluate-and-publish"
CONTAINER_CHECK: Final = "check-drift"
CONTAINER_SHADOW: Final = "shadow"
CONTAINER_RECORD: Final = "record"
CONTAINER_SWEEP: Final = "sweep"
CONTAINER_RESTORE: Final = "restore"
CONTAINER_WATCH: Final = "watch"
CONTAINER_LOOK: Final = "look-at-source"
TRAINING_CONTAINERS: Final = (CONTAINER_PREPARE, CONTAINER_TRAIN, CONTAINER_PUBLISH)
STEP_COLLECT: Final = "collect"  # what `train` does where other machines train
SERVING_CONTAINERS: Final = (CONTAINER_FETCH, CONTAINER_SERVE)
# Whose word on the outcome counts: `train` may be a team's own.
REPORTING_CONTAINERS: Final = (CONTAINER_PREPARE, CONTAINER_PUBLISH)

# Every workload reads its whole configuration, one of `api.jobs`, as JSON from this variable.
ENV_CONFIG: Final = "STATIONKEEPER_CONFIG"
ENV_ACCESS_KEY: Final = "AWS_ACCESS_KEY_ID"
ENV_SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  the name of a variable

# What a team's own training container is told; names that begin so are ours.
ENV_DATA: Final = "STATIONKEEPER_DATA"
ENV_MODEL: Final = "STATIONKEEPER_MODEL"
ENV_EPISODE: Final = "STATIONKEEPER_EPISODE"
ENV_ATTEMPT: Final = "STATIONKEEPER_ATTEMPT"

# What a team's own server is told.
ENV_REVISION: Final = "STATIONKEEPER_REVISION"
ENV_DIGEST: Final = "STATIONKEEPER_DIGEST"

# Paths inside model pods .
PATH_DATA: Final = "/mnt/data"
PATH_MODEL: Final = "/mnt/model"
PATH_WORK: Final = "/mnt/work"
PATH_PULL_SECRET: Final = "/etc/stationkeeper/registry"  # noqa: S105  where the pod that looks at an image has it
FILE_PULL_SECRET: Final = "config.json"  # noqa: S105  its one file there
TERMINATION_LOG: Final = "/dev/termination-log"
TERMINATION_LIMIT: Final = 4096  # bytes; the kubelet cuts what is longer

# A request that repeats one of the stable revision's, for a comparison: it is answered and not captured. Its value is the Model's UID.
HEADER_REPLAY: Final = "x-stationkeeper-replay"

# Serving pods count what they answer by class: so many classes one by one, the rest together.
COUNTED_CLASSES: Final = 32
OTHER_CLASSES: Final = "other"

PORT_HTTP: Final = 8080  # Open Inference Protocol and metrics of serving pods
PORT_SERVICE: Final = 80

# Exit codes of workloads, told apart by podFailurePolicy: only EXIT_TRANSIENT is worth another pod.
EXIT_OK: Final = 0  # also a refused challenger: a refused gate is a successful run
EXIT_TRANSIENT: Final = 1  # the store did not answer, say
EXIT_INVALID: Final = 3  # configuration, data or artifact is wrong: the same again would fail again
