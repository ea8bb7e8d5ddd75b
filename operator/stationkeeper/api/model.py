"""The `Model`: serve this, keep it fresh, never ship a worse one."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stationkeeper.api.base import ApiModel, ColumnName, Duration, S3Uri, Tolerant, rules
from stationkeeper.api.serving import Serving
from stationkeeper.api.source import Source
from stationkeeper.api.status import ModelStatus
from stationkeeper.api.storage import Storage
from stationkeeper.api.training import Training


class TrainingLimit(ApiModel):
    max: Annotated[int, Field(ge=1, le=1000, description="Trainings at the most.")] = 4
    per: Annotated[Duration, Field(description="In this long.")] = "24h"


class Retraining(ApiModel):
    causes: Annotated[
        list[Literal["Drift", "Quality", "CodeChange", "Growth", "Schedule", "Source"]],
        Field(
            max_length=6,
            description="Causes that retrain without a person. A manual request is always heard. Growth: as much time has passed "
            "since the training as its rows span, then twice as much, and so on.",
        ),
    ] = ["Drift", "Quality", "CodeChange", "Growth", "Schedule", "Source"]
    cooldown: Annotated[
        Duration, Field(description="Time between the end of one training and the start of the next for drift or schedule.")
    ] = "6h"
    limit: Annotated[TrainingLimit, Field(description="How many trainings a period may see.")] = TrainingLimit()
    max_attempts: Annotated[
        int, Field(ge=1, le=20, description="Trainings that one drift may cause before people are asked.")
    ] = 4
    suspend: Annotated[bool, Field(description="Start no training for now.")] = False


class LabelSelection(ApiModel):
    """Labels that exist only where the model's answer allowed it, as a refused loan has no outcome."""

    column: Annotated[ColumnName, Field(description="The label's column that says whether the outcome could be seen.")]
    value: Annotated[str, Field(max_length=128, description="Its value where it could.")]


class Labels(ApiModel):
    """The truth that comes later: what the model should have answered."""

    uri: Annotated[S3Uri, Field(description="Prefix of the labels; every object under it with the format's suffix is read.")]
    format: Annotated[Literal["parquet", "csv", "ndjson"], Field(description="Format of those objects.")] = "parquet"
    key: Annotated[
        ColumnName,
        Field(
            description="Column with the request id; a column `row` beside it tells the rows of one request apart (0 without it)."
        ),
    ] = "request_id"
    column: Annotated[ColumnName | None, Field(description="Column with the label. Without it: the training's target.")] = None
    lag: Annotated[
        Duration, Field(description="A label counts once this long has passed since its request, however early it came.")
    ] = "1d"
    selection: Annotated[
        LabelSelection | None,
        Field(description="Where labels exist for a part of the answers only: quality is then told for that part, and says so."),
    ] = None


class Retention(ApiModel):
    """What may be deleted from storage. Without it everything stays; pods then need no right to delete."""

    artifacts: Annotated[
        Literal["Keep", "Sweep"],
        Field(
            description="Sweep: revisions without a record (see revisionHistoryLimit) lose their artifacts too. What serves, comes up, "
            "is pinned or on record never does."
        ),
    ] = "Keep"
    captured: Annotated[
        Duration | None,
        Field(
            description="Captured rows, which may be personal data, are deleted at this age; data.feedback learns from younger ones only. "
            "Without it they stay."
        ),
    ] = None
    reports: Annotated[
        Duration | None,
        Field(description="Drift reports of revisions that serve no more are deleted at this age. Without it they stay."),
    ] = None
    grace: Annotated[
        str,
        Field(
            pattern=r"^[1-9][0-9]{0,4}(h|d)$", max_length=6, description="Artifacts that are younger than this are never swept."
        ),
    ] = "7d"

    @property
    def sweeps(self) -> bool:
        """Whether anything is ever deleted."""
        return self.artifacts == "Sweep" or self.captured is not None or self.reports is not None


class ModelSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.training) != has(self.source)",
                "give exactly one of training and source",
            ),
            (
                "!has(self.training) || !has(self.training.data.feedback) || has(self.labels)",
                "training.data.feedback needs labels: captured requests without their answers teach nothing",
            ),
        )
    )

    storage: Annotated[Storage, Field(description="Where everything of this model is kept.")]
    serving: Annotated[Serving, Field(description="How it is served.")] = Serving()
    training: Annotated[Training | None, Field(description="How it is trained and judged; or source.")] = None
    source: Annotated[
        Source | None, Field(description="In place of training: a model that another pipeline makes, and where it publishes it.")
    ] = None
    labels: Annotated[
        Labels | None, Field(description="Where the true answers arrive later, for checks of quality and for feedback.")
    ] = None
    retraining: Annotated[Retraining, Field(description="When it is trained again.")] = Retraining()
    revision: Annotated[
        int | None,
        Field(
            ge=1,
            description="Serve exactly this revision: a rollback by Git. It freezes rollouts and every training that nobody asked for.",
        ),
    ] = None
    notify: Annotated[
        list[Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]],
        Field(max_length=8, description="Who is told of what happens: names of receivers in the operator's own configuration."),
    ] = []
    revision_history_limit: Annotated[
        int,
        Field(
            ge=2, le=100, description="Records of old revisions that are kept; retention says what becomes of their artifacts."
        ),
    ] = 10
    retention: Annotated[Retention, Field(description="What may be deleted from storage, and when.")] = Retention()

    @property
    def trained(self) -> Training:
        """How it is trained.

        Raises:
            ValueError: when it is not: another pipeline makes it.
        """
        if self.training is None:
            raise ValueError("spec.training is not set: another pipeline makes this model")
        return self.training

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.training is None) == (self.source is None):  # where no API server has checked the rule
            raise ValueError("give exactly one of training and source")
        return self


class Model(Tolerant):
    """A machine-learning model that is served, watched and kept fresh."""

    api_version: str = "stationkeeper.dev/v1alpha1"
    kind: Literal["Model"] = "Model"
    metadata: dict[str, Any]
    spec: ModelSpec
    status: ModelStatus = ModelStatus()
