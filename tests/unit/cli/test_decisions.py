"""What people decide by the command line, and what they are told of decisions."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from stationkeeper.cli import main, rollout
from stationkeeper.cli.cluster import CommandError
from tests.support.world import World, digest, policy

RUNNER = CliRunner()


class Recorded:
    """A cluster with one Model, which takes down what it is told."""

    namespace = "ops"

    def __init__(self, model: dict[str, Any], revisions: tuple[dict[str, Any], ...] = ()) -> None:
        self._model, self._revisions = model, list(revisions)
        self.said: list[tuple[str, str | None]] = []

    def __call__(self, *_: Any) -> "Recorded":
        return self

    def model(self, _: str) -> dict[str, Any]:
        return self._model

    def revisions(self, _: str) -> list[dict[str, Any]]:
        return self._revisions

    def annotate(self, _: str, annotation: str, value: str | None) -> None:
        self.said.append((annotation, value))

    def decide(self, _: str, annotation: str, value: str) -> None:
        self.said.append((annotation, value))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    def made(world: World) -> Recorded:
        revisions = tuple(o for (kind, _), o in world.objects.items() if kind == "ModelRevision")
        found = Recorded(world.model, revisions)
        for module in (main, rollout):
            monkeypatch.setattr(module, "Cluster", found)
        return found

    return made


def run(*arguments: str) -> str:
    result = RUNNER.invoke(main.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rolled_back() -> World:
    world = World()
    world.serve_first()
    world.annotate(retrain="once")
    world.settle()
    world.publish("second")
    world.settle()
    world.ready(2)
    world.settle()
    world.advance(minutes=1)
    world.annotate(rollback=digest("second"), by=f"ana {digest('second')}")
    world.settle()
    return world


def test_decisions_are_listed_newest_first_with_who_and_where(cluster: Any) -> None:
    world = rolled_back()
    cluster(world)
    table = run("decisions", "flights").splitlines()
    assert [line.split()[1] for line in table[1:]] == ["RolledBack", "Promoted", "Promoted"]
    assert " ana " in table[1]
    assert "being written" in table[1]
    assert len(json.loads(run("decisions", "flights", "-o", "json"))) == 3
    for job in world.record_jobs():
        world.end_record(job)
    world.settle()
    cluster(world)
    assert "s3://models/flights/decisions/" in run("decisions", "flights")


def test_status_tells_windows_once_there_are_any(cluster: Any) -> None:
    world = World(policies=(policy(),))
    world.serve_first()
    cluster(world)
    assert "No window checked yet by policy watch" in run("status", "flights")
    world.check(("Passed", "Breached", "Passed"))
    world.settle()
    cluster(world)
    told = run("status", "flights")
    assert "Windows checked by policy watch (report: s3://" in told
    assert "data Passed, features Breached, predictions Passed" in told


def test_nothing_decided_yet(cluster: Any) -> None:
    cluster(World())
    assert "nothing has been decided yet" in run("decisions", "flights")


def test_a_refused_challenger_is_listed_as_such(cluster: Any) -> None:
    from stationkeeper.api.status import TrainingOutcome

    world = World()
    world.serve_first()
    world.annotate(retrain="once")
    world.settle()
    world.finish_training(TrainingOutcome.REFUSED, "GateRefused")
    world.settle()
    cluster(world)
    assert "Rejected (GateRefused)" in run("revisions", "flights")


def test_resume_lets_trainings_go_on_only_when_asked(cluster: Any) -> None:
    told = cluster(rolled_back())
    run("resume", "flights")
    run("resume", "--trainings", "flights")
    assert told.said == [("stationkeeper.dev/pause", None), ("stationkeeper.dev/resume", digest("second"))]


def test_resume_without_anything_held_says_so(cluster: Any) -> None:
    world = World()
    world.serve_first()
    cluster(world)
    with pytest.raises(CommandError, match="no rollback holds its trainings"):
        run("resume", "--trainings", "flights")
