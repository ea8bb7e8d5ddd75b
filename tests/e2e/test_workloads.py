"""Training across machines on a real node: an Indexed Job of two pods from the documentation's template, judged, published and served."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from hack.cluster.paths import REPOSITORY
from hack.demo import flights, install
from hack.demo.timeline import condition
from hack.images.__main__ import name as image_name
from tests.e2e.place import ARTIFACTS, DATA, NAMESPACE, Place, eventually
from tests.support.templates import documented

pytestmark = pytest.mark.e2e

NAME = "across"


def script() -> str:
    """The worked example of a team's own container, on the machine of rank 0; the others only help."""
    page = (REPOSITORY / "docs/reference/training.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    first = "import os, sys\nassert os.environ['WORLD_SIZE'] == '2'\nif os.environ['JOB_COMPLETION_INDEX'] != '0': sys.exit()\n"
    return f"{first}{example}open(os.environ['STATIONKEEPER_MODEL'] + '/done', 'w').close()\n"


def template() -> dict:
    """The documented template, for our own image and the script in the place of a team's."""
    made = documented()["torch"]
    made["parameters"] = [p for p in made["parameters"] if p["name"] != "image"] + [
        {"name": "image", "values": [image_name("workloads")]}
    ]
    train = made["object"]["spec"]["template"]["spec"]["containers"][0]
    train["command"] = ["python3", "-c", "${command}"]
    paths = {"STATIONKEEPER_DATA": "/mnt/data", "STATIONKEEPER_MODEL": "/mnt/model"}
    train["env"] += [{"name": name, "value": value} for name, value in paths.items()]
    return made


@pytest.fixture(scope="module")
def place(kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    values = Path(tmp_path_factory.mktemp("chart")) / "values.yaml"
    values.write_text(yaml.safe_dump({"workloadTemplates": [template()]}))
    install.s3_server(kube)
    install.operator(kube, "--values", str(values))
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    january = flights.between(flights.flights(), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC))
    with install.store(kube) as client:
        install.empty(client, DATA, ARTIFACTS)
        made = Place(kube, client)
        made.prepare(january)
        yield made
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    install.operator(kube)


def applied(place: Place, **parameters: str) -> None:
    given = {"image": image_name("workloads"), "command": script()} | parameters
    workload = {"template": "torch", "task": "Classification", "parameters": given}
    place.apply(NAME, {"training": {"workload": workload}}, without=("estimator",))


def workloads(place: Place) -> list[dict]:
    """What trains across machines for the Model."""
    wanted = {"stationkeeper.dev/model": NAME, "stationkeeper.dev/component": "training-workload"}
    return [job for job in place.kube.list("jobs", NAMESPACE) if wanted.items() <= job["metadata"]["labels"].items()]


def test_two_pods_train_what_is_judged_published_and_served(place):
    applied(place)
    place.wait_for_condition(NAME, "Ready", "True", "Serving: revision 1")
    manifest = place.manifest(NAME, place.first(NAME)["spec"]["digest"])
    assert manifest["estimator"] == "workload torch"
    assert manifest["evaluation"]["metrics"]["roc_auc"]["value"] > 0.55
    (workload,) = workloads(place)
    assert workload["spec"]["completionMode"] == "Indexed"
    assert workload["spec"]["completions"] == 2
    (owner,) = workload["metadata"]["ownerReferences"]
    assert owner["name"] in {job["metadata"]["name"] for job in place.jobs(NAME)}, "the attempt's own Job has it"


def test_one_that_fails_is_told_and_the_stable_revision_serves_on(place):
    applied(place, command="import sys; sys.exit('the loss is not a number')")
    model = place.wait(NAME, "it failed", lambda m: (m["status"].get("lastTraining") or {}).get("outcome") == "Failed")
    assert model["status"]["lastTraining"]["reason"] == "WorkloadFailed"
    assert condition(model, "Ready")["status"] == "True"
    place.kubectl("patch", "model", NAME, "--type=merge", "-p", '{"spec": {"retraining": {"suspend": true}}}')
    assert eventually(lambda: all(job["status"].get("succeeded") for job in workloads(place))), "it goes with its Job"


def test_a_template_that_is_not_there_is_told_with_those_that_are(place):
    place.kubectl("patch", "model", NAME, "--type=merge", "-p", '{"spec": {"training": {"workload": {"template": "ray"}}}}')
    place.wait_for_condition(NAME, "Stalled", "True", "there is no template 'ray'; this namespace may use: torch")
    place.kubectl("delete", "model", NAME, "--wait=true")
