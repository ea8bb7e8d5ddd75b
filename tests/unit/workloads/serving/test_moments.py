"""When rows happened, as clients say it: texts with every offset, numbers in every unit, and what cannot be used."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stationkeeper.workloads.artifacts.captured import EARLY, LATE
from stationkeeper.workloads.serving.moments import SOURCES, Source, Told, moments

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
NOW = int(NOON.timestamp() * 1e6)
DAYS = st.datetimes(datetime(2026, 11, 24, 12, 0, 1), datetime(2026, 11, 27, 12, 4))


def read(datatype: str, values: Sequence[Any], now: int = NOW) -> list[datetime | Source]:
    """What one request says: a time, or why its arrival counts."""
    found = moments([Told(datatype, values)], [len(values)], np.full(len(values), now))
    sources = [SOURCES[code] for code in found.source.tolist()]
    assert all(at == now for at, source in zip(found.at.tolist(), sources, strict=True) if source is not Source.EVENT)
    times = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at) for at in found.at.tolist()]
    return [time if source is Source.EVENT else source for time, source in zip(times, sources, strict=True)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-27T11:30:10Z", "2026-11-27T11:30:10+00:00"),
        ("2026-11-27t11:30:10z", "2026-11-27T11:30:10+00:00"),
        ("2026-11-27 11:30", "2026-11-27T11:30:00+00:00"),
        ("2026-11-27", "2026-11-27T00:00:00+00:00"),
        ("20261127T113010+0530", "2026-11-27T06:00:10+00:00"),
        ("2026-11-27T11:30:10.123456789Z", "2026-11-27T11:30:10.123456+00:00"),
        ("2026-11-27T11:30:10,5-01", "2026-11-27T12:30:10.500000+00:00"),
        (" 2026-11-27T11:30:10 +00:00 ", "2026-11-27T11:30:10+00:00"),
        ("2026-11-26T23:59:60Z", "2026-11-27T00:00:00+00:00"),
        ("2026-11-27T00:30:00+01:00", "2026-11-26T23:30:00+00:00"),
    ],
)
def test_text_is_iso_8601(text: str, wanted: str) -> None:
    now = int(datetime(2026, 11, 27, 12, 30, tzinfo=UTC).timestamp() * 1e6)
    assert read("BYTES", [text], now) == [datetime.fromisoformat(wanted)]


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-02-30", "2026-13-01", "2026-11-27T24:00", "2026-11-27T11:60", "2026-11-27T11:30:61", "1764219910",
     "2026-11-27T11:30+24:00", "2026-11-27T11", "27.11.2026", "2026-W48-5", "2026-11-27T11:30:10Z and more", "٢٠٢٦-11-27"],
)  # fmt: skip
def test_other_text_is_unreadable(text: str) -> None:
    assert read("BYTES", [text]) == [Source.UNREADABLE]


@given(st.lists(st.tuples(DAYS, st.integers(-14 * 60, 14 * 60), st.sampled_from(["T", " "])), min_size=1))
def test_text_means_what_python_reads_in_it(told: list[tuple[datetime, int, str]]) -> None:
    times = [at.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes))) for at, minutes, _ in told]
    assert read("BYTES", [at.isoformat(sep) for at, (_, _, sep) in zip(times, told, strict=True)]) == times


@given(
    st.lists(DAYS, min_size=1),
    st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]),
    st.sampled_from(["INT64", "UINT64", "FP64"]),
)
def test_a_number_tells_its_unit_by_its_size(times: list[datetime], unit: int, datatype: str) -> None:
    whole = [at.replace(microsecond=0, tzinfo=UTC) for at in times]
    values = [int(at.timestamp()) * unit for at in whole]
    found = read(datatype, [float(v) for v in values] if datatype == "FP64" else values)
    assert all(isinstance(a, datetime) and abs(a - b) <= timedelta(microseconds=1) for a, b in zip(found, whole, strict=True))


def test_the_hour_that_comes_twice_when_summer_ends_is_two_hours() -> None:
    """Berlin, 25 October 2026: 02:30 comes at +02:00 and again at +01:00, an hour later."""
    berlin = ZoneInfo("Europe/Berlin")
    twice = [datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold) for fold in (0, 1)]
    now = int(datetime(2026, 10, 25, 3, tzinfo=UTC).timestamp() * 1e6)
    first, second = read("BYTES", [at.isoformat() for at in twice], now)
    assert (first, second) == (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC))


def test_what_cannot_be_used_gives_way_to_the_arrival() -> None:
    assert read("BYTES", [None, ""]) == [Source.MISSING] * 2
    assert read("FP64", [None, 1e300, -1e300]) == [Source.MISSING, Source.UNREADABLE, Source.UNREADABLE]
    assert read("FP32", [1.5, None]) == [Source.UNREADABLE] * 2, "a second of this century has no place in it"
    assert read("BOOL", [True]) == [Source.UNREADABLE]
    assert moments([None], [2], np.array([NOW, NOW])).told() == {Source.MISSING: 2}


def test_late_and_early_are_bounded_to_the_microsecond() -> None:
    edges = [NOW - int(LATE.total_seconds()) * 10**6, NOW + int(EARLY.total_seconds()) * 10**6]
    inside = read("INT64", edges)
    assert [at.timestamp() * 1e6 for at in inside if isinstance(at, datetime)] == edges
    assert read("INT64", [edges[0] - 1, edges[1] + 1]) == [Source.LATE, Source.EARLY]


def test_requests_of_every_kind_in_one_batch_keep_their_places() -> None:
    hour = NOW - 3_600_000_000
    told = [
        Told("BYTES", ["2026-11-27T11:00Z", "?"]),
        None,
        Told("FP64", [hour / 1e6]),
        Told("FP32", [1.0]),
        Told("BYTES", [None]),
    ]
    found = moments(told, [2, 1, 1, 1, 1], np.full(6, NOW))
    assert found.at.tolist() == [hour, NOW, NOW, hour, NOW, NOW]
    assert [SOURCES[code].value for code in found.source.tolist()] == [
        "event",
        "unreadable",
        "missing",
        "event",
        "unreadable",
        "missing",
    ]
    assert found.minutes.tolist() == [at // 60_000_000 * 60 for at in found.at.tolist()]
