"""Templates of workloads, read from the administrator's file; and the workload, which no watch tells of, asked for."""

from dataclasses import replace

import pytest
import yaml

from stationkeeper.control.controllers.settings import parse
from stationkeeper.control.controllers.workloads import TemplatesError, read_templates
from stationkeeper.control.kube.kinds import Kind, kind_of, register
from tests.support import kubelet, world
from tests.support.site import Site
from tests.support.templates import documented, template


def written(path, *templates) -> str:
    path.write_text(yaml.safe_dump({"workloads": list(templates)}))
    return str(path)


def test_the_flag_names_a_file_whose_kinds_are_known_from_then_on(tmp_path):
    settings = parse([f"--workload-templates={written(tmp_path / 't.yaml', *documented().values())}"])
    assert settings.workloads.keys() == {"torch", "kubeflow", "ray"}
    assert kind_of("RayJob").path("ops", "x") == "/apis/ray.io/v1/namespaces/ops/rayjobs/x"
    assert parse([]).workloads == {}


BAD = [
    ("workloads: [", "while parsing"),
    ("workloads: [{name: x}]", "workloads[0].plural: Field required"),
    ("workloads: [{name: x, plural: jobs, object: {apiVersion: x/v9, kind: Job}}]", "x/v9 Job (jobs) has the name of batch/v1 (jobs)"),
    ("workloads: [{name: x, plural: jobs, object: {apiVersion: batch/v1, kind: Job}}, "
     "{name: x, plural: jobs, object: {apiVersion: batch/v1, kind: Job}}]", "two templates are named x"),
    ("- nothing", "'list' object has no attribute"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD)
def test_a_bad_file_ends_the_start_with_the_entry_and_the_field(text, words, tmp_path, capsys):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(TemplatesError) as error:
        read_templates(str(path))
    assert words in str(error.value)
    with pytest.raises(SystemExit):
        parse([f"--workload-templates={path}"])
    assert words in capsys.readouterr().err


def test_a_kind_has_one_meaning():
    register(Kind("batch/v1", "Job", "jobs"))
    with pytest.raises(ValueError, match="has the name of"):
        register(Kind("other/v1", "Job", "jobs"))


@pytest.fixture
async def site(monkeypatch) -> Site:
    """A Model that trains by an Indexed Job."""
    settings = replace(world.SETTINGS, workloads={"torch": template("torch")})
    monkeypatch.setattr(world, "SETTINGS", settings)
    model = world.model()
    del model["spec"]["training"]["estimator"]
    parameters = {"image": "registry.example.com/ops/a:1"}
    model["spec"]["training"]["workload"] = {"template": "torch", "task": "Classification", "parameters": parameters}
    made = Site(model=model)
    await made.fill()
    return made


def hand_over(site: Site) -> None:
    """The Job's first container has ended and said that the rows are there."""
    (job,) = site.api.all("jobs")
    episode = site.model["status"]["episode"]
    message = f'{{"schemaVersion": 1, "kind": "Handover", "episode": "{episode["id"]}", "attempt": 1, "rows": 100}}'
    ended = {"exitCode": 0, "reason": "Completed", "message": message}
    status = {"phase": "Pending", "initContainerStatuses": [{"name": "prepare", "state": {"terminated": ended}}]}
    site.api.create({**kubelet.pod_of(job), "status": status}, "pods")


async def test_it_is_created_once_and_looked_at_by_a_request_of_its_own(site):
    await site.look()
    hand_over(site)
    made = [line for line in await site.look() if line.startswith("PATCH jobs/flights-w-")]
    assert len(made) == 1
    (workload,) = [job for job in site.api.all("jobs") if "-w-" in job["metadata"]["name"]]
    assert workload["spec"]["completionMode"] == "Indexed"
    again = await site.look()
    assert [line.split("-w-")[0] for line in again] == ["GET jobs/flights"], "at rest a look is one request"


async def test_its_failure_is_seen_by_the_next_look_though_no_watch_tells(site):
    await site.look()
    hand_over(site)
    await site.look()
    (workload,) = [job for job in site.api.all("jobs") if "-w-" in job["metadata"]["name"]]
    failed = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "a pod failed"}]}
    site.api.change(("jobs", "ops", workload["metadata"]["name"]), lambda job: job.update(status=failed))
    await site.look(watch=False)
    assert site.model["status"]["lastTraining"]["reason"] == "WorkloadFailed"


async def test_one_that_somebody_deleted_is_made_again(site):
    await site.look()
    hand_over(site)
    await site.look()
    (workload,) = [job for job in site.api.all("jobs") if "-w-" in job["metadata"]["name"]]
    site.api.remove(("jobs", "ops", workload["metadata"]["name"]))
    assert any(line.startswith("PATCH jobs/flights-w-") for line in await site.look(watch=False))


async def test_models_without_one_cost_no_request(site):
    plain = Site()
    await plain.fill()
    assert not [line for line in await plain.look() if line.startswith("GET")]
