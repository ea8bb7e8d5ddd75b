"""The `ModelRevision`: the immutable record of one trained model."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, Digest, Time, Tolerant, rules
from stationkeeper.api.status import Cause

MetricName = Annotated[str, Field(max_length=64)]


class Champion(ApiModel):
    """The revision that it was compared with, on the same rows."""

    number: Annotated[int, Field(ge=1, description="Number of the champion.")]
    digest: Annotated[Digest, Field(description="Digest of the champion.")]
    metrics: Annotated[
        dict[MetricName, float], Field(max_length=32, description="The champion's scores on the challenger's holdout.")
    ] = {}


class ModelRevisionSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(("self == oldSelf", "a ModelRevision is the record of what was: it cannot be edited"))
    )

    model_name: Annotated[str, Field(max_length=40, description="The Model that it belongs to.")]
    number: Annotated[int, Field(ge=1, description="Its number, rising.")]
    digest: Annotated[Digest, Field(description="SHA-256 of its manifest: its identity.")]
    manifest_uri: Annotated[str, Field(alias="manifestURI", max_length=1024, description="Where its manifest is.")]
    cause: Annotated[Cause, Field(description="Why it was trained.")]
    episode: Annotated[str, Field(max_length=32, description="The episode that it answers.")]
    attempt: Annotated[int, Field(ge=1, description="The attempt of that episode.")]
    evidence: Annotated[str | None, Field(max_length=512, description="The report that caused it.")] = None
    template_digest: Annotated[Digest, Field(description="Digest of the training intent.")]
    data_digest: Annotated[Digest, Field(description="Digest of the rows it was trained on.")]
    data_through: Annotated[Time | None, Field(description="Time of the newest row it knows.")] = None
    trained_at: Annotated[Time, Field(description="When its training ended.")]
    metrics: Annotated[dict[MetricName, float], Field(max_length=32, description="Its scores on its holdout.")] = {}
    champion: Annotated[Champion | None, Field(description="What it was compared with.")] = None


class ModelRevision(Tolerant):
    """The record of one trained model: what it is, why it came to be, and how good it was."""

    api_version: str = "stationkeeper.dev/v1alpha1"
    kind: Literal["ModelRevision"] = "ModelRevision"
    metadata: dict[str, Any]
    spec: ModelRevisionSpec
