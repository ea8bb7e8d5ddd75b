"""A revision in a store in memory, its traffic, and the check of it."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from stationkeeper.api.base import canonical_json, sha256
from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.manifest import FILE_PCA, FILE_REFERENCE
from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import put_blob
from stationkeeper.workloads.drift.components import fit_components
from stationkeeper.workloads.jobs.check_drift import check
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.drift import helpers

REFERENCE = helpers.reference(5_000)
NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
HEALTHY = helpers.profile(REFERENCE, 600).encode()
SHIFTED = helpers.profile(REFERENCE, 600, shift=2.0, shares=(0.1, 0.2, 0.3, 0.4)).encode()


def manifest(files: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schemaVersion": 1, "model": "ml/flights", "modelUid": "u", "number": 1, "classes": ["fine", "late"], "positiveLabel": "late", "cause": "Initial", "episode": "e", "attempt": 1,
        "templateDigest": "sha256:" + "0" * 64, "trainedAt": "2013-04-01T00:00:00Z", "estimator": "x", "seed": 1, "task": "binary",
        "features": [feature.wire() for feature in helpers.FEATURES], "target": "late", "format": "onnx", "files": dict(files),
        "data": {"uri": "s3://models/x", "objects": 1, "digest": "sha256:" + "0" * 64, "rows": 1},
        "evaluation": {"holdoutRows": 5000, "metrics": {"roc_auc": {"value": 0.72}}, "gates": [], "refit": "None"},
        "importance": {"temp": 0.7, "distance": 0.1, "carrier": 0.1, "holiday": 0.1},
    }  # fmt: skip


def sample(rows: int = 3_000, seed: int = 7) -> pl.DataFrame:
    """Rows of the training."""
    return helpers.frame(helpers.columns(rows, seed))


def prepared(
    with_reference: bool = True,
    *,
    number: int = 1,
    into: MemoryStore | None = None,
    extra: Mapping[str, bytes] | None = None,
    labels: Mapping[str, Any] | None = None,
    **policy: Any,
) -> tuple[MemoryStore, CheckConfig]:
    """A published revision and the check of it; `extra` are further files of the manifest, `into` a store that has others."""
    store = MemoryStore() if into is None else into
    files = {FILE_PCA: put_blob(store, fit_components(sample(), helpers.FEATURES).encode()).wire()}
    files |= {name: put_blob(store, data).wire() for name, data in (extra or {}).items()}
    if with_reference:
        files[FILE_REFERENCE] = put_blob(store, REFERENCE.encode()).wire()
    data = canonical_json(manifest(files) | {"number": number})
    digest = sha256(data)
    store.create(keys.manifest(digest), data)
    config = CheckConfig.model_validate(
        {
            "model": {"namespace": "ml", "name": "flights", "uid": "u"},
            "storage": {"uri": "s3://models/flights", "secretName": "s3"},
            "policy": "watch", "policyUid": "p-1", "policyDigest": "sha256:" + "a" * 64,
            "policySpec": helpers.policy(**policy).wire(),
            "revision": {"number": number, "digest": digest},
            "since": NOON,
            "labels": labels,
        }
    )  # fmt: skip
    return store, config


def keep_sample(store: MemoryStore, config: CheckConfig) -> None:
    store.put(keys.sample(config.revision.digest), parquet(sample()))


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def capture(store: MemoryStore, config: CheckConfig, slot: datetime, data: bytes = HEALTHY, pod: str = "pod-a") -> str:
    """Counts of one flush."""
    key = keys.profile(config.revision.digest, slot, pod, 0)
    store.put(key, data)
    return key


def answered(store: MemoryStore, config: CheckConfig, slot: datetime, rows: int = 600, seed: int = 1, **more: Any) -> str:
    """Counts and rows of one flush, as serving keeps them."""
    inputs = {name: column for name, column in more.items() if isinstance(column, pl.Series)}
    drawn = {name: value for name, value in more.items() if name not in inputs}
    capture(store, config, slot, helpers.profile(REFERENCE, rows, seed, **drawn).encode())
    frame = helpers.frame(helpers.columns(rows, seed, **drawn)).with_columns(**inputs)
    outputs = helpers.predictions(rows, seed)
    frame = frame.select(pl.all().name.prefix("input.")).with_columns(
        pl.Series("output.probability", outputs["probability"]),
        pl.Series("output.label", outputs["label"].tolist()),
        request_id=pl.int_range(rows).cast(pl.String) + f"-{slot:%H%M}",
        row=pl.lit(0, dtype=pl.UInt32),
        arrived_at=pl.lit(slot, dtype=pl.Datetime("us", "UTC")),
    )
    key = keys.capture(config.revision.digest, slot, "pod-a", 0)
    store.put(key, parquet(frame))
    return key


def reports(store: MemoryStore) -> dict[str, DriftReport]:
    found = {key: data for key, data in store.objects.items() if key.startswith("checks/") and key.endswith(".json")}
    return {key: DriftReport.model_validate_json(data) for key, data in found.items()}


def only_report(store: MemoryStore) -> DriftReport:
    (report,) = reports(store).values()
    return report


def told(store: MemoryStore, config: CheckConfig, now: datetime) -> list[tuple[str, str, int]]:
    return [(f"{w.start:%H:%M}", w.features.value, w.rows) for w in check(config, store, now).windows]
