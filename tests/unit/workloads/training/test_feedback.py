"""Captured requests with their labels become training rows."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Manifest
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import is_sampled
from stationkeeper.workloads.artifacts.errors import NotFound, StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import load_manifest, publish_manifest
from stationkeeper.workloads.quality.feedback import Frozen, common_rate, gather
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.feedback import Fed
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod

LABELS = "s3://lake/labels/"
NOW = pod.START + timedelta(days=80)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], str]:
    """The objects of a published champion that knows days 0 to 39, and its digest."""
    store = MemoryStore()
    with threadpool_limits(1):
        summary = pod.train(tmp_path_factory.mktemp("first"), pod.rows(40), store)
    return store.objects, summary.digest or ""


class World:
    """A champion, what it captured, and labels that came for it."""

    def __init__(self, champion: tuple[dict[str, bytes], str], tmp: Path) -> None:
        self.artifacts, self.digest, self.tmp = MemoryStore(dict(champion[0])), champion[1], tmp
        self.labels = MemoryStore(name="s3://lake/labels")
        self.parts = 0

    def capture(
        self,
        rows: pl.DataFrame,
        rate: float = 1.0,
        digest: str | None = None,
        prefix: str = "r",
        lateness: timedelta | None = None,
    ) -> pl.DataFrame:
        """Capture rows as serving would, one object a day, by event time where they are late; returns them with their request ids."""
        digest = digest or self.digest
        rows = rows.with_columns(
            pl.format("{}{}-{}", pl.lit(prefix), pl.lit(self.parts), pl.int_range(pl.len())).alias("request_id")
        )
        kept = rows.filter(pl.Series([is_sampled(request, rate) for request in rows["request_id"].to_list()]))
        for day in kept.with_columns(pl.col("at").dt.date().alias("day")).partition_by("day", maintain_order=True):
            self.parts += 1
            captured = day.select(
                "request_id",
                pl.lit(0, pl.UInt32).alias("row"),
                (pl.col("at") + (lateness or timedelta())).alias("arrived_at"),
                *([pl.col("at").alias("event_at")] if lateness else []),
                pl.lit(digest).alias("revision"),
                pl.lit(rate).alias("sample_rate"),
                *(pl.col(name).cast(pl.Float64).alias(f"input.{name}") for name in ("x", "count")),
                *(pl.col(name).alias(f"input.{name}") for name in ("colour", "member")),
                pl.lit("true").alias("output.label"),
            )
            self.artifacts.objects[keys.capture(digest, day["at"][0], "pod", self.parts)] = pod.parquet(captured)
        return kept

    def label(self, rows: pl.DataFrame, name: str = "a.parquet", **columns: pl.Expr) -> None:
        """Write what rows should have been answered."""
        self.labels.objects[name] = pod.parquet(rows.select("request_id", "y").with_columns(**columns))

    def config(self, **changes: Any) -> TrainConfig:
        data = {"asOf": "Now", "feedback": {}, "minNewRows": 0} | changes.pop("data", {})
        base = {
            "cause": "Schedule",
            "episode": "e2",
            "revision": 2,
            "asOf": NOW,
            "champion": {"number": 1, "digest": self.digest},
        }
        labels = {"uri": LABELS, "lag": "1d"} | changes.pop("labels", {})
        return pod.config(data=data, labels=labels, **(base | changes))

    def gather(self, **changes: Any) -> Fed:
        config = self.config(**changes)
        manifest = load_manifest(self.artifacts, config.champion.digest) if config.champion else None
        return gather(config, manifest, self.artifacts, lambda _uri: self.labels, self.tmp / "captured")

    def pod(self, name: str, source: MemoryStore) -> pod.Pod:
        made = pod.Pod(self.tmp / name, self.artifacts, source)
        made.stores[LABELS] = self.labels
        return made


@pytest.fixture
def world(champion: tuple[dict[str, bytes], str], tmp_path: Path) -> World:
    return World(champion, tmp_path)


NEW = pod.rows(20, first=45, seed=1)


def test_captured_rows_with_labels_are_learned_beside_the_data(world: World) -> None:
    world.label(world.capture(NEW))
    source = MemoryStore({"a.parquet": pod.parquet(pod.rows(40))}, "s3://lake/rows")
    summary, _ = world.pod("1", source).run(world.config())
    assert isinstance(summary, TrainingSummary)
    assert summary.outcome is TrainingOutcome.PUBLISHED, summary.message
    assert "feedback: 400 of 400 captured rows have a label" in summary.message
    data = load_manifest(world.artifacts, summary.digest or "").data
    assert (data.rows, data.through) == (1200, NEW["at"].max())
    assert data.feedback is not None
    assert (data.feedback.captured, data.feedback.joined, data.feedback.used) == (400, 400, 400)


def test_rows_come_as_they_were_asked_with_time_and_truth(world: World) -> None:
    asked = world.capture(NEW)
    world.label(asked)
    wanted = asked.select("at", "x", pl.col("count").cast(pl.Float64), "colour", "member", "y").sort("at", maintain_order=True)
    found = world.gather().rows.select("at", "x", "count", "colour", "member", "y")
    assert found.sort("at", "x").equals(wanted.sort("at", "x"))


def test_rows_are_learned_at_the_time_of_their_event(world: World) -> None:
    """They came two days after it, half of them after the training's own time less the lag: their labels have matured all the same."""
    asked = world.capture(NEW, lateness=timedelta(days=2))
    plain = world.capture(pod.rows(2, first=66, seed=2), prefix="plain")
    world.label(pl.concat([asked, plain]))
    as_of = NEW["at"].max() + timedelta(days=1, hours=1)
    fed = world.gather(asOf=as_of)
    assert (fed.record.captured, fed.record.used) == (400, 400)
    assert fed.rows["at"].sort().to_list() == asked["at"].sort().to_list()
    both = world.gather(episode="e3")
    assert both.rows["at"].sort().to_list() == pl.concat([asked, plain])["at"].sort().to_list(), (
        "files of both kinds are one table"
    )


def test_a_window_with_broken_data_is_one_of_event_time(world: World) -> None:
    world.label(world.capture(NEW, lateness=timedelta(days=2)))
    day = pod.START + timedelta(days=45)
    report(world, day, "Breached")
    fed = world.gather()
    assert fed.record.incidents == 20
    assert fed.rows["at"].min() >= day + timedelta(days=1)


def told(fed: Fed) -> str:
    return "\n".join(fed.notes)


def test_every_captured_row_is_accounted_for(world: World) -> None:
    asked = world.capture(NEW)
    late = world.capture(pod.rows(2, first=79, seed=3))  # of the last day and a half: nobody knows what comes of them
    world.label(pl.concat([asked[:300], late]))
    world.label(asked[:10].with_columns(y=~pl.col("y")), "b.parquet")
    world.label(asked[10:20], "again.parquet")
    fed = world.gather()
    record = fed.record
    assert (record.captured, record.joined, record.unlabelled, record.conflicting, record.used) == (400, 290, 100, 10, 290)
    assert told(fed) == TOLD


TOLD = "feedback: 290 of 400 captured rows have a label; 100 have none yet; the labels of 10 disagree"


def test_labels_that_an_answer_selected_are_learned_as_that_part_and_said_so(world: World) -> None:
    asked = world.capture(NEW)
    world.label(asked, granted=(pl.int_range(pl.len()) < 150).cast(pl.String))
    fed = world.gather(labels={"selection": {"column": "granted", "value": "true"}})
    assert (fed.record.used, fed.record.unselected) == (150, 250)
    assert "learned from answers whose granted is 'true' only (250 others have no outcome)" in told(fed)


def test_labels_of_nobody_are_told(world: World) -> None:
    world.label(world.capture(NEW).with_columns(request_id=pl.lit("stranger")))
    fed = world.gather()
    assert fed.rows.is_empty()
    assert "is labels.key the request id?" in told(fed)


def test_without_captured_rows_there_is_nothing_to_add_and_that_is_told(world: World) -> None:
    fed = world.gather()
    assert fed.rows.is_empty()
    assert told(fed) == "feedback: no request was captured whose labels could have matured"


def report(world: World, start: datetime, verdict: str, created: int = 0, policy: str = "p1", digest: str = "a") -> None:
    end = start + timedelta(days=1)
    key = keys.check(policy, f"sha256:{digest * 64}", world.digest, start, end)
    seen = {"policyUid": policy, "createdAt": (end + timedelta(hours=created)).isoformat(), "data": verdict, "verdict": verdict}
    world.artifacts.objects[key] = json.dumps(seen).encode()


def test_windows_with_broken_data_are_left_out_and_named(world: World) -> None:
    world.label(world.capture(NEW))
    day = [pod.START + timedelta(days=45 + i) for i in range(6)]
    report(world, day[0], "Breached")
    report(world, day[1], "Breached")
    report(world, day[2], "Passed")
    report(world, day[3], "Breached", digest="a")
    report(world, day[3], "Passed", created=5, digest="b")  # the policy was mended
    report(world, day[4], "InsufficientData")
    world.artifacts.objects[keys.check("p1", "sha256:" + "a" * 64, world.digest, day[5], day[5] + timedelta(days=1))] = b"torn"
    fed = world.gather()
    assert (fed.record.used, fed.record.incidents) == (360, 40)
    assert "40 rows are left out, of windows with broken data: 2013-02-15T00:00:00Z to 2013-02-17T00:00:00Z" in told(fed)
    kept = world.gather(episode="e3", data={"feedback": {"incidents": "Keep"}})
    assert kept.record.used == 400


def test_stretches_sampled_at_different_rates_count_by_their_traffic(world: World) -> None:
    thin = world.capture(pod.rows(20, per_day=60, first=41, seed=4), rate=0.25)
    dense = world.capture(pod.rows(15, per_day=60, first=62, seed=5), rate=1.0)
    world.label(pl.concat([thin, dense]))
    even = world.gather()
    expected = [is_sampled(request, 0.25) for request in dense["request_id"].to_list()]
    assert even.record.used == thin.height + sum(expected)
    assert even.record.thinned == dense.height - sum(expected)
    assert "so that stretches sampled at different rates count by their traffic" in told(even)
    assert world.gather(episode="e3", data={"feedback": {"sampling": "All"}}).record.used == thin.height + dense.height


def test_a_short_stretch_that_was_sampled_thinly_thins_nothing() -> None:
    assert common_rate(pl.Series([0.01] + [1.0] * 2000)) == 1.0
    assert common_rate(pl.Series([0.1] * 10 + [1.0] * 900)) == 0.1
    assert common_rate(pl.Series([0.5] * 10)) == 0.5


def test_a_retried_pod_learns_the_same_rows(world: World) -> None:
    asked = world.capture(NEW)
    world.label(asked[:300])
    first = world.gather()
    world.label(world.capture(pod.rows(5, first=70, seed=6)), "later.parquet")
    world.label(asked[300:], "newer.parquet")
    report(world, pod.START + timedelta(days=45), "Breached")
    again = world.gather()
    assert again.rows.equals(first.rows)
    assert again.digest == first.digest
    assert world.gather(attempt=2).rows.height == 300 - 20 + 100 + 100


@pytest.mark.parametrize("change", ["a label changed", "a label has gone", "a capture has gone"])
def test_what_was_frozen_must_still_be_there(world: World, change: str) -> None:
    asked = world.capture(NEW)
    world.label(asked)
    world.gather()
    if change == "a label changed":
        world.label(asked.with_columns(y=~pl.col("y")))
    elif change == "a label has gone":
        world.labels.objects.clear()
    else:
        del world.artifacts.objects[min(key for key in world.artifacts.objects if key.startswith("capture/"))]
    with pytest.raises(AttemptEnded) as ended:
        world.gather()
    assert ended.value.reason == "InputChanged"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pod_that_dies_while_it_freezes_is_made_good_by_the_next(world: World, when: str) -> None:
    world.label(world.capture(NEW))

    def die(operation: str, key: str) -> None:
        if operation == "create" and key.endswith("feedback.json"):
            raise StoreUnavailable("the network is gone")

    setattr(world.artifacts, when, die)
    with pytest.raises(StoreUnavailable):
        world.gather()
    setattr(world.artifacts, when, lambda _operation, _key: None)
    assert world.gather().record.used == 400
    assert Frozen.model_validate_json(world.artifacts.objects[keys.feedback("e2", 1)]).older == 0


def test_a_capture_that_is_swept_while_it_is_read_is_no_silent_loss(world: World) -> None:
    world.label(world.capture(NEW))

    def sweep(operation: str, key: str) -> None:
        if operation == "get" and key.startswith("capture/"):
            raise NotFound("swept")

    world.artifacts.before = sweep
    with pytest.raises(AttemptEnded, match="has gone since this attempt froze it"):
        world.gather()


def test_a_damaged_capture_costs_its_own_rows_only(world: World) -> None:
    world.label(world.capture(NEW))
    first = min(key for key in world.artifacts.objects if key.startswith("capture/"))
    world.artifacts.objects[first] = b"torn"
    fed = world.gather()
    assert fed.record.used == 380
    assert "feedback: 1 of 20 objects with captured rows cannot be read and are left out" in told(fed)


def other(world: World, change: Callable[[Manifest], dict[str, Any]]) -> str:
    manifest = load_manifest(world.artifacts, world.digest)
    return publish_manifest(world.artifacts, manifest.model_copy(update={"number": 7} | change(manifest)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: {"features": m.features[1:]}, "rows captured under revision 7 are left out: they lack 'x'"),
        (lambda m: {"target": "z"}, "rows captured under revision 7 are left out: it predicts another target"),
    ],
)
def test_rows_of_a_revision_that_asked_another_question_are_left_out(
    world: World, change: Callable[[Manifest], dict[str, Any]], says: str
) -> None:
    mine = world.capture(NEW)
    theirs = world.capture(pod.rows(3, first=70, seed=7), digest=other(world, change))
    world.label(pl.concat([mine, theirs]))
    fed = world.gather()
    assert fed.record.used == 400
    assert says in told(fed)


def test_rows_of_a_revision_that_was_swept_are_left_out_and_told(world: World) -> None:
    world.label(pl.concat([world.capture(NEW), world.capture(pod.rows(3, first=70, seed=7), digest=f"sha256:{'f' * 64}")]))
    fed = world.gather()
    assert fed.record.used == 400
    assert f"the rows captured under {'f' * 12} are left out: cannot read s3://test/model/manifests/" in told(fed)


def test_rows_of_every_revision_count_and_one_request_counts_once(world: World) -> None:
    second = other(world, lambda _: {})
    mine = world.capture(NEW)
    world.parts = 0  # the same request ids again
    world.capture(NEW, digest=second)
    later = world.capture(pod.rows(3, first=70, seed=7), digest=second, prefix="s")
    world.label(pl.concat([mine, later]))
    assert world.gather().record.used == 460


def test_labels_that_cannot_be_read_end_the_attempt(world: World) -> None:
    world.capture(NEW)
    world.labels.objects["a.parquet"] = b"torn"
    with pytest.raises(AttemptEnded) as ended:
        world.gather()
    assert ended.value.reason == "MalformedLabels"
    assert "s3://lake/labels/a.parquet" in ended.value.message


def test_feedback_without_labels_is_a_wrong_spec(world: World) -> None:
    config = world.config().model_copy(update={"labels": None})
    source = MemoryStore({"a.parquet": pod.parquet(pod.rows(40))}, "s3://lake/rows")
    summary, code = world.pod("1", source).run(config)
    assert isinstance(summary, TrainingSummary)
    assert (summary.reason, code) == ("InvalidSpec", 3)


def test_only_requests_inside_the_window_are_learned(world: World) -> None:
    world.label(world.capture(NEW))
    assert world.gather(data={"window": "20d"}).record.captured == 100
