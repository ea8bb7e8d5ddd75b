"""The anchor: who of the earlier revisions no challenger may fall below."""

import json
from datetime import UTC, datetime

import pytest

from stationkeeper.api.meta import ENV_CONFIG
from stationkeeper.api.revision import Champion, ModelRevisionSpec
from stationkeeper.api.status import Cause
from stationkeeper.control.planning.anchor import anchor
from tests.support.world import World, digest
from tests.unit.control.planning.test_rollout import answering

# Of each revision: its own score, and that of the one before it on the same rows.
Line = list[tuple[float, float] | None]


def line(scores: Line, metric: str = "roc_auc") -> list[ModelRevisionSpec]:
    """Revisions 1, 2, ..., each the champion of the next; None: it was compared with nobody."""
    records: list[ModelRevisionSpec] = []
    for number, pair in enumerate(scores, 1):
        champion = None
        if pair and records:
            champion = Champion(number=number - 1, digest=records[-1].digest, metrics={metric: pair[1]})
        record = ModelRevisionSpec(
            model_name="flights",
            number=number,
            digest=digest(str(number)),
            manifest_uri="s3://models/m.json",
            cause=Cause.SCHEDULE,
            episode="e",
            attempt=1,
            template_digest=digest("t"),
            data_digest=digest("d"),
            trained_at=datetime(2013, 1, 1, tzinfo=UTC),
            metrics={metric: pair[0]} if pair else {},
            champion=champion,
        )
        records.append(record)
    return records


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param([], None, id="nothing serves"),
        pytest.param([None], None, id="the first has no other"),
        pytest.param([None, (0.7, 0.6)], None, id="each gained: the champion is the best"),
        pytest.param([None, (0.69, 0.7)], 1, id="the last one lost a little"),
        pytest.param([None, (0.7, 0.6), (0.69, 0.7), (0.79, 0.8)], 2, id="two small losses after a gain"),
        pytest.param([None, (0.69, 0.7), (0.692, 0.69), (0.68, 0.69)], 1, id="a small gain between losses does not hide them"),
        pytest.param([None, (0.69, 0.7), (0.8, 0.69), (0.79, 0.8)], 3, id="a large gain does"),
        pytest.param([None, (0.7, 0.7)], None, id="a tie stands no higher"),
        pytest.param([None, (0.5, 0.9), None, (0.69, 0.7)], 3, id="who was compared with nobody ends the line"),
    ],
)
def test_who_stands_highest_along_the_line(scores: Line, expected: int | None) -> None:
    records = line(scores)
    found = anchor(records[-1] if records else None, records, (), "roc_auc")
    assert (found.number if found else None) == expected


def test_a_quarantined_revision_is_no_anchor_but_stands_in_the_line() -> None:
    records = line([None, (0.69, 0.7), (0.6, 0.69)])
    assert anchor(records[-1], records, {records[1].digest}, "roc_auc") == records[0]
    assert anchor(records[-1], records, {records[0].digest}, "roc_auc") == records[1]


def test_what_is_not_retained_ends_the_line() -> None:
    records = line([None, (0.69, 0.7), (0.68, 0.69)])
    assert anchor(records[-1], records[1:], (), "roc_auc") == records[1]
    assert anchor(records[-1], records[2:], (), "roc_auc") is None


def test_another_metric_tells_nothing() -> None:
    records = line([None, (0.69, 0.7)], metric="accuracy")
    assert anchor(records[-1], records, (), "roc_auc") is None


def config(world: World, number: int) -> dict:
    """What the newest training pod is told."""
    jobs = [o for (kind, name), o in world.objects.items() if kind == "Job" and "-train-" in name]
    env = [v for j in jobs for v in j["spec"]["template"]["spec"]["initContainers"][0]["env"] if v["name"] == ENV_CONFIG]
    return next(c for c in map(json.loads, (v["value"] for v in env)) if c["revision"] == number)


@pytest.mark.parametrize(("champion_scored", "told"), [(0.72, 1), (0.68, None)])
def test_the_training_is_told_of_it(champion_scored: float, told: int | None) -> None:
    world = World()
    world.serve_first()
    for number, text in ((2, "second"), (3, "third")):
        world.advance(days=1)
        world.annotate(retrain=text)
        world.settle()
        if number == 3:
            break
        world.publish(text, champion_metrics={"roc_auc": champion_scored})
        world.settle()
        world.ready(number)
        world.settle()
        world.advance(minutes=5)
        world.settle()
        assert answering(world) == "2"
    found = config(world, 3)
    assert found["champion"] == {"number": 2, "digest": digest("second")}
    assert found.get("anchor") == ({"number": 1, "digest": digest("first")} if told else None)
