"""The `ModelRevision`: the immutable record of one trained model, published or refused by the gates."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, Digest, Time, Tolerant, rules
from stationkeeper.api.status import Cause

ClassName = Annotated[str, Field(max_length=128)]
MetricName = Annotated[str, Field(max_length=64)]


class RevisionOutcome(StrEnum):
    """What became of a trained model."""

    PUBLISHED = "Published"
    REJECTED = "Rejected"


class Champion(ApiModel):
    """The revision that it was compared with, on the same rows."""

    number: Annotated[int, Field(ge=1, description="Number of the champion.")]
    digest: Annotated[Digest, Field(description="Digest of the champion.")]
    metrics: Annotated[
        dict[MetricName, float], Field(max_length=32, description="The champion's scores on the challenger's holdout.")
    ] = {}
    shift: Annotated[
        dict[ClassName, float] | None,
        Field(
            max_length=16,
            description="What the gates saw its answers differ by: the share of rows that it gave a class, less the champion's share of "
            "the same rows, for the classes that moved most. A canary is measured from there.",
        ),
    ] = None


class ModelRevisionSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self == oldSelf", "a ModelRevision is the record of what was: it cannot be edited"),
            ("self.outcome != 'Published' || has(self.manifestURI)", "a published revision has a manifest"),
        )
    )

    model_name: Annotated[str, Field(max_length=40, description="The Model that it belongs to.")]
    number: Annotated[int, Field(ge=1, description="Its number, rising. A refused challenger has used up its own.")]
    outcome: Annotated[
        RevisionOutcome, Field(description="Published, or Rejected: the gates refused it, so that it never serves.")
    ] = RevisionOutcome.PUBLISHED
    reason: Annotated[str | None, Field(max_length=64, description="Why it was judged so, as one CamelCase word.")] = None
    message: Annotated[str | None, Field(max_length=1024, description="Why it was judged so, for people.")] = None
    digest: Annotated[
        Digest, Field(description="SHA-256 of its manifest: its identity. Of a rejected one, which has none: of its outcome.")
    ]
    manifest_uri: Annotated[
        str | None, Field(alias="manifestURI", max_length=1024, description="Where its manifest is. A rejected one has none.")
    ] = None
    outcome_uri: Annotated[
        str | None, Field(alias="outcomeURI", max_length=1024, description="Where the outcome of its training is.")
    ] = None
    cause: Annotated[Cause, Field(description="Why it was trained.")]
    episode: Annotated[str, Field(max_length=32, description="The episode that it answers.")]
    attempt: Annotated[int, Field(ge=1, description="The attempt of that episode.")]
    evidence: Annotated[str | None, Field(max_length=512, description="The report that caused it.")] = None
    template_digest: Annotated[Digest, Field(description="Digest of the training intent.")]
    data_digest: Annotated[Digest, Field(description="Digest of the rows it was trained on.")]
    data_since: Annotated[Time | None, Field(description="Time of the oldest row it knows.")] = None
    data_through: Annotated[Time | None, Field(description="Time of the newest row it knows.")] = None
    trained_at: Annotated[Time, Field(description="When its training ended.")]
    metrics: Annotated[dict[MetricName, float], Field(max_length=32, description="Its scores on its holdout.")] = {}
    champion: Annotated[Champion | None, Field(description="What it was compared with.")] = None


class ModelRevision(Tolerant):
    """The record of one trained model: what it is, why it came to be, how good it was, and why it was refused if it was."""

    api_version: str = "stationkeeper.dev/v1alpha1"
    kind: Literal["ModelRevision"] = "ModelRevision"
    metadata: dict[str, Any]
    spec: ModelRevisionSpec
