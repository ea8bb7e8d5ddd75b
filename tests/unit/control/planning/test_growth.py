"""Growth: a model is trained again once what could be known has doubled, and the clock's trainings do not wait behind a refused cure."""

from datetime import UTC, datetime, timedelta

import pytest

from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.training import Training
from stationkeeper.cli.explain import explain
from stationkeeper.control.planning import growth
from tests.support.world import START, World, model, policy

SPAN = timedelta(days=30)
DRIFT = ("Passed", "Breached", "Passed")


def grown(policies=(), since=START - SPAN, through=START, **training) -> World:
    """A world in which revision 1 serves; it knows thirty days."""
    world = World(model(**training), policies=policies)
    world.settle()
    world.publish("first", data_since=since, through=through)
    world.settle()
    world.ready(1)
    world.settle()
    return world


def episode(world: World) -> dict:
    return world.model["status"].get("episode") or {}


def later(world: World, **delta: float) -> None:
    world.advance(**delta)
    world.settle()


def refuse(world: World) -> None:
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused", "roc_auc 0.5 is below 0.6")
    world.settle()


def test_it_is_trained_again_when_as_much_time_has_passed_as_its_rows_span():
    world = grown()
    later(world, days=29, hours=23)
    assert episode(world) == {}
    assert world.model["status"]["growsAt"] == "2026-02-04T12:00:00Z"
    assert "growth asks for a training in 1 hour" in "\n".join(explain(world.model, world.now))
    assert 0 < world.plan().requeue_after <= 3600, "nobody else will wake it"
    later(world, hours=1)
    assert episode(world)["cause"] == "Growth"
    world.publish("second", data_since=START - SPAN, through=world.now)
    world.settle()
    record = next(o["spec"] for o in world.objects.values() if o["kind"] == "ModelRevision" and o["spec"]["number"] == 2)
    assert (record["cause"], record["dataSince"]) == ("Growth", "2025-12-06T12:00:00Z")


def test_a_refusal_is_followed_by_another_training_when_it_has_doubled_once_more():
    world = grown()
    later(world, days=30)
    refuse(world)
    later(world, days=59)
    assert episode(world) == {}, "the same doubling asks once"
    later(world, days=1)
    assert episode(world)["cause"] == "Growth"


def test_another_training_answers_it_too():
    world = grown(schedule="0 0 4 2 *")  # the day on which it has doubled
    later(world, days=29, hours=13)
    assert episode(world)["cause"] == "Schedule"
    refuse(world)
    later(world, days=1)
    assert episode(world)["cause"] == "Growth", "what was trained before that moment does not answer it"
    refuse(world)
    later(world, days=30)
    assert episode(world) == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"since": None}, "a model without time in its rows has no span"),
        (
            {"data": {"uri": "s3://data/flights/", "target": "late", "timestamp": "at", "asOf": "LatestRow"}},
            "its rows have a clock of their own",
        ),
    ],
)
def test_where_nothing_is_known_of_time_nothing_grows(change, why):
    world = grown(**change)
    later(world, days=400)
    assert episode(world) == {}, why
    assert "growsAt" not in world.model["status"]


def test_who_does_not_want_it_says_so():
    world = grown()
    world.model["spec"]["retraining"]["causes"] = ["Drift"]
    later(world, days=400)
    assert episode(world) == {}
    assert "growsAt" not in world.model["status"]


def test_moments_double_and_a_day_is_the_least():
    (owner,) = [o for o in grown().objects.values() if o["kind"] == "ModelRevision"]
    record = ModelRevisionSpec.model_validate(owner["spec"]).model_copy(update={"trained_at": START})
    data = Training.model_validate(model()["spec"]["training"]).data
    assert growth.moments(record, data, START) == (None, START + SPAN)
    assert growth.moments(record, data, START + 8 * SPAN) == (START + 7 * SPAN, START + 15 * SPAN)
    short = record.model_copy(update={"data_since": START - timedelta(minutes=5)})
    assert growth.moments(short, data, START) == (None, START + timedelta(days=1))
    old = record.model_copy(update={"data_since": datetime(2, 1, 1, tzinfo=UTC)})
    assert growth.moments(old, data, datetime(9000, 1, 1, tzinfo=UTC))[1] is None, "beyond the calendar"


# -- a drift whose challengers were refused ------------------------------------------------------------------------------


def drifting(schedule: str) -> World:
    """Revision 1 drifts, and its first challenger has been refused."""
    days = timedelta(days=1)
    world = grown((policy(),), since=START - 60 * days, through=START - 10 * days, schedule=schedule)  # too old to be skew
    later(world, hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    assert episode(world)["cause"] == "Drift"
    refuse(world)
    assert world.model["status"]["waiting"]["reason"] in ("Cooldown", "Backoff")
    return world


def test_a_refused_cure_does_not_hold_up_the_schedule():
    world = drifting("0 16 * * *")
    before = episode(world)
    world.model["status"]["episode"]["nextAttemptAt"] = (START + timedelta(days=20)).isoformat()
    later(world, hours=2, minutes=1)
    now = episode(world)
    assert (now["id"], now["cause"], now["askedBy"], now["attempt"]) == (before["id"], "Drift", "Schedule", 2)
    assert world.model["status"]["lastTraining"]["cause"] == "Drift"
    refuse(world)
    assert world.model["status"]["lastTraining"]["cause"] == "Schedule"
    assert episode(world)["refusals"] == 2, "one training answers both"
    assert datetime.fromisoformat(episode(world)["nextAttemptAt"]) >= START + timedelta(days=20), "it brings nothing nearer"
    later(world, hours=12)
    assert episode(world)["attempt"] == 2


def test_nor_do_challengers_that_were_refused_for_good():
    world = drifting("0 16 * * *")
    world.model["status"]["episode"]["refusals"] = 4
    later(world, hours=1)
    assert world.model["status"]["waiting"]["reason"] == "ChallengersRefused"
    later(world, hours=1, minutes=1)
    assert episode(world)["askedBy"] == "Schedule"
    world.publish("second", data_since=START - SPAN, through=world.now)
    world.settle()
    record = next(o["spec"] for o in world.objects.values() if o["kind"] == "ModelRevision" and o["spec"]["number"] == 3)
    assert record["cause"] == "Schedule"


def test_what_failed_waits_out_its_backoff_whatever_the_clock_says():
    world = drifting("0 16 * * *")
    world.model["status"]["episode"] |= {"failures": 3, "nextAttemptAt": (START + timedelta(days=20)).isoformat()}
    later(world, hours=3)
    assert episode(world)["attempt"] == 1
