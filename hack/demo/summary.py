"""What the demo shows in the end: the revisions, what drifted, and old against new on rows that neither has seen."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from sklearn.metrics import log_loss, roc_auc_score

from hack.demo import flights
from hack.demo.install import ARTIFACTS, MODEL, REPLAY_UNTIL
from stationkeeper.api.manifest import Manifest
from stationkeeper.workloads.artifacts import columns
from stationkeeper.workloads.artifacts.loading import load_model

_LATER = timedelta(days=30)


def revision_predictor(client: Any, digest: str) -> tuple[Manifest, Any]:
    """The manifest and the model of a revision, from the store."""

    def read(key: str) -> bytes:
        return bytes(client.get_object(Bucket=ARTIFACTS, Key=f"{MODEL}/{key}")["Body"].read())

    manifest = Manifest.model_validate_json(read(f"manifests/{digest.removeprefix('sha256:')}.json"))
    files = {name: read(f"blobs/{ref.digest.removeprefix('sha256:')}") for name, ref in manifest.files.items()}
    return manifest, load_model(manifest, files)


def later_rows(frame: pl.DataFrame, through: datetime) -> pl.DataFrame:
    """The flights of the thirty days after the newest row that the new revision learned from."""
    end = min(through + _LATER, REPLAY_UNTIL.astimezone(UTC) + _LATER)
    return flights.between(frame, through + timedelta(microseconds=1), end)


def scores(client: Any, digest: str, rows: pl.DataFrame) -> dict[str, float]:
    """ROC AUC and log loss of a revision on rows."""
    manifest, predictor = revision_predictor(client, digest)
    probabilities = predictor.predict(columns.from_frame(rows, manifest.features)).probabilities
    late = rows[flights.TARGET].to_numpy()
    positive = np.asarray(probabilities)[:, manifest.classes.index("true")]
    return {"roc_auc": float(roc_auc_score(late, positive)), "log_loss": float(log_loss(late, positive))}


def drifted_columns(client: Any, report: str | None) -> list[dict[str, Any]]:
    """The columns that the report (an s3:// URI) calls breached, with the largest excess first."""
    if not report:
        return []
    bucket, _, key = report.removeprefix("s3://").partition("/")
    columns_said = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())["columns"]
    breached = [c for c in columns_said if c["verdict"] == "Breached" and c["group"] == "features"]
    return sorted(
        ({key: c[key] for key in ("name", "test", "statistic", "threshold")} for c in breached),
        key=lambda c: c["statistic"] / max(c["threshold"], 1e-9),
        reverse=True,
    )


def quality(client: Any, record: dict[str, Any]) -> list[dict[str, Any]]:
    """What the labels said of a revision, window by window."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=ARTIFACTS, Prefix=f"{MODEL}/checks/")
    digest = record["digest"].removeprefix("sha256:")[:12]
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    keys = [key for key in keys if f"/{digest}/quality/" in key and key.endswith(".json")]
    reports = [json.loads(client.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read()) for key in sorted(keys)]
    return [{"revision": record["number"], "start": r["start"], **measured} for r in reports for measured in r["quality"]]


def build(client: Any, frame: pl.DataFrame, revisions: list[dict[str, Any]], traffic: dict[str, Any]) -> dict[str, Any]:
    """The summary as data."""
    published = [revision["spec"] for revision in revisions if revision["spec"].get("outcome") != "Rejected"]
    records = sorted(published, key=lambda spec: spec["number"])
    first, last = records[0], records[-1]
    rows = later_rows(frame, datetime.fromisoformat(last["dataThrough"]))
    before, after = scores(client, first["digest"], rows), scores(client, last["digest"], rows)
    return {
        "revisions": [
            {"number": r["number"], "cause": r["cause"], "digest": r["digest"], "metrics": r.get("metrics", {})} for r in records
        ],
        "requests": {"sent": traffic["sent"], "failed": traffic["failed"], "byRevision": traffic["revisions"]},
        "comparison": {
            "metric": "roc_auc",
            "rows": rows.height,
            "from": str(rows[flights.TIMESTAMP].min()),
            "until": str(rows[flights.TIMESTAMP].max()),
            "before": before["roc_auc"],
            "after": after["roc_auc"],
            "logLoss": {"before": before["log_loss"], "after": after["log_loss"]},
        },
        "quality": [measured for record in records for measured in quality(client, record)],
        "driftedColumns": drifted_columns(client, last.get("evidence")),
    }


def write(summary: dict[str, Any], path: Path) -> None:
    """The summary as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def show(console: Console, summary: dict[str, Any]) -> None:
    """The summary for people."""
    table = Table(title="Revisions", title_justify="left")
    for heading in ("revision", "cause", "digest", "holdout ROC AUC"):
        table.add_column(heading)
    for r in summary["revisions"]:
        auc = r["metrics"].get("roc_auc")
        table.add_row(str(r["number"]), r["cause"], r["digest"][7:19], f"{auc:.4f}" if auc is not None else "-")
    console.print(table)
    if summary["driftedColumns"]:
        table = Table(title="What drifted", title_justify="left")
        for heading in ("column", "test", "statistic", "threshold"):
            table.add_column(heading)
        for c in summary["driftedColumns"]:
            table.add_row(c["name"], c["test"], f"{c['statistic']:.3f}", f"{c['threshold']:.3f}")
        console.print(table)
    c = summary["comparison"]
    console.print(
        f"On the {c['rows']} flights from {c['from'][:10]} to {c['until'][:10]}, which neither revision has learned from:"
    )
    console.print(f"  ROC AUC   first revision {c['before']:.4f}   newest revision {c['after']:.4f}")
    console.print(f"  log loss  first revision {c['logLoss']['before']:.4f}   newest revision {c['logLoss']['after']:.4f}")
    console.print(f"Requests: {summary['requests']['sent']} sent, {summary['requests']['failed']} failed")
