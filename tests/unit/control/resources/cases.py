"""Golden cases of the builders: a YAML file says what goes in, one of the same name what comes out."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import yaml

from stationkeeper.api.jobs import (
    CheckConfig,
    FetchConfig,
    ImportConfig,
    JobConfig,
    LookConfig,
    RecordConfig,
    RestoreConfig,
    RevisionIdentity,
    ServeConfig,
    ShadowConfig,
    SweepConfig,
    TrainConfig,
)
from stationkeeper.api.meta import ANNOTATION_TEMPLATE, ENV_CONFIG
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.serving import Autoscaling
from stationkeeper.api.training import Watch
from stationkeeper.control.resources.availability import autoscaler, disruption_budget
from stationkeeper.control.resources.check import check_cronjob
from stationkeeper.control.resources.common import Image, Object, Owner
from stationkeeper.control.resources.deployment import serving_deployment
from stationkeeper.control.resources.record import record_job
from stationkeeper.control.resources.restore import restore_job
from stationkeeper.control.resources.revision import model_revision
from stationkeeper.control.resources.route import http_route
from stationkeeper.control.resources.service import model_service, revision_service
from stationkeeper.control.resources.shadow import shadow_job
from stationkeeper.control.resources.source import import_job, look_cronjob
from stationkeeper.control.resources.sweep import sweep_job
from stationkeeper.control.resources.training import training_job
from stationkeeper.control.resources.watch import watch_config, watch_cronjob

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in (GOLDEN / "input").glob("*.yaml"))
UID = "9f6f2c1e-0000-4000-8000-000000000001"
IMAGE = Image("stationkeeper/workloads:1.2.3", "IfNotPresent")
CONFIGURATION = "<the configuration>"  # what is in it is the API's matter, and read back by a test of its own


def read(case: str) -> Object:
    given: Object = yaml.safe_load((GOLDEN / "input" / f"{case}.yaml").read_text(encoding="utf-8"))
    return given


def owner(given: Object) -> Owner:
    return Owner("ops", given["model"], UID, ModelSpec.model_validate(given["spec"]))


def _known(of: Owner, given: Object) -> Object:
    return {"model": of.identity, "storage": of.spec.storage, **given}


def _watched(of: Owner) -> Watch:
    watch = of.spec.trained.watch
    assert watch is not None
    return watch


CONFIGURATIONS: dict[str, Callable[[Owner, Object], JobConfig]] = {
    "deployment": lambda of, given: ServeConfig.model_validate({"capture": of.spec.serving.capture, **_known(of, given)}),
    "server": lambda of, given: FetchConfig.model_validate(_known(of, given)),
    "training": lambda of, given: TrainConfig.model_validate({"training": of.spec.training, **_known(of, given)}),
    "check": lambda of, given: CheckConfig.model_validate(_known(of, given)),
    "shadow": lambda of, given: ShadowConfig.model_validate(
        {"shadow": of.spec.serving.rollout.shadow, "analysis": of.spec.serving.rollout.analysis, **_known(of, given)}
    ),
    "restore": lambda of, given: RestoreConfig.model_validate(_known(of, given)),
    "watch": lambda of, _: watch_config(of, _watched(of)),
    "record": lambda of, given: RecordConfig.model_validate(_known(of, given)),
    "sweep": lambda of, given: SweepConfig.model_validate({"retention": of.spec.retention, **_known(of, given)}),
    "import": lambda of, given: ImportConfig.model_validate({"source": of.spec.source, **_known(of, given)}),
    "look": lambda of, given: LookConfig.model_validate({"source": of.spec.source, **_known(of, given)}),
}


def _deployment(of: Owner, given: Object) -> Object:
    return serving_deployment(of, RevisionIdentity.model_validate(given["revision"]), given["replicas"], IMAGE)


def _training(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["training"](of, given)
    assert isinstance(config, TrainConfig)
    return training_job(of, config, IMAGE)


def _check(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["check"](of, given)
    assert isinstance(config, CheckConfig)
    return check_cronjob(of, config, IMAGE)


def _shadow(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["shadow"](of, given)
    assert isinstance(config, ShadowConfig)
    return shadow_job(of, config, "0123456789", IMAGE)


def _route(of: Owner, given: Object) -> Object:
    wanted = of.spec.serving.route
    assert wanted is not None
    return http_route(of, wanted, [(RevisionIdentity.model_validate(r), weight) for r, weight in given["shares"]])


def _record(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["record"](of, given)
    assert isinstance(config, RecordConfig)
    return record_job(of, config, IMAGE)


def _sweep(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["sweep"](of, given)
    assert isinstance(config, SweepConfig)
    return sweep_job(of, config, datetime(2026, 1, 5, 13, tzinfo=UTC), IMAGE)


def _restore(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["restore"](of, given)
    assert isinstance(config, RestoreConfig)
    return restore_job(of, config, IMAGE)


def _watch(of: Owner, _: Object) -> Object:
    return watch_cronjob(of, _watched(of), IMAGE)


def _import(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["import"](of, given)
    assert isinstance(config, ImportConfig)
    return import_job(of, config, IMAGE)


def _look(of: Owner, given: Object) -> Object:
    config = CONFIGURATIONS["look"](of, given)
    assert isinstance(config, LookConfig)
    return look_cronjob(of, config, IMAGE)


BUILDERS: dict[str, Callable[[Owner, Object], Object]] = {
    "revision": lambda of, given: model_revision(of, ModelRevisionSpec.model_validate(given)),
    "service": lambda of, given: model_service(of, **given),
    "revision-service": lambda of, given: revision_service(of, RevisionIdentity.model_validate(given["revision"])),
    "route": _route,
    "shadow": _shadow,
    "autoscaler": lambda of, given: autoscaler(of, given["deployment"], Autoscaling.model_validate(given["wanted"])),
    "budget": lambda of, given: disruption_budget(of, **given),
    "deployment": _deployment,
    "server": _deployment,
    "training": _training,
    "check": _check,
    "record": _record,
    "sweep": _sweep,
    "watch": _watch,
    "restore": _restore,
    "import": _import,
    "look": _look,
}


def build(case: str) -> Object:
    given = read(case)
    return BUILDERS[given["builder"]](owner(given), given["arguments"])


def configuration(case: str) -> JobConfig:
    """What the workload of this case must be told."""
    given = read(case)
    return CONFIGURATIONS[given["builder"]](owner(given), given["arguments"])


def pod_template(built: Object) -> Object:
    """The pod template of a Deployment, Job or CronJob; empty for what has no pods."""
    spec = built["spec"]
    template: Object = (spec["jobTemplate"]["spec"] if built["kind"] == "CronJob" else spec).get("template", {})
    return template


def containers(built: Object) -> Iterator[Object]:
    pod = pod_template(built).get("spec", {})
    yield from (*pod.get("initContainers", ()), *pod.get("containers", ()))


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def render(built: Object) -> str:
    shown: Object = json.loads(json.dumps(built))
    annotations = shown["metadata"].get("annotations") or {}
    if text := annotations.get(ANNOTATION_TEMPLATE):
        assert json.loads(text) == built["spec"]["template"]
        annotations[ANNOTATION_TEMPLATE] = "<the pod template>"
    for container in containers(shown):
        for variable in container["env"]:
            if variable["name"] == ENV_CONFIG:
                variable["value"] = CONFIGURATION
    return yaml.dump(shown, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
