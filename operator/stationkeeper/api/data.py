"""Rows with their labels: where they come from, what their columns mean, and what they must show before anything is learned."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, ColumnName, Duration, S3Uri, parse_duration, rules

DataFormat = Literal["parquet", "csv", "ndjson"]


class DataSource(ApiModel):
    """A further prefix of labelled data; its rows are added to those of `data.uri`."""

    uri: Annotated[S3Uri, Field(description="Prefix of the data, on the same server as storage.uri.")]
    format: Annotated[DataFormat, Field(description="Format of the objects under it.")] = "parquet"


class Feedback(ApiModel):
    """Captured requests become training rows once their labels (`spec.labels`) have matured."""

    sampling: Annotated[
        Literal["Even", "All"],
        Field(
            description="Where capture.sampleRate changed over time. Even: busier sampled stretches are thinned, so that each counts by its "
            "traffic. All: every captured row."
        ),
    ] = "Even"
    incidents: Annotated[
        Literal["LeaveOut", "Keep"],
        Field(description="Rows of windows in which a drift check found broken data: left out, or learned all the same."),
    ] = "LeaveOut"


class Validation(ApiModel):
    """What rows must show before anything is learned from them."""

    broken_columns: Annotated[
        Literal["Refuse", "Accept"],
        Field(
            description="Columns that look broken beside what the serving revision learned: empty, of another type or unit, constant. "
            "Accept: train, and only tell."
        ),
    ] = "Refuse"
    poisoned_labels: Annotated[
        Literal["Refuse", "Accept"],
        Field(
            description="Days or objects whose labels contradict all others: upside down, all the same, or without any relation to the "
            "inputs. Accept: train, and only tell."
        ),
    ] = "Refuse"
    max_duplicate_share: Annotated[
        float | None,
        Field(
            ge=0, le=1, description="Share of rows that repeat another in every column; more is refused. Without it: only told."
        ),
    ] = None


class Data(ApiModel):
    """Where training rows come from and what their columns mean."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.timestamp) || self.timestamp != self.target", "timestamp and target must be two columns"),
            ("!has(self.window) || has(self.timestamp)", "window needs timestamp: without it rows have no time"),
            ("!has(self.windows) || has(self.timestamp)", "windows need timestamp: without it rows have no time"),
            ("!has(self.window) || !has(self.windows)", "window is one, windows are several to choose from: give one of the two"),
            (
                "!has(self.windows) || self.windows.all(w, self.windows.exists_one(v, v == w))",
                "windows must differ: a second training on the same rows tells nothing",
            ),
            ("self.asOf != 'LatestRow' || has(self.timestamp)", "asOf: LatestRow needs timestamp"),
            (
                "!has(self.features) || !(self.target in self.features)",
                "features must not name the target: the model would learn the answer from itself",
            ),
            (
                "!has(self.features) || !has(self.timestamp) || !(self.timestamp in self.features)",
                "features must not name the timestamp: it only rises, so what is learned from it never comes again",
            ),
        )
    )

    uri: Annotated[
        S3Uri, Field(description="Prefix of the labelled data; every object under it with the format's suffix is read.")
    ]
    format: Annotated[DataFormat, Field(description="Format of those objects.")] = "parquet"
    sources: Annotated[
        list[DataSource],
        Field(
            max_length=16,
            description="Further prefixes whose rows are added. Columns of one name must be of one type everywhere.",
        ),
    ] = []
    feedback: Annotated[
        Feedback | None,
        Field(description="Learn from captured requests with their labels too ({} for the defaults); needs spec.labels."),
    ] = None
    target: Annotated[ColumnName, Field(description="Column to predict. Rows without it are left out and counted.")]
    timestamp: Annotated[
        ColumnName | None,
        Field(description="Column with the time of each row. With it the holdout is the newest part, without it a hash decides."),
    ] = None
    features: Annotated[
        list[ColumnName] | None,
        Field(
            min_length=1,
            max_length=1000,
            description="Columns the model may learn from. Without it: every column but target and timestamp, inferred at the first training.",
        ),
    ] = None
    positive_label: Annotated[
        str | None, Field(max_length=128, description="The class that counts as positive in binary metrics.")
    ] = None
    window: Annotated[
        Duration | None,
        Field(description="Train on the newest rows of this length, in the time of the data. Without it: on all."),
    ] = None
    windows: Annotated[
        list[Duration] | None,
        Field(
            min_length=2,
            max_length=4,
            description="Instead of window, several: a challenger is trained on each. The longest wins unless a shorter one is surely "
            "better on rows that none of them knows.",
        ),
    ] = None
    as_of: Annotated[
        Literal["Now", "LatestRow"],
        Field(
            description="Where the window ends: at the time of the training, or at the newest row (for replayed or archived data)."
        ),
    ] = "Now"
    max_rows: Annotated[
        int | None,
        Field(
            ge=1_000,
            le=1_000_000_000,
            description="Learn from at most so many labelled rows: the newest, or without timestamp a sample that stays the same.",
        ),
    ] = None
    min_new_rows: Annotated[
        int,
        Field(
            ge=0,
            le=10_000_000,
            description="A training for drift waits until this many labelled rows are newer than the serving revision's.",
        ),
    ] = 500
    validation: Annotated[Validation, Field(description="What rows must show before anything is learned.")] = Validation()

    @property
    def lengths(self) -> list[tuple[str, timedelta]]:
        """The windows to train on as they are written and as they are meant, shortest first; empty: all rows."""
        given = self.windows or ([self.window] if self.window else [])
        return sorted(((text, parse_duration(text)) for text in given), key=lambda window: window[1])

    @property
    def reach(self) -> timedelta | None:
        """How far back rows are wanted; None: as far as there are any."""
        return self.lengths[-1][1] if self.lengths else None
