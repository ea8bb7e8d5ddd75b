"""A model that another pipeline makes: what is looked at, what is imported, and what never comes back."""

import json
from datetime import timedelta

import pytest

from stationkeeper.api.source import Source
from stationkeeper.api.status import SourceStatus, TrainingOutcome
from stationkeeper.api.summary import FailureSummary, SourceSummary
from stationkeeper.control.planning.published import fetched, seen
from tests.support import transcripts
from tests.support.world import START, World, digest, policy, sourced

BAD = {"outcome": TrainingOutcome.INVALID_DATA, "reason": "InvalidModel", "message": "it is not ONNX", "exit_code": 3}
REFUSED = {"outcome": TrainingOutcome.REFUSED, "reason": "GateRefused", "message": "roc_auc 0.5000 is below 0.6"}


def serving(file: str = "A") -> World:
    """Revision 1 serves, imported from a file."""
    world = World(sourced())
    world.settle()
    world.publish("first", file)
    world.settle()
    world.ready(1)
    world.settle()
    world.advance(minutes=5)
    world.look(file)
    world.settle()
    return world


def imports(world: World) -> int:
    """How many import Jobs were ever created."""
    return sum(" create Job flights-train-" in line for line in world.transcript)


def roll_out(world: World, number: int) -> None:
    world.settle()
    world.ready(number)
    world.settle()
    world.advance(seconds=60)
    world.settle()


def a_published_model() -> World:
    world = World(sourced())
    world.say("the Model is applied; nobody has looked at the source yet")
    world.settle()
    world.finish_training(**BAD, data_digest=digest("torn"))
    world.settle()
    world.advance(minutes=5)
    world.look("torn")
    world.settle()
    world.advance(minutes=5)
    world.look("A")
    world.settle()
    world.publish("first", "A")
    roll_out(world, 1)
    world.advance(minutes=5)
    world.look("A")
    world.settle()
    world.advance(minutes=5)
    world.look("weak")
    world.settle()
    world.finish_training(**REFUSED, data_digest=digest("weak"))
    world.settle()
    world.advance(minutes=5)
    world.look("weak")
    world.settle()
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    world.publish("second", "B")
    world.settle()
    world.crash_pod(3, FailureSummary(reason="ParityFailed", message="3 of 32 golden rows differ"), exit_code=3)
    world.settle()
    world.advance(minutes=5)
    world.look("A")
    world.settle()
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    world.annotate(retrain="again")
    world.settle()
    return world


def test_transcript(request):
    transcripts.check(a_published_model, request)


def _same(world):
    world.look("A")


def _other(world):
    world.look("B")


def _gone(world):
    world.look(None, "there is no file")


def _refused_before(world):
    world.look("B")
    world.settle()
    world.finish_training(**REFUSED, data_digest=digest("B"))
    world.settle()
    world.advance(minutes=5)
    world.look("B")


def _elsewhere(world):
    world.model["spec"]["source"]["uri"] = "s3://other/model.onnx"
    world.edit("the spec names another place")


def _elsewhere_seen(world):
    _elsewhere(world)
    world.settle()
    world.look("A")


def _taken_for_something_else(world):
    world.model["spec"]["source"]["features"] = [{"name": "x", "type": "Number"}]
    world.edit("the spec lists the columns")


def _looser_gate(world):
    world.model["spec"]["source"]["evaluation"] = {"uri": "s3://rows/x/", "gates": [{"metric": "roc_auc", "min": 0.1}]}
    world.edit("the spec names rows that judge")


def _not_wanted(world):
    world.model["spec"]["retraining"]["causes"] = ["Drift"]
    world.look("B")


def _drifted(world):
    world.policies.append(policy())
    world.settle()
    world.check(("Passed", "Breached", "Passed"), ("Passed", "Breached", "Passed"))


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param(_same, 0, id="the same file again: nothing"),
        pytest.param(_other, 1, id="another file: a candidate"),
        pytest.param(_gone, 0, id="the file has gone: what serves keeps serving"),
        pytest.param(_refused_before, 1, id="a refused file is not judged twice"),
        pytest.param(_elsewhere, 0, id="another place that nobody has looked at"),
        pytest.param(_elsewhere_seen, 0, id="the same file at another place: nothing"),
        pytest.param(_taken_for_something_else, 1, id="the same file with other columns: a candidate"),
        pytest.param(_looser_gate, 0, id="other gates import nothing"),
        pytest.param(_not_wanted, 0, id="Source is not among the causes"),
        pytest.param(_drifted, 0, id="drift would only bring the same file"),
    ],
)
def test_what_is_imported_beside_a_serving_revision(what, expected):
    world = serving()
    before = imports(world)
    world.advance(minutes=5)
    what(world)
    world.settle()
    assert imports(world) - before == expected
    assert world.condition("Ready")["status"] == "True"
    assert world.model["status"]["serving"]["number"] == 1
    assert world.condition("Drifted")["status"] == ("True" if what is _drifted else "Unknown")


def test_the_import_is_for_the_very_file_that_was_seen():
    world = serving()
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    assert world.model["status"]["episode"]["source"] == digest("B")
    assert f'"digest":"{digest("B")}"' in str(world.training_job())


def test_an_import_that_came_too_late_waits_and_the_next_file_is_not_held_by_it():
    world = serving()
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    world.finish_training(TrainingOutcome.INVALID_DATA, "InputChanged", "it is another file now", exit_code=3)
    world.settle()
    assert world.model["status"]["waiting"]["reason"] == "Backoff"
    world.advance(seconds=5)
    world.look("C")
    world.settle()
    assert world.model["status"]["episode"]["source"] == digest("C")
    assert world.model["status"]["episode"]["attempt"] == 1


def _another_format(world: World) -> None:
    world.advance(minutes=2)
    world.model["spec"]["source"]["format"] = "skops"
    world.edit("the file is of another format from now on")
    world.settle()


def _asked_for(world: World) -> str | None:
    """The digest that the newest import is for."""
    (container,) = world.training_job()["spec"]["template"]["spec"]["containers"]
    digest: str | None = json.loads(container["env"][0]["value"]).get("digest")
    return digest


def test_an_edit_of_what_the_file_is_takes_whatever_is_there_and_takes_it_once():
    """Another format mostly comes with another file, which nobody has looked at yet: to ask for the old one would be in vain."""
    world = serving()
    before = imports(world)
    _another_format(world)
    assert (imports(world) - before, _asked_for(world)) == (1, None)
    world.publish("second", "B")
    roll_out(world, 2)
    assert world.model["status"]["source"]["digest"] == digest("B"), "the import has looked, too"
    world.advance(minutes=3)
    world.look("B")
    world.settle()
    assert imports(world) - before == 1
    world.advance(minutes=5)
    world.look("A")
    world.settle()
    assert (imports(world) - before, _asked_for(world)) == (2, digest("A")), "the old file again is another file"


def test_an_edit_before_the_file_ends_in_vain_once_and_the_file_is_taken_when_it_is_seen():
    world = serving()
    before = imports(world)
    _another_format(world)
    world.finish_training(**BAD, data_digest=digest("A"))
    world.settle()
    world.advance(minutes=5)
    world.look("A")
    world.settle()
    assert imports(world) - before == 1
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    assert (imports(world) - before, _asked_for(world)) == (2, digest("B"))


def test_what_a_person_asked_for_is_not_undone_by_an_older_look():
    world = serving()
    world.advance(minutes=5)
    world.annotate(retrain="there is a new one")
    world.settle()
    before = imports(world)
    world.publish("second", "B")
    roll_out(world, 2)
    assert (imports(world), world.model["status"]["source"]["digest"]) == (before, digest("B"))


def test_a_look_that_saw_more_while_the_import_ran_counts():
    world = serving()
    _another_format(world)
    world.advance(minutes=1)
    world.look("C")
    world.settle()
    world.publish("second", "B")
    roll_out(world, 2)
    assert _asked_for(world) == digest("C")


def test_an_edit_does_not_bring_back_what_was_rolled_back():
    world = serving()
    _given_up(world, "ParityFailed")
    world.advance(minutes=5)
    world.look("A")
    world.settle()
    _another_format(world)
    assert _asked_for(world) is None
    (container,) = world.training_job()["spec"]["template"]["spec"]["containers"]
    (unwanted,) = json.loads(container["env"][0]["value"])["quarantined"]
    assert unwanted["dataDigest"] == digest("B")
    world.finish_training(TrainingOutcome.QUARANTINED, "Quarantined", data_digest=digest("B"))
    before = imports(world)
    world.settle()
    assert imports(world) == before
    assert world.model["status"]["waiting"]["reason"] == "Quarantined"
    world.annotate(retrain="a person wants it")
    world.settle()
    (container,) = world.training_job()["spec"]["template"]["spec"]["containers"]
    assert json.loads(container["env"][0]["value"])["quarantined"] == []


@pytest.mark.parametrize("rolled_back", ["while it comes up", "after its promotion"])
def test_a_file_that_was_rolled_back_does_not_come_back_when_its_record_has_gone(rolled_back):
    world = serving()
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    world.publish("second", "B")
    world.settle()
    if rolled_back == "while it comes up":
        world.annotate(reject=digest("second"))
    else:
        roll_out(world, 2)
        world.annotate(rollback=digest("second"))
    roll_out(world, 1)
    assert world.model["status"]["serving"]["number"] == 1
    assert world.model["status"]["quarantine"][0]["dataDigest"] == digest("B")
    for key in [key for key in world.objects if key[0] == "ModelRevision" and "-r2-" in key[1]]:
        del world.objects[key]
    before = imports(world)
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    assert imports(world) == before
    assert world.model["status"]["waiting"]["reason"] == "Quarantined"
    world.annotate(retrain="a person wants it")
    world.settle()
    assert imports(world) == before + 1


def _given_up(world: World, reason: str) -> None:
    """Revision 2 was made of the file B, and its pods end so."""
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    world.publish("second", "B")
    world.settle()
    world.crash_pod(2, FailureSummary(reason=reason, message="it does not serve"), exit_code=3)
    world.settle()
    assert world.model["status"]["quarantine"][0]["digest"] == digest("second")


def test_a_person_lets_a_quarantined_file_be_imported_again():
    world = serving()
    _given_up(world, "ParityFailed")
    world.advance(minutes=5)
    world.look("B")
    world.settle()
    assert world.model["status"]["waiting"]["reason"] == "Quarantined"
    before, first = imports(world), world.model["status"]["lastTraining"]["episode"]
    world.annotate(resume=digest("second"))
    world.settle()
    assert imports(world) == before + 1
    assert world.model["status"]["episode"]["source"] == digest("B")
    assert world.model["status"]["episode"]["id"] != first, "the outcome of the first import would only be repeated"


def test_a_revision_that_was_damaged_in_the_store_is_no_fault_of_its_file():
    world = serving()
    before = imports(world)
    _given_up(world, "DigestMismatch")
    assert imports(world) == before + 2
    assert world.model["status"]["episode"]["source"] == digest("B")


def test_the_first_import_does_not_wait_for_the_first_look_and_a_missing_file_is_taken_when_it_comes():
    world = World(sourced())
    world.settle()
    assert world.model["status"]["episode"]["cause"] == "Initial"
    world.finish_training(TrainingOutcome.INVALID_DATA, "NoData", "there is no file", exit_code=3)
    world.settle()
    world.advance(hours=3)
    world.look("A")
    world.settle()
    assert world.model["status"]["episode"]["source"] == digest("A")


def test_a_model_that_is_trained_here_from_now_on_is_not_looked_for_any_more():
    world = serving()
    world.model["spec"]["training"] = World().model["spec"]["training"]
    del world.model["spec"]["source"]
    world.edit("the team trains it here from now on")
    world.settle()
    assert [key for key in world.objects if key[0] == "CronJob"] == []
    assert world.model["status"]["episode"]["cause"] == "CodeChange"
    assert "source" not in world.model["status"]


def test_every_crash_between_two_writes_imports_each_file_once():
    def play(crash_after: int | None) -> World:
        world = World(sourced())

        def go() -> None:
            if crash_after is not None:
                world.step(crash_after)
            world.settle()

        go()
        world.publish("first", "A")
        go()
        world.ready(1)
        go()
        world.advance(minutes=5)
        world.look("B")
        go()
        world.publish("second", "B")
        go()
        world.ready(2)
        go()
        world.advance(minutes=5)
        world.look("B")
        go()
        return world

    straight = play(None)
    for crash in range(1, 6):
        again = play(crash)
        assert sorted(again.objects) == sorted(straight.objects)
        assert again.model["status"]["serving"] == straight.model["status"]["serving"]


def test_a_bad_schedule_is_named():
    world = World(sourced(schedule="61 * * * *"))
    world.settle()
    assert "spec.source.schedule" in world.condition("Stalled")["message"]


def _look(text: str | None, minutes: int, uri: str = "s3://bucket/m") -> SourceSummary:

    return SourceSummary(uri=uri, digest=digest(text) if text else None, seen_at=START + timedelta(minutes=minutes))


KNOWN = SourceStatus(uri="s3://bucket/m", digest=digest("A"), seen_at=START)


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        pytest.param(None, KNOWN, id="no look: what was known"),
        pytest.param(_look("A", 5), KNOWN, id="the same again writes nothing"),
        pytest.param(_look("B", -5), KNOWN, id="an older look that is read late"),
        pytest.param(_look("B", 5, "s3://bucket/other"), KNOWN, id="a look at another place"),
        pytest.param(
            _look("B", 5), SourceStatus(uri="s3://bucket/m", digest=digest("B"), seen_at=_look("B", 5).seen_at), id="new"
        ),
    ],
)
def test_what_is_remembered_of_looks(summary, expected):

    assert seen(Source(uri="s3://bucket/m", format="onnx"), KNOWN, summary) == expected


@pytest.mark.parametrize(
    ("before", "minutes", "expected"),
    [
        pytest.param(
            None, 5, SourceStatus(uri="s3://bucket/m", digest=digest("B"), seen_at=_look("B", 5).seen_at), id="the first"
        ),
        pytest.param(
            KNOWN, 5, SourceStatus(uri="s3://bucket/m", digest=digest("B"), seen_at=_look("B", 5).seen_at), id="another"
        ),
        pytest.param(KNOWN, -5, KNOWN, id="begun before the newest look"),
        pytest.param(
            KNOWN.model_copy(update={"digest": digest("B")}), 5, KNOWN.model_copy(update={"digest": digest("B")}), id="same"
        ),
    ],
)
def test_an_import_of_whatever_is_there_is_a_look(before, minutes, expected):
    assert fetched(before, "s3://bucket/m", digest("B"), START + timedelta(minutes=minutes)) == expected
