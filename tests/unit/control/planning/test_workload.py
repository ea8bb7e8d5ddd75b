"""Training across machines: the workload beside the attempt's Job, and every way in which it may end."""

from dataclasses import replace

import pytest

from stationkeeper.control.planning import plan_model
from tests.support.templates import template
from tests.support.world import SETTINGS, World, model

IMAGE = "registry.example.com/ops/trainer:1"


def world(name: str = "torch", **parameters: str) -> World:
    made = model()
    made["spec"]["training"].pop("estimator")
    given = {"image": IMAGE} | parameters
    made["spec"]["training"]["workload"] = {"template": name, "task": "Classification", "parameters": given}
    found = World(made)
    found.settings = replace(SETTINGS, workloads={t: template(t) for t in ("torch", "kubeflow", "ray")})
    return found


def workloads(of: World) -> list[str]:
    return [key[1] for key, obj in of.objects.items() if "training-workload" in str(obj["metadata"].get("labels"))]


def end(of: World, **status) -> None:
    (name,) = workloads(of)
    kind = next(kind for kind, other in of.objects if other == name)
    of.objects[kind, name]["status"] = status


@pytest.mark.parametrize("name", ["torch", "kubeflow", "ray"])
def test_it_comes_when_the_rows_are_there_and_is_the_jobs_own(name):
    w = world(name)
    w.settle()
    assert workloads(w) == [], "nothing takes machines before there is something to train on"
    w.hand_over()
    w.settle()
    (made,) = workloads(w)
    assert len(made) <= 43
    obj = w.workload()
    (owner,) = obj["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", w.training_job()["metadata"]["uid"])
    assert IMAGE in str(obj["spec"])
    assert "STATIONKEEPER_CONFIG" in str(obj["spec"])
    assert w.condition("Retraining")["status"] == "True"
    assert w.plan().requeue_after == 5.0, "nothing tells of it but a look"


def test_what_it_left_is_published_as_ever():
    w = world()
    w.settle()
    w.hand_over()
    w.settle()
    end(w, conditions=[{"type": "Complete", "status": "True", "lastTransitionTime": w.now.isoformat()}])
    w.advance(seconds=30)
    w.settle()
    assert w.condition("Retraining")["reason"] == "Training", "the model may still be on its way"
    w.publish("first")
    w.settle()
    w.ready(1)
    w.settle()
    assert w.model["status"]["serving"]["number"] == 1


FAILED = [
    ("torch", {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "two pods\nfailed"}]},
     "BackoffLimitExceeded: two pods failed"),
    ("kubeflow", {"conditions": [{"type": "Failed", "status": "True", "reason": "TrainingRuntimeNotSupported"}]}, "TrainingRuntimeNotSupported"),
    ("ray", {"jobStatus": "FAILED", "jobDeploymentStatus": "Complete", "message": "entrypoint exited with 1"}, "entrypoint exited with 1"),
    ("ray", {"jobStatus": "STOPPED"}, "STOPPED"),
    ("ray", {"jobStatus": "", "jobDeploymentStatus": "Failed"}, "Failed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "words"), FAILED)
def test_a_failed_one_ends_the_attempt_and_the_next_waits(name, status, words):
    w = world(name)
    w.settle()
    w.hand_over()
    w.settle()
    end(w, **status)
    w.settle()
    last = w.model["status"]["lastTraining"]
    assert (last["outcome"], last["reason"]) == ("Failed", "WorkloadFailed")
    assert words in last["message"]
    assert workloads(w) == [], "it went with its Job"
    assert w.model["status"]["waiting"]["reason"] == "Backoff"
    w.advance(minutes=1)
    w.settle()
    assert w.model["status"]["episode"]["attempt"] == 2


def test_one_that_left_no_model_ends_the_attempt_after_a_while():
    w = world()
    w.settle()
    w.hand_over()
    w.settle()
    end(w, conditions=[{"type": "Complete", "status": "True", "lastTransitionTime": w.now.isoformat()}])
    w.advance(seconds=121)
    w.settle()
    assert w.model["status"]["lastTraining"]["reason"] == "WorkloadLeftNoModel"


RUNNING = [
    {},
    {"conditions": [{"type": "Failed", "status": "False"}, {"type": "Suspended", "status": "True"}]},
    {"conditions": [{"type": "FailureTarget", "status": "True"}]},
    {"jobStatus": "RUNNING"},
]


@pytest.mark.parametrize("status", RUNNING)
def test_one_that_runs_is_left_alone(status):
    w = world()
    w.settle()
    w.hand_over()
    w.settle()
    end(w, **status)
    w.advance(hours=1)
    before = dict(w.objects)
    w.settle()
    assert w.objects == before
    assert w.model["status"]["episode"]["attempt"] == 1


def test_that_of_a_job_before_is_waited_for_and_a_foreign_one_is_never_adopted():
    w = world()
    w.settle()
    w.hand_over()
    w.settle()
    w.workload()
    (name,) = workloads(w)
    w.objects["Job", name]["metadata"]["ownerReferences"][0]["uid"] = "of-yesterday"
    plan = w.plan()
    assert plan.apply == () or all(obj["metadata"]["name"] != name for obj in plan.apply)
    assert plan.requeue_after == 5.0
    del w.objects["Job", name]
    w.settle()
    assert workloads(w) == [name]


@pytest.mark.parametrize("writes", range(4))
def test_a_crash_between_any_two_writes_changes_nothing(writes):
    w = world()
    w.settle()
    w.hand_over()
    w.step(crash_after=writes)
    w.settle()
    assert len(workloads(w)) == 1
    end(w, conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}])
    w.step(crash_after=writes)
    w.settle()
    assert w.model["status"]["episode"]["attempt"] == 1


def test_an_edit_of_the_training_ends_job_and_workload():
    w = world()
    w.settle()
    w.hand_over()
    w.settle()
    (old,) = workloads(w)
    w.model["spec"]["training"]["workload"]["parameters"]["workers"] = "4"
    w.edit("more workers")
    w.settle()
    assert old not in workloads(w)
    w.hand_over()
    w.settle()
    assert w.workload()["spec"]["completions"] == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"template": "gone"},
            "spec.training.workload.template: there is no template 'gone'; this namespace may use: kubeflow, ray, torch",
        ),
        ({"parameters": {}}, "spec.training.workload.parameters.image: template torch needs a value"),
    ],
)
def test_a_model_that_does_not_fit_is_told_and_what_serves_goes_on(change, words):
    w = world()
    w.model["spec"]["training"]["workload"] |= change
    w.settle()
    assert w.condition("Stalled")["status"] == "True"
    assert w.condition("Stalled")["message"] == words
    assert w.objects == {}


def test_without_templates_a_model_is_told_that_there_are_none():
    w = world()
    plan = plan_model(w.observed(), w.now, SETTINGS)
    assert "the operator's configuration has none for this namespace" in str(plan.status)
