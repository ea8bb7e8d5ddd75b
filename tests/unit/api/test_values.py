"""What people write: durations, crons, addresses, names. Bad ones are refused by their form, at admission and here."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from stationkeeper.api import base
from stationkeeper.api.base import canonical_json, faults, parse_duration
from stationkeeper.api.crd import schema_of
from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.status import Decision, Measurement, ModelStatus, Quarantined
from stationkeeper.api.verdicts import CheckStatus, WindowVerdict

DURATIONS = {
    "0s": timedelta(0),
    "500ms": timedelta(milliseconds=500),
    "30s": timedelta(seconds=30),
    "15m": timedelta(minutes=15),
    "1h30m": timedelta(minutes=90),
    "6h": timedelta(hours=6),
    "365d": timedelta(days=365),
    "1d1d": timedelta(days=2),
    "999999d999999d": timedelta(days=2 * 999_999),
}
NO_DURATIONS = ["", "6", "h", "6 h", " 6h", "6h ", "6h\n", "-6h", "+6h", "1.5h", "6H", "1w", "1M", "1y", "6h,30m", "1e3s", "٣h"]


@pytest.mark.parametrize(("text", "meant"), DURATIONS.items())
def test_a_duration(text, meant):
    assert parse_duration(text) == meant
    assert TypeAdapter(base.Duration).validate_python(text) == text


@pytest.mark.parametrize("text", [*NO_DURATIONS, "1234567s"])
def test_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
    with pytest.raises(ValidationError):
        TypeAdapter(base.Duration).validate_python(text)


GOOD: dict[str, tuple[Any, list[str]]] = {
    "window": (base.WindowLength, ["1m", "60m", "1h", "24h", "7d", "99999d"]),
    "cron": (
        base.Cron,
        ["* * * * *", "*/15 * * * *", "0 3 * * 0", "0,30 9-17 * * MON-FRI", "5-59/15 * * * *", "0 0 1 JAN ?"],
    ),
    "S3 address": (
        base.S3Uri,
        ["s3://abc", "s3://my-bucket.eu/", "s3://models/flights/2013-01", "s3://b0b/a_b/c!d*'()=e"],
    ),
    "column": (base.ColumnName, ["a", "fare in $", "Zürich → Köln", " ", "x" * 128]),
    "digest": (base.Digest, ["sha256:" + "0" * 64, "sha256:" + "af" * 32]),
}
BAD: dict[str, tuple[Any, list[Any]]] = {
    "window": (
        base.WindowLength,
        ["", "0m", "1s", "90s", "1h30m", "100000m", "01h", "-1h", "1.5h", "1w", "1h\n", "hour", 60, None],
    ),
    "cron": (
        base.Cron,
        [
            "",
            "@daily",
            "every day",
            "* * * *",
            "* * * * * *",
            "*  * * * *",
            " * * * * *",
            "* * * * * ",
            "* * * * *\n",
            "*\t*\t*\t*\t*",
            "TZ=UTC * * * * *",
            "0 3 * * mon#2",
            "$(date) * * * *",
            "0 " * 60 + "0",
            5,
        ],
    ),
    "S3 address": (
        base.S3Uri,
        [
            "",
            "s3://",
            "s3:///key",
            "s3://ab",
            "s3://-ab",
            "s3://Bucket/x",
            "s3://buc_ket/x",
            "S3://bucket/x",
            "http://bucket/x",
            "bucket/x",
            "s3://bucket/a b",
            "s3://bucket/ü",
            "s3://bucket/x?y",
            "s3://bucket/x\n",
            "s3://bucket/" + "x" * 512,
            None,
        ],
    ),
    "column": (base.ColumnName, ["", "x" * 129, 1, None]),
    "digest": (
        base.Digest,
        ["", "0" * 64, "sha256:", "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "G" * 64, "SHA256:" + "0" * 64],
    ),
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, (_, texts) in GOOD.items() for text in texts])
def test_a_good_value_is_kept_as_it_is(name, text):
    assert TypeAdapter(GOOD[name][0]).validate_python(text) == text


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, (_, values) in BAD.items() for value in values])
def test_a_bad_value_is_refused(name, value):
    with pytest.raises(ValidationError):
        TypeAdapter(BAD[name][0]).validate_python(value)


TIMES = [
    (datetime(2026, 1, 5, 12, 0, tzinfo=UTC), "2026-01-05T12:00:00Z"),
    (datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC), "2026-01-05T12:00:00.250000Z"),
    (datetime(2026, 1, 5, 12, 0, tzinfo=timezone(timedelta(hours=2))), "2026-01-05T10:00:00Z"),
]


@pytest.mark.parametrize(("moment", "text"), TIMES)
def test_a_time_is_written_in_utc_and_read_back(moment, text):
    time = TypeAdapter(base.Time)
    assert time.dump_python(time.validate_python(moment), mode="json") == text
    assert time.validate_python(text) == moment


def test_the_same_value_has_the_same_bytes_whatever_the_order_of_its_keys():
    assert canonical_json({"b": 1, "a": [None, True, "ü"]}) == canonical_json({"a": [None, True, "ü"], "b": 1})
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_json_has_no_bytes(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": value})


def test_a_field_that_nobody_knows_is_refused_by_name():
    class Thing(base.ApiModel):
        max_rows: int = 1

    with pytest.raises(ValidationError, match="maxrows"):
        Thing.model_validate({"maxrows": 2})
    assert Thing.model_validate({"maxRows": 2}).wire() == {"maxRows": 2}


# -- what is left out of the wire --------------------------------------------------------------------------------------

AT = "2026-01-05T12:00:00Z"
DIGEST = "sha256:" + "0" * 64
FALLEN = {"digest": DIGEST, "reason": "it erred", "at": AT}
DECIDED = {
    "id": "1",
    "at": AT,
    "kind": "Promoted",
    "revision": 2,
    "digest": DIGEST,
    "uri": "s3://models/flights/decisions/1.json",
}
WINDOW = {"start": AT, "end": AT, "data": "Passed", "features": "Passed", "predictions": "InsufficientData"}
CHECKED = {"policyUID": "p", "policy": "watch", "policyDigest": DIGEST, "revisionDigest": DIGEST, "windows": [WINDOW]}
ZERO = {"number": 1, "requests": 0, "errors": 0}
SPARSE: list[tuple[type[base.Sparse], dict[str, Any], dict[str, Any]]] = [
    (Quarantined, FALLEN, {"promoted": False, "lifted": False, "templateDigest": None}),
    (Quarantined, FALLEN | {"lifted": True}, {"promoted": False}),
    (Decision, DECIDED, {"message": "", "measured": [], "reports": [], "images": [], "recorded": False, "trouble": None}),
    (Decision, DECIDED | {"steps": 0, "shift": 0.0, "measured": [ZERO]}, {"images": []}),
    (Measurement, ZERO, {"p95Seconds": None}),
    (WindowVerdict, WINDOW, {"rows": 0, "driftedShare": None, "calibrating": [], "message": ""}),
    (
        CheckStatus,
        CHECKED,
        {"quality": [], "skewed": [], "driftedBefore": False, "calibrating": "", "report": None, "columns": []},
    ),
]


@pytest.mark.parametrize(("type_", "said", "silent"), SPARSE)
def test_what_is_as_by_default_is_left_out_and_read_the_same(type_, said, silent):
    older = type_.model_validate(said | silent)  # as earlier versions wrote it
    assert older.wire() == said
    assert type_.model_validate(older.wire()) == older
    assert type_.model_validate_json(older.model_dump_json(by_alias=True)) == older
    assert set(older.model_dump()) < set(type_.model_fields), "by its own names too"


def test_the_api_server_does_not_write_it_down_again():
    status = ModelStatus.model_validate({"quarantine": [FALLEN], "decisions": [DECIDED], "checks": [CHECKED]})
    assert (status.wire()["quarantine"], status.wire()["decisions"], status.wire()["checks"]) == ([FALLEN], [DECIDED], [CHECKED])
    fields = schema_of(ModelStatus)["properties"]
    for name in ("quarantine", "decisions", "checks"):
        inside = fields[name]["items"]["properties"]
        assert [field for field, schema in inside.items() if "default" in schema] == []


def test_faults_name_fields_and_speak_plainly() -> None:
    spec = {
        "modelRef": {"name": "m"},
        "windw": "1h",
        "features": {"maxDriftedShare": 3},
        "segments": ["carrier"],
        "minSamples": "x",
    }
    with pytest.raises(ValidationError) as raised:
        DriftPolicySpec.model_validate(spec)
    told = faults(raised.value, "spec")
    assert "spec.features.maxDriftedShare: Input should be less than or equal to 1" in told
    assert "spec.segments.0: must be an object with fields of its own" in told
    assert told.endswith("; and 1 more")
    with pytest.raises(ValidationError) as raised:
        DriftPolicySpec.model_validate({"modelRef": {"name": "m"}, "windw": "1h"})
    assert faults(raised.value) == "windw: there is no such field"
