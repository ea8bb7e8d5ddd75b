"""A server of the team's own choice: rolled out, given up and counted as ours is, but its exit codes and numbers mean nothing."""

from dataclasses import replace

import pytest

from stationkeeper.api.meta import EXIT_INVALID
from stationkeeper.api.summary import FailureSummary
from tests.support.world import World, digest

CONTAINER = {"image": "team/server:1", "port": 8000}
CANARY = {"strategy": "Canary", "steps": [{"weight": 50, "hold": "1m"}], "analysis": {"minRequests": 100, "deadline": "10m"}}


def second(**rollout) -> World:
    """Revision 1 serves, revision 2 comes up, both by a server of the team's own."""
    world = World()
    world.model["spec"]["serving"] = {"replicas": 2, "container": CONTAINER, "rollout": rollout}
    world.serve_first()
    world.annotate(retrain="please")
    world.settle()
    world.publish("second")
    world.settle()
    return world


def ended(world: World, container: str, failure: FailureSummary, code: int) -> None:
    deployment = next(o for key, o in world.objects.items() if key[0] == "Deployment" and "-r2-" in key[1])
    labels = {"stationkeeper.dev/revision": "2"}
    world.pod(deployment, container, failure.encode().decode(), code, **labels)
    world.settle()


def test_it_is_rolled_out_without_a_word_of_golden_rows():
    world = second()
    world.ready(2)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 2
    assert "golden" not in "\n".join(world.transcript)


def test_a_model_that_is_not_what_was_published_is_given_up_at_once():
    world = second()
    ended(world, "fetch-model", FailureSummary(reason="DigestMismatch", message="other bytes"), EXIT_INVALID)
    assert world.model["status"]["quarantine"][0]["digest"] == digest("second")
    assert "DigestMismatch" in world.model["status"]["quarantine"][0]["reason"]


def test_a_server_that_ends_with_our_exit_code_means_nothing_by_it():
    world = second()
    ended(world, "serve", FailureSummary(reason="DigestMismatch", message="I say so"), EXIT_INVALID)
    assert world.model["status"].get("quarantine", []) == []
    assert world.model["status"]["candidate"]["number"] == 2


@pytest.mark.parametrize(("without", "serving"), [("Rollback", None), ("Wait", 2)])
def test_a_canary_without_numbers_holds_and_then_does_as_the_spec_says(without, serving):
    world = second(**CANARY | {"analysis": CANARY["analysis"] | {"withoutEvidence": without}})
    world.ready(2)
    world.settle()
    world.advance(minutes=5)
    world.settle()
    assert world.model["status"]["candidate"]["step"] == 0, "nothing was measured, so it holds"
    world.advance(minutes=6)
    world.settle()
    assert (world.model["status"].get("candidate") or {}).get("number") == serving
    assert world.model["status"]["serving"]["number"] == 1


def test_an_upgrade_keeps_the_image_that_fetches():
    world = second()
    world.settings = replace(world.settings, workloads_image="stationkeeper/workloads:next")
    before = {key: o["spec"]["template"] for key, o in world.objects.items() if key[0] == "Deployment"}
    world.settle()
    assert {key: o["spec"]["template"] for key, o in world.objects.items() if key[0] == "Deployment"} == before
    images = {c["name"]: c["image"] for t in before.values() for c in t["spec"]["initContainers"] + t["spec"]["containers"]}
    assert images == {"fetch-model": "stationkeeper/workloads:test", "serve": "team/server:1"}


def test_a_runtime_that_is_ours_again_is_not_the_teams_image():
    world = World()
    world.model["spec"]["serving"] = {"replicas": 1, "container": CONTAINER}
    world.serve_first()
    world.model["spec"]["serving"] = {"replicas": 1}
    world.edit("the team goes back to our runtime")
    world.settle()
    (template,) = [o["spec"]["template"] for key, o in world.objects.items() if key[0] == "Deployment"]
    assert [c["image"] for c in template["spec"]["containers"]] == ["stationkeeper/workloads:test"]
    assert "initContainers" not in template["spec"]


@pytest.mark.parametrize(
    ("container", "url"),
    [
        (CONTAINER, "http://flights.ops.svc/v2/models/flights"),
        (CONTAINER | {"protocol": "HTTP", "readyPath": "/healthz"}, "http://flights.ops.svc"),
    ],
)
def test_the_url_is_that_of_the_protocol(container, url):
    world = World()
    world.model["spec"]["serving"] = {"replicas": 1, "container": container}
    world.serve_first()
    assert world.model["status"]["url"] == url
