"""What drift checks found: a verdict of each window, as a Model's status remembers it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from stationkeeper.api.base import Digest, Sparse, Time, Tolerant


class Verdict(StrEnum):
    """Missing evidence is never "no drift" and never "pass"."""

    PASSED = "Passed"
    BREACHED = "Breached"
    INSUFFICIENT_DATA = "InsufficientData"
    ERROR = "Error"


class WindowVerdict(Sparse):
    """What one closed window of traffic said, in each group of checks."""

    start: Annotated[Time, Field(description="Start of the window, inclusive.")]
    end: Annotated[Time, Field(description="End of the window, exclusive.")]
    data: Annotated[Verdict, Field(description="Verdict of schema and data quality.")]
    features: Annotated[Verdict, Field(description="Verdict of the features' distributions.")]
    predictions: Annotated[Verdict, Field(description="Verdict of the predictions' distribution.")]
    rows: Annotated[int, Field(ge=0, description="Rows in the window.")] = 0
    drifted_share: Annotated[float | None, Field(description="Share of the features that drifted, weighted by importance.")] = (
        None
    )
    calibrating: Annotated[
        list[Literal["features", "predictions"]],
        Field(
            max_length=2,
            description="Groups that breached while nobody knew what windows ordinarily differ by: what they show is observed only.",
        ),
    ] = []
    message: Annotated[str, Field(max_length=256, description="The finding in one sentence.")] = ""


class QualityVerdict(Sparse):
    """What the labels of one window said, once they had matured."""

    start: Annotated[Time, Field(description="Start of the window, inclusive.")]
    end: Annotated[Time, Field(description="End of the window, exclusive.")]
    verdict: Annotated[Verdict, Field(description="Verdict of the quality on labels.")]
    labels: Annotated[int, Field(ge=0, description="Matured labels that were joined.")] = 0
    score: Annotated[float | None, Field(description="The metric on them.")] = None
    skill: Annotated[
        float | None, Field(description="How far it lies above the best constant on the same rows: base rates move.")
    ] = None
    predecessor: Annotated[
        int | None, Field(description="Number of the revision that was asked too, while this one is on probation.")
    ] = None
    worse: Annotated[bool | None, Field(description="Whether this revision is surely worse than that one on the same rows.")] = (
        None
    )
    message: Annotated[str, Field(max_length=256, description="The finding in one sentence.")] = ""


class ColumnStatistic(Tolerant):
    """One of the columns of the newest window that lie the furthest from the reference."""

    name: Annotated[str, Field(max_length=128, description="The column.")]
    test: Annotated[str, Field(max_length=32, description="The statistic.")]
    statistic: Annotated[float, Field(description="Its value.")]
    threshold: Annotated[float, Field(description="Breached above this.")]


class RetiredCheck(Sparse):
    """What one policy still found of the revision that served before. It is told, and nothing is done about it."""

    revision_digest: Annotated[Digest, Field(description="That revision.")]
    windows: Annotated[list[WindowVerdict], Field(max_length=8, description="Its newest verdicts, oldest first.")] = []
    quality: Annotated[list[QualityVerdict], Field(max_length=8, description="Its newest verdicts on labels, oldest first.")] = []


class CheckStatus(Sparse):
    """The memory of one policy's checks on this model; hysteresis lives here."""

    policy_uid: Annotated[str, Field(alias="policyUID", max_length=64, description="UID of the DriftPolicy.")]
    policy: Annotated[str, Field(max_length=253, description="Its name.")]
    policy_digest: Annotated[Digest, Field(description="Digest of the spec that judged; another one starts a new history.")]
    revision_digest: Annotated[Digest, Field(description="The revision whose reference was compared with.")]
    windows: Annotated[list[WindowVerdict], Field(max_length=32, description="Newest verdicts, oldest first.")] = []
    quality: Annotated[
        list[QualityVerdict], Field(max_length=32, description="Newest verdicts on labels, oldest first; they come later.")
    ] = []
    features_matched: Annotated[
        Time | None, Field(description="Start of the first window whose features were as in the reference.")
    ] = None
    predictions_matched: Annotated[
        Time | None, Field(description="Start of the first window whose predictions were as in the reference.")
    ] = None
    skewed: Annotated[
        list[Literal["features", "predictions"]],
        Field(
            max_length=2,
            description="Groups that differed from the first judged window on, while the training's rows were new: skew. What they "
            "showed before they matched is no drift.",
        ),
    ] = []
    drifted_before: Annotated[
        bool,
        Field(
            description="The revision before had drifted when it was replaced: what differs from the start is that drift, not skew."
        ),
    ] = False
    matched_before: Annotated[
        list[Literal["features", "predictions"]],
        Field(
            max_length=2,
            description="Groups in which the revisions before had matched: of the same code, what differs from the start is no skew.",
        ),
    ] = []
    retired: Annotated[RetiredCheck | None, Field(description="What was still found of the revision before.")] = None
    calibrating: Annotated[
        str,
        Field(
            max_length=256,
            description="Why drift is observed only, and what ends that: it is not known yet what windows ordinarily differ by.",
        ),
    ] = ""
    columns: Annotated[
        list[ColumnStatistic],
        Field(max_length=10, description="The newest window's columns, the furthest from the reference first."),
    ] = []
    report: Annotated[str | None, Field(max_length=512, description="Where the newest report is.")] = None
    page: Annotated[str | None, Field(max_length=512, description="Where it is as a page for people.")] = None
