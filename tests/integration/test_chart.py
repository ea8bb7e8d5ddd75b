"""The Helm chart: it renders in every variant, the API server takes it, and the rights that it gives are enough and no more."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster.control_plane import ControlPlane
from hack.cluster.paths import REPOSITORY
from hack.cluster.tools import tool
from stationkeeper.control.controllers.prometheus import read_prometheus
from stationkeeper.control.controllers.settings import parse
from stationkeeper.control.controllers.workloads import read_templates
from stationkeeper.control.kube.kinds import OPTIONAL, WATCHED
from tests.integration.conftest import Cluster, Operator
from tests.integration.test_operator import bring_up, job, serving
from tests.support import world
from tests.support.templates import documented
from tests.unit.control.resources import cases

pytestmark = pytest.mark.integration
Object = dict[str, Any]
CHART = REPOSITORY / "charts" / "stationkeeper"
HOME = "stationkeeper-system"  # the namespace of the release
OPERATOR = f"system:serviceaccount:{HOME}:stationkeeper"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}


class Helm:
    """helm, with a home of its own."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster, self._directory, self._helm = cluster, directory, str(tool("helm"))

    def run(self, *arguments: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
        command = [self._helm, *arguments, f"--kubeconfig={self._cluster.kubeconfig}"]
        if values is not None:
            file = self._directory / "values.yaml"
            file.write_text(yaml.safe_dump(values))
            command.append(f"--values={file}")
        homes = {f"HELM_{name}_HOME": str(self._directory / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(command, env=os.environ | homes, capture_output=True, text=True, timeout=120, check=False)

    def __call__(self, *arguments: str, values: Object | None = None) -> str:
        done = self.run(*arguments, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def template(self, values: Object, *flags: str) -> list[Object]:
        text = self("template", "stationkeeper", str(CHART), f"--namespace={HOME}", *flags, values=values)
        return [found for found in yaml.safe_load_all(text) if found]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of this file's own: what the chart installs holds for a whole cluster."""
    with ControlPlane.start(tmp_path_factory.mktemp("chart")) as plane:
        found = Cluster(plane.kubeconfig)
        for name in (HOME, "ops", "elsewhere", "team-a", "team-b"):
            found("create", "-f", "-", body=named("v1", "Namespace", name, labels=RESTRICTED))
        yield found


@pytest.fixture(scope="module")
def helm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(cluster, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def release(cluster: Cluster, helm: Helm) -> None:
    """The chart, installed as it comes; the rules of admission are in force."""
    helm("install", "stationkeeper", str(CHART), f"--namespace={HOME}")
    cluster("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    cluster.wait("the rules of admission", lambda: "only the operator" in create(cluster, revision(), None).stderr)


def named(api_version: str, kind: str, name: str, namespace: str | None = None, **more: Any) -> Object:
    labels = more.pop("labels", None)
    meta = {"name": name} | ({"namespace": namespace} if namespace else {}) | ({"labels": labels} if labels else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **more}


def create(cluster: Cluster, obj: Object, user: str | None) -> subprocess.CompletedProcess[str]:
    """Try it, as that user or as the cluster's administrator."""
    who = [f"--as={user}", "--validate=false"] if user else []  # kubectl itself would have to read CRDs to validate
    return cluster.run("create", "--dry-run=server", "-f", "-", *who, body=obj)


def refused(done: subprocess.CompletedProcess[str], why: str) -> None:
    assert done.returncode != 0
    assert why in done.stderr


def taken(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


# -- what the chart renders --------------------------------------------------------------------------------------------

VARIANTS: dict[str, Object] = {
    "as it comes": {},
    "named namespaces": {"watchNamespaces": ["team-a", "team-b"]},
    "two replicas": {"replicaCount": 2, "podDisruptionBudget": True},
    "without an election": {"leaderElection": False},
    "pull secrets": {"imagePullSecrets": [{"name": "registry"}]},
    "own images": {
        "image": {
            "operator": {"repository": "registry.example.com:5000/ml/operator", "tag": "2026.1", "pullPolicy": "Always"},
            "workloads": {"repository": "registry.example.com:5000/ml/workloads", "tag": "2026.2", "pullPolicy": "Never"},
        }
    },
    "resources": {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}},
    "own service account": {"serviceAccount": {"name": "keeper", "annotations": {"example.com/role": "keeper"}}},
    "placed": {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "podAnnotations": {"example.com/scrape": "true"},
    },
    "receivers": {"receivers": {"existingSecret": "receivers", "key": "who.yaml"}},
    "big numbers": {"workers": 1_000, "apiServer": {"qps": 1_000_000, "burst": 1_000_000}},
    "nothing for the cluster": {"aggregateRoles": False, "admissionPolicy": False},
    "workloads": {"workloadTemplates": list(documented().values()), "podAnnotations": {"example.com/scrape": "true"}},
    "monitored": {"serviceMonitor": True},
    "queries": {
        "prometheus": {
            "url": "http://prometheus-server.monitoring:80",
            "queries": {
                "late": {"query": 'label_replace(rate(x{pod=~"${model}-r${candidate}-.+"}[${seconds}s]), "a", "$1", "b", "(.+)")'}
            },
        }
    },
}


def one(objects: list[Object], kind: str, name: str = "stationkeeper") -> Object:
    (found,) = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_passes_helms_own_lint(helm, variant):
    helm("lint", "--strict", str(CHART), values=VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_takes_every_object_of_a_variant(cluster, helm, variant):
    for obj in helm.template(VARIANTS[variant]):
        if obj["kind"] != "ServiceMonitor":  # the Prometheus operator's, which is not here
            taken(cluster.run("apply", "--dry-run=server", "--validate=strict", "-f", "-", body=obj))


FILES = ("--receivers=", "--workload-templates=", "--prometheus=")  # flags that name a file in the pod


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_operator_understands_the_flags_of_a_variant(helm, variant, monkeypatch):
    values = VARIANTS[variant]
    (container,) = one(helm.template(values), "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = parse([flag for flag in container["args"] if not flag.startswith(FILES)])
    assert settings.namespaces == tuple(values.get("watchNamespaces", ()))
    assert settings.leader_election is values.get("leaderElection", True)
    assert settings.workers == values.get("workers", 16)
    assert settings.burst == values.get("apiServer", {}).get("burst", 800)


def test_named_namespaces_give_no_right_outside_them(helm):
    objects = helm.template(VARIANTS["named namespaces"])
    granted = {obj["metadata"]["namespace"] for obj in objects if obj["kind"] == "RoleBinding"}
    assert granted == {HOME, "team-a", "team-b"}
    assert [obj["metadata"]["name"] for obj in objects if obj["kind"] == "ClusterRoleBinding"] == []


def test_pull_secrets_images_and_receivers_reach_the_pod(helm):
    def pod(variant: str) -> Object:
        found: Object = one(helm.template(VARIANTS[variant]), "Deployment")["spec"]["template"]["spec"]
        return found

    assert pod("pull secrets")["imagePullSecrets"] == [{"name": "registry"}]
    (container,) = pod("own images")["containers"]
    assert container["image"] == "registry.example.com:5000/ml/operator:2026.1"
    assert container["imagePullPolicy"] == "Always"
    assert {"--workloads-image=registry.example.com:5000/ml/workloads:2026.2", "--image-pull-policy=Never"} <= set(
        container["args"]
    )
    told = pod("receivers")
    (mount,) = [mount for mount in told["containers"][0]["volumeMounts"] if mount["name"] == "receivers"]
    assert f"--receivers={mount['mountPath']}/who.yaml" in told["containers"][0]["args"]
    assert [v["secret"]["secretName"] for v in told["volumes"] if v["name"] == "receivers"] == ["receivers"]
    assert pod("own service account")["serviceAccountName"] == "keeper"


def test_templates_of_workloads_reach_the_operator_with_the_rights_to_create_them_and_no_others(helm, tmp_path):
    objects = helm.template(VARIANTS["workloads"])
    spec = one(objects, "Deployment")["spec"]["template"]["spec"]
    (mount,) = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "workloads"]
    assert f"--workload-templates={mount['mountPath']}/templates.yaml" in spec["containers"][0]["args"]
    file = tmp_path / "templates.yaml"
    file.write_text(one(objects, "ConfigMap", "stationkeeper-workloads")["data"]["templates.yaml"])
    assert read_templates(str(file)).keys() == {"torch", "kubeflow", "ray"}

    def rules(variant: str) -> list[Object]:
        found: list[Object] = one(helm.template(VARIANTS[variant]), "ClusterRole")["rules"]
        return found

    more = [rule for rule in rules("workloads") if rule not in rules("as it comes")]
    assert [(rule["apiGroups"], rule["resources"]) for rule in more] == [
        (["batch"], ["jobs"]),
        (["trainer.kubeflow.org"], ["trainjobs"]),
        (["ray.io"], ["rayjobs"]),
    ]
    assert all(rule["verbs"] == ["get", "create", "patch"] for rule in more)


def test_queries_of_prometheus_reach_the_operator_letter_by_letter(helm, tmp_path):
    objects = helm.template(VARIANTS["queries"])
    template = one(objects, "Deployment")["spec"]["template"]
    (mount,) = [mount for mount in template["spec"]["containers"][0]["volumeMounts"] if mount["name"] == "prometheus"]
    assert f"--prometheus={mount['mountPath']}/prometheus.yaml" in template["spec"]["containers"][0]["args"]
    assert "checksum/prometheus" in template["metadata"]["annotations"]
    file = tmp_path / "prometheus.yaml"
    file.write_text(one(objects, "ConfigMap", "stationkeeper-prometheus")["data"]["prometheus.yaml"])
    assert read_prometheus(str(file)).wire() == {
        "url": "http://prometheus-server.monitoring:80",
        "queries": {"late": {"query": VARIANTS["queries"]["prometheus"]["queries"]["late"]["query"], "description": ""}},
    }


def test_what_monitors_the_operator_finds_it(helm):
    objects = helm.template(VARIANTS["monitored"])
    service, monitor = one(objects, "Service", "stationkeeper-metrics"), one(objects, "ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    template = one(objects, "Deployment")["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = template["spec"]["containers"][0]["ports"]
    assert (port["name"], port["containerPort"]) == (service["spec"]["ports"][0]["targetPort"], 8081)


def test_the_crds_come_with_the_chart_and_are_no_templates_that_an_upgrade_could_remove(helm):
    assert {obj["kind"] for obj in helm.template({})} & {"CustomResourceDefinition"} == set()
    with_crds = helm.template({}, "--include-crds")
    assert sum(obj["kind"] == "CustomResourceDefinition" for obj in with_crds) == 3


BAD_VALUES: list[tuple[Object, str]] = [
    ({"replicaCount": -1}, "replicaCount"),
    ({"watchNamespaces": "team-a"}, "watchNamespaces"),
    ({"replicas": 2}, "replicas"),
    ({"drain": "soon"}, "drain"),
    ({"log": {"level": "loud"}}, "level"),
    ({"image": {"operator": {"repository": ""}}}, "repository"),
    ({"image": {"operator": {"pullPolicy": "Sometimes"}}}, "pullPolicy"),
    ({"apiServer": {"qps": 0}}, "qps"),
    ({"prometheus": {"url": "prometheus:9090"}}, "url"),
    ({"prometheus": {"query": "up"}}, "query"),
    ({"prometheus": {"queries": {"late": {"description": "no query"}}}}, "query"),
]


@pytest.mark.parametrize(("values", "field"), BAD_VALUES, ids=[json.dumps(values) for values, _ in BAD_VALUES])
def test_a_bad_value_is_refused_by_name(helm, values, field):
    refused(helm.run("template", "stationkeeper", str(CHART), values=values), field)


# -- pods --------------------------------------------------------------------------------------------------------------


VIOLATION = 'violates PodSecurity "restricted'


def pod_of(template: Object, namespace: str) -> Object:
    return named("v1", "Pod", "of-a-template", namespace, labels=template["metadata"].get("labels"), spec=template["spec"])


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "own service account"])
def test_the_operators_pod_keeps_to_the_restricted_standard(cluster, helm, release, variant):
    template = one(helm.template(VARIANTS[variant]), "Deployment")["spec"]["template"]
    taken(create(cluster, pod_of(template, HOME), None))


def test_the_standard_is_really_enforced(cluster, helm, release):
    template = one(helm.template({}), "Deployment")["spec"]["template"]
    del template["spec"]["containers"][0]["securityContext"]["capabilities"]
    refused(create(cluster, pod_of(template, HOME), None), VIOLATION)


def test_the_deployment_gets_its_pod(cluster, release):
    pods = cluster.wait("the pod of the operator", lambda: cluster.list("pods", HOME))
    assert pods[0]["spec"]["serviceAccountName"] == "stationkeeper"


# This cluster has no Gateway API; `tests/e2e/test_gateway.py` has.
BUILT_IN = [case for case in cases.CASES if cases.read(case)["builder"] != "route"]


@pytest.mark.parametrize("case", BUILT_IN)
def test_the_api_server_takes_from_the_operator_what_its_builders_make(cluster, release, case):
    taken(create(cluster, cases.build(case), OPERATOR))


# -- rights ------------------------------------------------------------------------------------------------------------

OURS = [f"{kind.plural}.{kind.api_version.partition('/')[0]}" if "/" in kind.api_version else kind.plural for kind in WATCHED]
CHILDREN = [
    "modelrevisions.stationkeeper.dev",
    "deployments.apps",
    "cronjobs.batch",
    "jobs.batch",
    "horizontalpodautoscalers.autoscaling",
    "poddisruptionbudgets.policy",
]
MAY = [
    *((verb, resource, "ops") for resource in OURS for verb in ("get", "list", "watch")),
    *((verb, resource, "ops") for resource in CHILDREN for verb in ("create", "patch", "delete")),
    *((verb, "services", "ops") for verb in ("create", "patch", "delete")),
    ("patch", "models.stationkeeper.dev/status", "ops"),
    ("patch", "driftpolicies.stationkeeper.dev/status", "ops"),
    ("create", "events.events.k8s.io", "ops"),
    ("create", "leases.coordination.k8s.io", HOME),
    ("update", "leases.coordination.k8s.io/stationkeeper-operator", HOME),
]
MAY_NOT = [
    *((verb, "secrets", where) for verb in ("get", "list", "watch", "create") for where in ("ops", HOME)),
    ("get", "secrets/s3-credentials", "ops"),
    ("create", "pods/exec", "ops"),
    ("get", "pods/exec", "ops"),
    ("create", "pods/attach", "ops"),
    ("create", "pods/portforward", "ops"),
    ("create", "pods/ephemeralcontainers", "ops"),
    ("get", "pods/log", "ops"),
    ("create", "pods", "ops"),
    ("delete", "pods", "ops"),
    ("get", "configmaps", "ops"),
    ("create", "serviceaccounts/token", "ops"),
    ("impersonate", "users", "ops"),
    *((verb, "customresourcedefinitions.apiextensions.k8s.io", "ops") for verb in ("get", "list", "create", "patch", "delete")),
    *((verb, "nodes", "ops") for verb in ("get", "list", "patch")),
    ("list", "namespaces", "ops"),
    ("create", "rolebindings.rbac.authorization.k8s.io", "ops"),
    ("escalate", "clusterroles.rbac.authorization.k8s.io", "ops"),
    # Spec is intent, and only people write it.
    *((verb, "models.stationkeeper.dev", "ops") for verb in ("create", "update", "patch", "delete")),
    *((verb, "driftpolicies.stationkeeper.dev", "ops") for verb in ("create", "update", "patch", "delete")),
    ("update", "leases.coordination.k8s.io/somebody-elses", HOME),
    ("create", "leases.coordination.k8s.io", "ops"),
]


def may(cluster: Cluster, verb: str, resource: str, namespace: str, user: str = OPERATOR) -> bool:
    """The API server's word, by kubectl's notation: `resource.group/name`, and for a subresource `resource.group/sub`."""
    what, _, tail = resource.partition("/")
    subresources = {"status", "exec", "attach", "portforward", "ephemeralcontainers", "log", "token"}
    rest = [what, f"--subresource={tail}"] if tail in subresources else [resource]
    done = cluster.run("auth", "can-i", verb, *rest, f"--namespace={namespace}", f"--as={user}")
    answer = done.stdout.strip().splitlines()[-1]
    assert answer in ("yes", "no"), done.stderr
    return answer == "yes"


@pytest.mark.parametrize(("verb", "resource", "namespace"), MAY)
def test_the_operator_may(cluster, release, verb, resource, namespace):
    assert may(cluster, verb, resource, namespace)


@pytest.mark.parametrize(("verb", "resource", "namespace"), MAY_NOT)
def test_the_operator_may_not(cluster, release, verb, resource, namespace):
    assert not may(cluster, verb, resource, namespace)


def rights(cluster: Cluster) -> list[Object]:
    """Everything that the operator may do where models live."""
    api = "authorization.k8s.io/v1"
    review = {"apiVersion": api, "kind": "SelfSubjectRulesReview", "spec": {"namespace": "ops"}}
    text = cluster("create", "-f", "-", "-o", "json", "--validate=false", f"--as={OPERATOR}", body=review)
    rules: list[Object] = json.loads(text)["status"]["resourceRules"]
    return rules


def test_of_the_gateway_api_the_operator_has_routes_and_nothing_else(cluster, release):
    (kind,) = OPTIONAL
    group = kind.api_version.partition("/")[0]
    (rule,) = (rule for rule in rights(cluster) if group in rule["apiGroups"])
    assert rule["resources"] == [kind.plural]
    assert set(rule["verbs"]) == {"get", "list", "watch", "create", "patch", "delete"}


def test_no_right_is_for_everything(cluster, release):
    rules = rights(cluster)
    assert len(rules) > 5
    assert [rule for rule in rules if "*" in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])] == []


def kubeconfig(cluster: Cluster, path: Path) -> Path:
    """Credentials of the operator's service account."""
    config: Object = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster("create", "token", "stationkeeper", f"--namespace={HOME}").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


@pytest.fixture
def as_service_account(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Starts the real operator with the rights that the chart gives, and nothing else."""
    running: list[Operator] = []

    def start(*flags: str) -> Operator:
        election = ["--leader-election", f"--lease-namespace={HOME}"]
        made = Operator(kubeconfig(cluster, tmp_path / "kubeconfig"), tmp_path / "log", *election, "--resync=2s", *flags)
        running.append(made.start())
        return made.wait_ready()

    yield start
    for made in running:
        made.stop()


def was_never_refused(operator: Operator) -> None:
    asked = operator.requests()
    assert asked
    assert [name for name in asked if 'code="403"' in name] == []
    assert "forbidden" not in operator.log.read_text().lower()


def test_the_rights_are_enough_for_the_whole_loop(cluster, release, as_service_account):
    operator = as_service_account()
    cluster.create({**world.policy(), "metadata": {"name": "watch", "namespace": "ops"}})
    bring_up(cluster, "ops")
    cluster.wait("the CronJob", lambda: cluster.list("cronjobs", "ops"))
    cluster.wait("the Job that writes the decision down", lambda: len(cluster.list("jobs", "ops")) == 2)
    for template in templates(cluster, "ops"):
        taken(create(cluster, pod_of(template, "ops"), None))
        del template["spec"]["securityContext"]["runAsNonRoot"]
        refused(create(cluster, pod_of(template, "ops"), None), VIOLATION)
    cluster("-n", "ops", "delete", "driftpolicy", "watch")
    cluster.wait("the CronJob is gone", lambda: not cluster.list("cronjobs", "ops"))
    cluster.wait("an event", lambda: cluster.list("events.events.k8s.io", "ops"))
    assert serving(cluster, "ops") == 1
    was_never_refused(operator)


def templates(cluster: Cluster, namespace: str) -> list[Object]:
    """The pod templates of the Jobs, the check and the Deployment."""
    specs = [obj["spec"] for kind in ("jobs", "deployments") for obj in cluster.list(kind, namespace)]
    specs += [obj["spec"]["jobTemplate"]["spec"] for obj in cluster.list("cronjobs", namespace)]
    found = [spec["template"] for spec in specs]
    components = {template["metadata"]["labels"]["stationkeeper.dev/component"] for template in found}
    assert components == {"training", "serving", "drift-check", "record"}
    return found


# -- admission ---------------------------------------------------------------------------------------------------------

MODELS = {"apiGroups": ["stationkeeper.dev"], "resources": ["models", "models/scale"], "verbs": ["*"]}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}
SECRET = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s3-credentials"], "verbs": ["get"]}
ROUTES = {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"], "verbs": ["create"]}
USERS = {
    "no-pods": [MODELS, SECRET],
    "no-secret": [MODELS, PODS],
    "trusted": [MODELS, PODS, SECRET],
    "routing": [MODELS, PODS, SECRET, ROUTES],
}


@pytest.fixture(scope="module")
def users(cluster: Cluster, release: None) -> None:
    """People with these rights in the namespace `ops`."""
    rbac = "rbac.authorization.k8s.io/v1"
    for user, rules in USERS.items():
        cluster("create", "-f", "-", body=named(rbac, "Role", user, "ops", rules=rules))
        cluster("-n", "ops", "create", "rolebinding", user, f"--role={user}", f"--user={user}")
    for role in ("edit", "view"):
        cluster("-n", "ops", "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")
    cluster.wait("aggregated roles", lambda: may(cluster, "create", "models.stationkeeper.dev", "ops", "edit"))


def model(secret: str | None = "s3-credentials", name: str = "admitted") -> Object:
    made = {**world.model(), "metadata": {"name": name, "namespace": "ops"}}
    del made["spec"]["storage"]["secretName"]
    if secret:
        made["spec"]["storage"]["secretName"] = secret
    return made


def revision() -> Object:
    digest = world.digest("forged")
    spec = {
        "modelName": "flights",
        "number": 99,
        "digest": digest,
        "manifestURI": "s3://models/flights/manifests/x.json",
        "cause": "Manual",
        "episode": "0123456789",
        "attempt": 1,
        "templateDigest": digest,
        "dataDigest": digest,
        "trainedAt": "2026-01-05T12:00:00Z",
    }
    return named("stationkeeper.dev/v1alpha1", "ModelRevision", "forged", "ops", spec=spec)


NO_PODS = "you must be allowed to create pods in this namespace"
NO_SECRET = "receive the secret s3-credentials: you must be allowed to get it"
MODELS_BY_USER = [
    ("trusted", "s3-credentials", ""),
    ("trusted", None, ""),
    ("trusted", "somebody-elses", "receive the secret somebody-elses: you must be allowed to get it"),
    ("no-secret", "s3-credentials", NO_SECRET),
    ("no-secret", None, ""),
    ("no-pods", "s3-credentials", NO_PODS),
    ("no-pods", None, NO_PODS),
    ("edit", "s3-credentials", ""),
    ("view", None, 'cannot create resource "models"'),
    (None, "s3-credentials", ""),
]


@pytest.mark.parametrize(("user", "secret", "why"), MODELS_BY_USER)
def test_a_model_lends_nobody_a_right_that_he_has_not(cluster, users, user, secret, why):
    done = create(cluster, model(secret), user)
    refused(done, why) if why else taken(done)


@pytest.mark.parametrize(("user", "why"), [("trusted", "you must be allowed to create httproutes"), ("routing", "")])
def test_a_route_is_for_whoever_may_make_one(cluster, users, user, why):
    made = model()
    made["spec"]["serving"]["route"] = {"gateway": {"name": "public"}}
    done = create(cluster, made, user)
    refused(done, why) if why else taken(done)


@pytest.mark.parametrize(
    ("user", "secret", "why"),
    [
        ("trusted", "registry", "receive the secret registry: you must be allowed to get it"),
        ("trusted", "s3-credentials", ""),
        ("edit", "registry", ""),
    ],
)
def test_a_pull_secret_is_for_whoever_may_get_it(cluster, users, user, secret, why):
    made = model()
    made["spec"]["training"]["watch"] = {"image": "registry.example.com/ops/trainer:stable", "pullSecretName": secret}
    done = create(cluster, made, user)
    refused(done, why) if why else taken(done)


def test_an_edit_is_asked_about_like_a_new_model_and_what_changes_no_intent_is_not(cluster, users):
    cluster.create(model(name="edited"))

    def patch(user: str, change: Object) -> subprocess.CompletedProcess[str]:
        return cluster.run("-n", "ops", "patch", "model", "edited", f"--as={user}", "--type=merge", "-p", json.dumps(change))

    refused(patch("no-secret", {"spec": {"training": {"timeLimit": "1h"}}}), NO_SECRET)
    refused(patch("trusted", {"spec": {"storage": {"secretName": "somebody-elses"}}}), "somebody-elses")
    taken(patch("no-secret", {"metadata": {"annotations": {"stationkeeper.dev/retrain": "now"}}}))
    taken(patch("trusted", {"spec": {"training": {"timeLimit": "1h"}}}))
    taken(cluster.run("-n", "ops", "scale", "model", "edited", "--replicas=3", "--as=no-secret"))


@pytest.mark.parametrize("user", [None, "trusted", "edit", "view"])
def test_nobody_but_the_operator_writes_a_record(cluster, users, user):
    may_by_role = user is None  # the administrator, whom roles do not stop
    refused(create(cluster, revision(), user), "only the operator writes it" if may_by_role else "cannot create resource")
    taken(create(cluster, revision(), OPERATOR))


def test_everybody_with_the_role_view_sees_our_kinds(cluster, users):
    for plural in ("models", "driftpolicies", "modelrevisions"):
        assert may(cluster, "list", f"{plural}.stationkeeper.dev", "ops", "view")
        assert not may(cluster, "delete", f"{plural}.stationkeeper.dev", "ops", "view")


# -- a life of its own: upgrade, uninstall -----------------------------------------------------------------------------


def test_in_named_namespaces_the_operator_works_there_and_has_no_right_elsewhere(cluster, helm, release, as_service_account):
    helm("upgrade", "stationkeeper", str(CHART), f"--namespace={HOME}", values=VARIANTS["named namespaces"])
    cluster.wait("no right elsewhere", lambda: not may(cluster, "list", "models.stationkeeper.dev", "elsewhere"))
    operator = as_service_account("--namespace=team-a,team-b")
    cluster.create({**world.model(), "metadata": {"name": "flights", "namespace": "team-b"}})
    assert job(cluster, "team-b")
    assert not may(cluster, "list", "models.stationkeeper.dev", "ops")
    was_never_refused(operator)
    # Another operator may watch the other namespaces, and this one's word on records does not hold there.
    refused(create(cluster, {**revision(), "metadata": {"name": "forged", "namespace": "team-a"}}, None), "only the operator")
    elsewhere = {**revision(), "metadata": {"name": "forged", "namespace": "elsewhere"}}
    cluster.wait("other namespaces are free", lambda: create(cluster, elsewhere, None).returncode == 0)


def test_after_an_uninstall_models_are_still_there(cluster, helm, release):
    cluster.create({**world.model(), "metadata": {"name": "kept", "namespace": "elsewhere"}})
    helm("uninstall", "stationkeeper", f"--namespace={HOME}", "--wait")
    kinds = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
    assert "stationkeeper" not in cluster("get", kinds, "-o", "name")
    assert cluster.get("model", "elsewhere", "kept")["spec"]
    assert len(cluster.list("crds", "default")) == 3
