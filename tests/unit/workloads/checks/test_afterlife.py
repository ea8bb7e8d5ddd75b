"""What a revision answered last is judged when another serves already, and never at the cost of that one."""

from datetime import timedelta

import pytest

from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.manifest import FILE_ESTIMATION
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import StoreDenied
from stationkeeper.workloads.checks.summary import MAX_BYTES, newest
from stationkeeper.workloads.jobs import check_drift
from stationkeeper.workloads.jobs.check_drift import check
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.checks.test_quality_windows import ASKED, LABELS, LAG, ROWS, known, label
from tests.unit.workloads.checks.world import HOUR, MINUTE, NOON, answered, prepared, reports

SWITCH = NOON + HOUR + 40 * MINUTE
LATER = NOON + 2 * HOUR + 3 * MINUTE


def switched() -> tuple[MemoryStore, MemoryStore, CheckConfig, CheckConfig]:
    """Revision 1 served from noon on, revision 2 since 13:40; also the check of revision 1 as it was."""
    policy = {"quality": ASKED, "minSamples": 200}
    store, before = prepared(extra={FILE_ESTIMATION: known()}, labels=LABELS, **policy)
    _, config = prepared(number=2, into=store, extra={FILE_ESTIMATION: known()}, labels=LABELS, **policy)
    retired = {**before.revision.wire(), "since": NOON, "until": SWITCH}
    config = CheckConfig.model_validate(config.wire() | {"since": SWITCH, "retired": retired})
    return store, MemoryStore(name="s3://labels/flights"), config, before


def test_the_last_windows_of_a_revision_are_judged_after_its_end() -> None:
    store, labels, config, before = switched()
    answered(store, before, NOON, ROWS, 1)
    answered(store, before, NOON + HOUR, ROWS, 2)
    answered(store, config, SWITCH, ROWS, 3)
    for hour, seed in ((0, 1), (1, 2)):
        label(labels, NOON + hour * HOUR, seed)
    early = check(config, store, LATER, labels).retired
    assert early is not None
    assert [(f"{w.start:%H:%M}", w.rows, w.features) for w in early.windows] == [
        ("12:00", ROWS, "Passed"),
        ("13:00", ROWS, "Passed"),
    ]
    assert early.quality == []
    late = check(config, store, NOON + 2 * HOUR + LAG + 3 * MINUTE, labels)
    assert late.retired is not None
    assert late.retired.revision_digest == before.revision.digest
    assert [(f"{q.start:%H:%M}", q.verdict, q.labels) for q in late.retired.quality] == [
        ("12:00", "Passed", ROWS),
        ("13:00", "Passed", ROWS),
    ]
    assert [(f"{w.start:%H:%M}", w.rows) for w in late.windows if w.rows] == [("13:00", ROWS)]
    shared = [r for r in reports(store).values() if r.start == NOON + HOUR and r.quality[0].method != "Labels"]
    assert sorted(r.notes[0] for r in shared) == [
        "revision 1 served until 2013-04-01T13:40:00Z: the window holds what it answered",
        "revision 2 has served since 2013-04-01T13:40:00Z: the window holds what it answered",
    ]
    assert len(late.encode()) <= MAX_BYTES


def test_what_it_answered_when_it_served_no_more_is_not_looked_for() -> None:
    store, labels, config, before = switched()
    answered(store, before, NOON + 2 * HOUR, ROWS, 1)  # rows that drained, or of a canary that came back
    found = check(config, store, NOON + 3 * HOUR + 3 * MINUTE, labels).retired
    assert found is not None
    assert found.windows == []


@pytest.mark.parametrize("trouble", ["its manifest is gone", "its reports may not be read", "a bug"])
def test_trouble_with_the_revision_before_costs_the_one_that_serves_nothing(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, labels, config, before = switched()
    answered(store, before, NOON, ROWS, 1)
    answered(store, config, SWITCH, ROWS, 3)
    if trouble == "its manifest is gone":
        del store.objects[keys.manifest(before.revision.digest)]
    if trouble == "its reports may not be read":
        digest = keys.hexadecimal(before.revision.digest)

        def deny(_operation: str, key: str) -> None:
            if digest in key:
                raise StoreDenied("no")

        store.before = deny
    if trouble == "a bug":
        monkeypatch.setattr(check_drift, "of_retired", lambda *_arguments: 1 / 0)
    summary = check(config, store, LATER, labels)
    assert summary.retired is None
    assert [w.features for w in summary.windows] == ["Passed"]


def test_a_crowded_message_leaves_out_the_revision_before_first() -> None:
    store, labels, config, before = switched()
    for hour in range(2):
        answered(store, before, NOON + hour * HOUR, ROWS, hour)
    long = config.model_copy(update={"since": NOON - 20 * HOUR})
    for hour in range(12):
        answered(store, long, NOON - timedelta(hours=hour), 600, hour, shift=2.0)
    check(long, store, LATER, labels)
    summary = check(long, store, LATER, labels)
    assert len(summary.encode()) <= MAX_BYTES
    assert summary.windows[-1].start == NOON + HOUR
    assert summary.retired is not None
    assert summary.retired.windows == []
    assert len(summary.windows) >= 6


@pytest.mark.parametrize(
    ("judged", "told"),
    [
        ("jjjjjjjjjjjj", "23456789ab"),
        ("jjjjjjjjjj......", "3456789def"),
        ("......jj......", "456789abcd"),
        ("............", "23456789ab"),
        ("j..............", "06789abcde"),
        ("j", "0"),
        ("", ""),
    ],
)
def test_silence_keeps_no_verdict_back(judged: str, told: str) -> None:
    found = newest(range(len(judged)), [letter == "j" for letter in judged])
    assert len(found) == min(len(judged), 10)
    assert "".join(f"{i:x}" for i in found) == told
