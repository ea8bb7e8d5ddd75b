"""Every child of a Model, whole: YAML in, YAML out; and what must hold of all of them."""

import re

import pytest

from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.meta import ANNOTATION_TEMPLATE, ENV_CONFIG
from stationkeeper.control.resources import deployment
from tests.unit.control.resources import cases
from tests.unit.control.resources.cases import CASES, GOLDEN, UID, build, read

WITH_PODS = [case for case in CASES if read(case)["builder"] in cases.CONFIGURATIONS]
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@pytest.mark.parametrize("case", CASES)
def test_what_goes_in_comes_out_as_the_golden_file_says(case, pytestconfig):
    path = GOLDEN / "output" / f"{case}.yaml"
    text = cases.render(build(case))
    if pytestconfig.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_file_has_its_input_and_every_builder_a_case():
    assert sorted(path.stem for path in (GOLDEN / "output").glob("*.yaml")) == CASES
    assert {read(case)["builder"] for case in CASES} == set(cases.BUILDERS)


@pytest.mark.parametrize("case", CASES)
def test_a_child_is_the_models_and_labelled_as_such(case):
    meta = build(case)["metadata"]
    assert meta["namespace"] == "ops"
    (reference,) = meta["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == ("Model", UID, True)
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "stationkeeper"
    assert meta["labels"]["stationkeeper.dev/model"] == read(case)["model"]
    assert [value for value in meta["labels"].values() if not LABEL.fullmatch(value)] == []


@pytest.mark.parametrize("case", CASES)
def test_a_builder_gives_the_same_again_and_keeps_nothing_of_it(case):
    first = build(case)
    first["metadata"]["labels"].clear()
    first["spec"].clear()
    assert cases.render(build(case)) == (GOLDEN / "output" / f"{case}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", WITH_PODS)
def test_every_container_reads_back_the_configuration_that_was_meant(case, monkeypatch):
    meant = cases.configuration(case)
    for container in cases.containers(build(case)):
        if container["image"] != cases.IMAGE.name:
            assert ENV_CONFIG not in {variable["name"] for variable in container["env"]}, "a team's own needs not know it"
            continue
        told = next(variable["value"] for variable in container["env"] if variable["name"] == ENV_CONFIG)
        assert "$" not in told, "the kubelet would put something else in the place of $(NAME) and $$"
        monkeypatch.setenv(ENV_CONFIG, told)
        assert type(meant).from_environment() == meant


@pytest.mark.parametrize("case", WITH_PODS)
def test_a_pod_writes_to_its_own_directories_only_and_cannot_call_the_api(case):
    pod = cases.pod_template(build(case))["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    volumes = {volume["name"] for volume in pod["volumes"] if set(volume) == {"name", "emptyDir"}}
    given = [volume for volume in pod["volumes"] if volume["name"] not in volumes]
    pull_secret = case == "watch-of-an-image-with-a-pull-secret"
    assert [volume["name"] for volume in given] == ["registry"] * pull_secret, "nothing of the node or of the cluster is mounted"
    volumes |= {volume["name"] for volume in given}
    for container in cases.containers(build(case)):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])


@pytest.mark.parametrize("case", WITH_PODS)
def test_a_secret_goes_by_reference_and_only_to_what_talks_to_the_store(case):
    spec = read(case)["spec"]
    secret = spec["storage"].get("secretName")
    asks_a_registry = read(case)["builder"] == "watch" and "image" in spec["training"]["watch"]
    for container in cases.containers(build(case)):
        referred = {v["valueFrom"]["secretKeyRef"]["name"] for v in container["env"] if "valueFrom" in v}
        ours = container["image"] == cases.IMAGE.name and container["name"] != "train" and not asks_a_registry
        assert referred == ({secret} if secret and ours else set())


@pytest.mark.parametrize("case", [case for case in WITH_PODS if read(case)["builder"] not in ("deployment", "server")])
def test_a_run_ends_and_is_tried_again_only_where_that_can_help(case):
    built = build(case)
    job = built["spec"]["jobTemplate"]["spec"] if built["kind"] == "CronJob" else built["spec"]
    assert 1 <= job["activeDeadlineSeconds"] < 2**31
    assert cases.pod_template(built)["spec"]["restartPolicy"] == "Never", "a podFailurePolicy takes no other"
    *by_code, last = job["podFailurePolicy"]["rules"]
    assert {rule["onExitCodes"]["containerName"] for rule in by_code} == {c["name"] for c in cases.containers(built)}
    assert {(rule["action"], *rule["onExitCodes"]["values"]) for rule in by_code} == {("FailJob", 3)}
    assert last == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_training_never_sees_the_holdout_and_publishing_no_model():
    prepare, train, publish = cases.containers(build("training-for-the-first-revision"))
    read_only = [{m["name"] for m in c["volumeMounts"] if m.get("readOnly")} for c in (prepare, train, publish)]
    assert read_only == [set(), {"data"}, {"data", "model"}]
    assert "work" not in {mount["name"] for mount in train["volumeMounts"]}


@pytest.mark.parametrize("case", [case for case in CASES if read(case)["builder"] == "training"])
def test_whoever_trains_can_leave_nothing_but_a_model_to_who_has_credentials(case):
    prepare, train, publish = cases.containers(build(case))
    written = {m["name"] for m in train["volumeMounts"] if not m.get("readOnly")}
    assert written == {"model", "scratch"}
    for trusted in (prepare, publish):
        mounts = {m["name"]: m for m in trusted["volumeMounts"]}
        assert "scratch" not in mounts, "a module or a configuration in its home would be loaded"
    assert mounts["model"]["readOnly"] is True


def test_a_teams_container_is_told_where_its_rows_are_and_what_the_team_wrote():
    _, train, _ = cases.containers(build("training-by-a-teams-own-container"))
    told = {variable["name"]: variable["value"] for variable in train["env"]}
    assert told == {
        "STATIONKEEPER_DATA": "/mnt/data",
        "STATIONKEEPER_MODEL": "/mnt/model",
        "STATIONKEEPER_EPISODE": "0123456789",
        "STATIONKEEPER_ATTEMPT": "1",
        "PRICE": "$$(HOME) $$$$5",  # as the kubelet reads it: $(HOME) $$5
    }
    assert (train["command"], train["args"]) == (["python3", "/app/train.py"], ["--depth=6"])
    pod = cases.pod_template(build("training-by-a-teams-own-container"))["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_a_server_of_the_teams_own_reads_the_model_and_is_told_which_it_is():
    fetch, serve = cases.containers(build("deployment-of-triton"))
    mounts = {m["name"]: m for m in serve["volumeMounts"]}
    assert mounts["model"]["readOnly"] is True
    assert not {m["name"] for m in fetch["volumeMounts"] if not m.get("readOnly")} & (set(mounts) - {"model"})
    told = {variable["name"]: variable["value"] for variable in serve["env"]}
    assert told["STATIONKEEPER_REVISION"] == "7"
    assert told["NOTE"] == "costs $$5"  # as the kubelet reads it: costs $5
    assert serve["args"] == ["tritonserver", "--model-repository=/mnt/model/repository"]
    assert serve["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    assert serve["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    assert cases.pod_template(build("deployment-of-triton"))["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_another_server_is_another_pod_and_none_changes_nothing():
    given = read("deployment-with-defaults")
    identity = RevisionIdentity.model_validate(given["arguments"]["revision"])
    before = build("deployment-with-defaults")
    changed = cases.read("deployment-with-defaults")
    changed["spec"].setdefault("serving", {})["container"] = {"image": "team/server:1"}
    after = deployment.serving_deployment(cases.owner(changed), identity, 1, cases.IMAGE, before)["spec"]["template"]
    assert [c["image"] for c in cases.containers({"kind": "Deployment", "spec": {"template": after}})] == [
        cases.IMAGE.name,
        "team/server:1",
    ]


def test_an_upgrade_of_the_operator_restarts_nothing_and_an_edit_of_the_spec_builds_anew(monkeypatch):
    before = build("deployment-with-defaults")
    monkeypatch.setattr(deployment, "GRACE_SECONDS", 99)  # another version builds other pods
    given = read("deployment-with-defaults")
    identity = RevisionIdentity.model_validate(given["arguments"]["revision"])

    def after(change=lambda spec: None, live=before):
        changed = cases.read("deployment-with-defaults")
        change(changed["spec"])
        return deployment.serving_deployment(cases.owner(changed), identity, 1, cases.IMAGE, live)["spec"]["template"]

    assert after() == before["spec"]["template"]
    assert after(live=None)["spec"]["terminationGracePeriodSeconds"] == 99
    # What a default is may change with the version; what the user wrote has not.
    assert after(lambda spec: spec.setdefault("serving", {}).update(progressDeadline="20m")) == before["spec"]["template"]
    bigger = after(lambda spec: spec.setdefault("serving", {}).update(resources={"requests": {"cpu": "2", "memory": "1Gi"}}))
    assert bigger["spec"]["terminationGracePeriodSeconds"] == 99
    assert bigger["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2"
    torn = {
        **before,
        "metadata": {**before["metadata"], "annotations": {**before["metadata"]["annotations"], ANNOTATION_TEMPLATE: "{"}},
    }
    assert after(live=torn)["spec"]["terminationGracePeriodSeconds"] == 99


def test_the_service_and_the_deployment_of_a_revision_mean_the_same_pods():
    selector = build("service-of-one-revision")["spec"]["selector"]
    made = build("deployment-with-defaults")
    assert selector == made["spec"]["selector"]["matchLabels"]
    assert selector.items() <= cases.pod_template(made)["metadata"]["labels"].items()
    alone = build("revision-service-behind-a-route")
    assert alone["spec"] == build("service-of-one-revision")["spec"]
    assert alone["metadata"]["name"] != "flights", "the Model's Service has that name"
    shared = build("service-shared-with-a-canary")
    assert shared["spec"]["selector"].items() < selector.items()
    assert shared["metadata"]["labels"]["stationkeeper.dev/revision"] == "3", "who is stable stays written there"


def test_a_route_sends_to_the_services_of_its_revisions_by_percentages():
    (rule,) = build("route-shared-with-a-canary")["spec"]["rules"]
    assert [(ref["weight"], ref["port"]) for ref in rule["backendRefs"]] == [(80, 80), (20, 80)]
    assert rule["backendRefs"][0]["name"] == build("revision-service-behind-a-route")["metadata"]["name"]


def test_the_pods_of_a_comparison_are_no_revisions():
    made = build("shadow-of-the-stable-revision")
    labels = cases.pod_template(made)["metadata"]["labels"]
    assert "stationkeeper.dev/revision" not in labels, "a Service or a canary's metrics would take them for serving pods"
    assert labels["stationkeeper.dev/component"] == "shadow"
    assert len(made["metadata"]["name"]) <= 63, "it becomes a label of its pods"
