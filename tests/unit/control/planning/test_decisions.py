"""Every decision leaves its evidence in storage, once, whatever dies on the way."""

import json

import pytest

from stationkeeper.api.jobs import RecordConfig
from stationkeeper.api.status import DecisionKind, TrainingOutcome
from stationkeeper.api.summary import FailureSummary
from tests.support.world import World, digest, policy
from tests.unit.control.planning.test_shadow import shadow_that_agrees, shadow_that_disagrees

DRIFT = ("Passed", "Breached", "Passed")
CANARY = {"strategy": "Canary", "steps": [{"weight": 50, "hold": "1m"}], "analysis": {"minRequests": 100}}


def decided(world: World) -> list[tuple[str, int, bool]]:
    return [(d["kind"], d["revision"], d.get("recorded", False)) for d in world.model["status"].get("decisions") or []]


def config_of(job: dict) -> RecordConfig:
    (record,) = job["spec"]["template"]["spec"]["containers"]
    assert record["name"] == "record"
    return RecordConfig.model_validate(json.loads(record["env"][0]["value"]))


def newest(world: World) -> RecordConfig:
    return config_of(world.record_jobs()[-1])


def canary(**rollout: object) -> World:
    """Revision 2 answers beside revision 1."""
    world = World(policies=(policy(),))
    world.serve_first()
    world.model["spec"]["serving"]["rollout"] = CANARY | rollout
    for job in world.record_jobs():
        world.end_record(job)
    world.settle()
    world.check(DRIFT, DRIFT)
    world.settle()
    world.advance(hours=2)
    world.settle()
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    return world


def test_the_first_revision_is_a_decision_too():
    world = World()
    world.serve_first()
    assert decided(world) == [("Promoted", 1, False)]
    (job,) = world.record_jobs()
    config = config_of(job)
    assert config.record is not None
    assert (config.record.number, config.record.digest) == (1, digest("first"))
    assert config.decision.approver is None
    world.end_record(job)
    world.settle()
    assert decided(world) == [("Promoted", 1, True)]
    uri = world.model["status"]["decisions"][0]["uri"]
    assert uri == f"s3://models/flights/decisions/{config.decision.at:%Y%m%dT%H%M%SZ}-{config.decision.id}.json"
    assert any("DecisionRecorded" in line and uri in line for line in world.transcript)


SAID = {
    "Promoted": "revision 1 was promoted",
    "Pinned": "revision 1 was pinned",
    "Rejected": "revision 1 was rejected",
    "RolledBack": "revision 1 was rolled back",
    "TrainingRefused": "revision 1 was refused by the gates",
}


@pytest.mark.parametrize("kind", DecisionKind)
@pytest.mark.parametrize("written", [True, False], ids=["written", "not written"])
def test_people_read_a_sentence_of_each_decision(kind, written):
    world = World()
    world.serve_first()
    world.model["status"]["decisions"][0]["kind"] = kind
    (job,) = world.record_jobs()
    world.end_record(job, None if written else FailureSummary(reason="StorageDenied", message="no right to write"))
    world.settle()
    (told,) = [line for line in world.transcript if "DecisionRecorded" in line or "DecisionNotRecorded" in line]
    where = f"the evidence is at {world.model['status']['decisions'][0]['uri']}"
    why = "the evidence is not in storage yet: StorageDenied: no right to write; it is tried again within the hour"
    assert f"{SAID[kind]}; {where if written else why}" in told


def test_a_promotion_tells_what_the_canary_measured():
    world = canary()
    world.answered(1, 4000, errors=2, late=0.1)
    world.answered(2, 2000, errors=1, seconds=0.004, late=0.2)
    world.advance(seconds=61)
    world.settle()
    world.ready(2)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 2
    decision = newest(world).decision
    assert (decision.kind, decision.revision, decision.steps) == ("Promoted", 2, 1)
    assert [(m.number, m.requests, m.errors) for m in decision.measured] == [(1, 4000, 2), (2, 2000, 1)]
    assert decision.measured[1].p95_seconds is not None
    assert decision.measured[1].p95_seconds <= 0.004
    assert decision.shift == pytest.approx(0.1)
    assert "2000 requests, 1 errors" in decision.message
    assert decision.reports == ["s3://models/flights/checks/newest.json"]


def test_a_canary_that_fails_is_rejected_with_what_it_did():
    world = canary()
    world.answered(1, 4000)
    world.answered(2, 1000, errors=300)
    world.advance(seconds=5)
    world.settle()
    assert decided(world)[-1] == ("Rejected", 2, False)
    decision = newest(world).decision
    assert [(m.number, m.errors) for m in decision.measured] == [(1, 0), (2, 300)]
    assert "300 of 1000 answers were server errors" in decision.message
    told = next(line for line in world.transcript if "CandidateFailed" in line)
    assert told.endswith(f"; evidence: {decision.uri}")


def test_a_refused_challenger_is_a_decision_about_its_record():
    world = World()
    world.serve_first()
    world.annotate(retrain="once")
    world.settle()
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused", "roc_auc 0.5 is below 0.6")
    world.settle()
    assert decided(world)[-1] == ("TrainingRefused", 2, False)
    config = newest(world)
    assert config.record is not None
    assert config.record.outcome == "Rejected"
    assert config.decision.message == "Manual, GateRefused: roc_auc 0.5 is below 0.6"


PEOPLE = [
    ("who said so by the command line", "ana@example.com {digest}", "ana@example.com"),
    ("who left no name", None, "somebody who may annotate the Model (stationkeeper.dev/rollback)"),
    ("a name left for another revision is not theirs", "ana@example.com sha256:" + "0" * 64, "somebody who may annotate"),
]


@pytest.mark.parametrize(("name", "by", "said"), PEOPLE, ids=[row[0] for row in PEOPLE])
def test_a_persons_decision_names_who_took_it(name, by, said):
    world = World()
    world.serve_first()
    world.annotate(retrain="once")
    world.settle()
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    world.advance(seconds=40)
    by = {"by": by.format(digest=digest("second"))} if by else {}
    world.annotate(rollback=digest("second"), **by)
    world.settle()
    world.ready(1)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 1
    assert decided(world) == [("Promoted", 1, False), ("Promoted", 2, False), ("RolledBack", 2, False)]
    assert world.model["status"]["decisions"][-1]["approver"].startswith(said)


def test_an_approved_promotion_names_its_approver():
    world = canary(approval="Manual")
    world.answered(1, 4000)
    world.answered(2, 2000)
    world.advance(seconds=61)
    world.settle()
    world.ready(2)
    world.settle()
    assert world.condition("RolloutProgressing")["reason"] == "WaitingForApproval"
    world.annotate(approve=digest("second"), by=f"ana {digest('second')}")
    world.settle()
    assert decided(world)[-1] == ("Promoted", 2, False)
    assert newest(world).decision.approver == "ana"


def test_a_pin_is_a_decision_of_the_spec():
    world = canary(strategy="BlueGreen")
    world.advance(minutes=2)
    world.settle()
    assert world.model["status"]["serving"]["number"] == 2
    world.model["spec"]["revision"] = 1
    world.edit("a pin")
    world.settle()
    world.ready(1)
    world.settle()
    assert decided(world)[-1] == ("Pinned", 1, False)
    assert newest(world).decision.approver == "spec.revision"


@pytest.mark.parametrize("writes", range(6))
def test_no_crash_loses_a_decision_or_takes_it_twice(writes):
    world = canary()
    world.answered(1, 4000)
    world.answered(2, 1000, errors=300)
    world.advance(seconds=5)
    world.step(crash_after=writes)
    world.step(crash_after=writes)
    world.settle()
    assert decided(world) == [("Promoted", 1, True), ("Rejected", 2, False)]
    decision = newest(world).decision
    assert decision.measured[1].errors == 300, "the pods have gone, and what they counted with them"
    assert len(world.record_jobs()) == 2
    assert config_of(world.record_jobs()[0]).decision.kind == "Promoted"


def test_what_could_not_be_written_is_told_and_tried_again():
    world = World()
    world.serve_first()
    (job,) = world.record_jobs()
    world.end_record(job, FailureSummary(reason="StorageDenied", message="cannot write"))
    world.settle()
    assert decided(world) == [("Promoted", 1, False)]
    assert world.model["status"]["decisions"][0]["trouble"] == "StorageDenied: cannot write"
    assert any("Warning DecisionNotRecorded" in line for line in world.transcript)
    world.remove(job)  # its time to live has passed
    world.settle()
    (again,) = world.record_jobs()
    assert again["metadata"]["name"] == job["metadata"]["name"]
    world.end_record(again)
    world.settle()
    assert decided(world) == [("Promoted", 1, True)]


def test_what_is_remembered_is_bounded_and_keeps_what_is_not_written_down():
    world = World()
    world.serve_first()  # its Job never ends
    for token in range(20):
        world.annotate(retrain=str(token))
        world.settle()
        world.finish_training(TrainingOutcome.REFUSED, "GateRefused", f"number {token}")
        world.advance(hours=25)
        world.settle()
        world.end_record(world.record_jobs()[-1])
        world.settle()
    remembered = decided(world)
    assert len(remembered) == 16
    assert remembered[0] == ("Promoted", 1, False)
    assert remembered[-1] == ("TrainingRefused", 21, True)


def test_a_lost_status_takes_no_decision_anew():
    world = World()
    world.serve_first()
    del world.model["status"]
    world.settle()
    assert decided(world) == []


@pytest.mark.parametrize("scenario", [shadow_that_agrees, shadow_that_disagrees])
def test_a_decision_after_a_shadow_names_the_comparison(scenario):
    decision = newest(scenario()).decision
    assert decision.kind in ("Promoted", "Rejected")
    assert decision.reports[0].startswith("s3://models/flights/shadow/"), decision.reports
