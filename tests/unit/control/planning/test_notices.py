"""The outbox: what people are still to be told stands in the status until they have heard it."""

from dataclasses import replace

from stationkeeper.control.planning import plan_model
from tests.support.world import SETTINGS, World, policy

DRIFT = ("Passed", "Breached", "Passed")


def drifted() -> World:
    world = World(policies=(policy(),))
    world.settings = replace(SETTINGS, receivers=frozenset({"ml-team"}))
    world.model["spec"]["notify"] = ["ml-team"]
    world.serve_first()
    world.check(DRIFT, DRIFT)
    world.settle()
    return world


def waiting(world: World) -> list[str]:
    return [notice["reason"] for notice in world.model["status"].get("notices") or []]


def test_what_matters_waits_for_the_receivers_and_nothing_twice():
    world = drifted()
    assert waiting(world) == ["RevisionPublished", "RevisionServing", "DriftDetected"]
    world.settle()
    assert waiting(world) == ["RevisionPublished", "RevisionServing", "DriftDetected"]
    drift = world.model["status"]["notices"][-1]
    assert drift["severity"] == "Warning"
    assert "report s3://" in drift["message"]


def test_what_was_heard_goes_and_the_rest_stays():
    world = drifted()
    heard = world.model["status"]["notices"][0]["id"]
    plan = plan_model(replace(world.observed(), delivered=frozenset({heard})), world.now, world.settings)
    assert plan.status is not None
    assert [notice["reason"] for notice in plan.status["notices"]] == ["RevisionServing", "DriftDetected"]


def test_a_spec_that_cannot_be_followed_is_told_too_and_what_was_heard_goes():
    world = drifted()
    heard = {notice["id"] for notice in world.model["status"]["notices"]}
    world.model["spec"]["training"]["schedule"] = "61 * * * *"
    world.edit("a minute that is none")
    plan = plan_model(replace(world.observed(), delivered=frozenset(heard)), world.now, world.settings)
    assert plan.status is not None
    assert [(notice["severity"], notice["reason"]) for notice in plan.status["notices"]] == [("Warning", "InvalidSpec")]


def test_without_receivers_nothing_is_kept():
    world = World(policies=(policy(),))
    world.serve_first()
    assert waiting(world) == []


def test_a_receiver_that_nobody_knows_is_told_once_for_each_edit():
    world = drifted()
    world.model["spec"]["notify"] = ["ml-team", "nobody"]
    world.transcript.clear()
    world.edit("a receiver is mistyped")
    world.settle()
    world.settle()
    said = [line for line in world.transcript if "UnknownReceiver" in line]
    assert said == ["  event Warning UnknownReceiver: spec.notify: nobody; the operator's configuration has ml-team"]


def test_an_outage_of_the_receivers_does_not_fill_the_status():
    world = drifted()
    for number in range(60):
        world.model["spec"]["notify"] = ["ml-team", f"nobody-{number}"]
        world.edit("again")
        world.settle()
    assert len(waiting(world)) == 32
