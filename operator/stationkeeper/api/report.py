"""The drift report: the evidence of one window, stored as JSON. Every part is bounded."""

from typing import Annotated, Literal

from pydantic import Field

from stationkeeper.api.base import Digest, Time, Tolerant
from stationkeeper.api.manifest import Score
from stationkeeper.api.verdicts import Verdict

MAX_BARS = 24  # of a histogram, missing values included


class Threshold(Tolerant):
    """The parts of a calibrated threshold; the largest decides."""

    noise: float  # what sampling alone gives
    variation: float  # what ordinary stretches of the reference differ by
    effect: float  # what is worth an alarm


class ColumnResult(Tolerant):
    """One statistic of one column."""

    name: str
    group: Literal["features", "predictions"]
    test: str
    statistic: float | None = None
    threshold: float | None = None
    calibrated: bool  # the threshold was computed from sampling noise, not given
    parts: Threshold | None = None  # of a calibrated threshold
    p_value: float | None = None  # how often chance alone gives as much; None where nobody knows
    importance: float | None = None  # share of the model's score that the feature carries
    verdict: Verdict
    message: str = ""


class Histogram(Tolerant):
    """Shares of the reference and of the window in the same bins, missing values last."""

    name: str
    group: Literal["features", "predictions"]
    kind: Literal["numeric", "categorical"]
    bins: Annotated[list[str], Field(max_length=MAX_BARS)]  # "< 3.5", "3.5 to 7", "AA", "unseen", "missing"
    reference: Annotated[list[float], Field(max_length=MAX_BARS)]
    current: Annotated[list[float], Field(max_length=MAX_BARS)]


class Violation(Tolerant):
    """One breach of schema or data quality, typed as SageMaker Model Monitor types them where it has a word."""

    type: Literal[
        "missing_column",
        "extra_column",
        "data_type",
        "completeness",
        "unseen_category",
        "out_of_range",
        "unit_change",
        "constant_column",
        "duplicate_rows",
        "baseline_drift",
    ]
    column: str
    observed: str
    expected: str


class MultivariateResult(Tolerant):
    """A test of all columns together."""

    test: Literal["DomainClassifier", "PCAReconstruction"]
    statistic: float | None = None
    threshold: float | None = None
    reference_rows: int
    current_rows: int
    columns: Annotated[list[str], Field(max_length=10)] = []  # that tell the samples apart the most
    verdict: Verdict
    message: str = ""


class SegmentResult(Tolerant):
    """The features of one value of one column."""

    column: str
    value: str
    rows: int
    drifted_share: float | None = None
    columns: Annotated[list[ColumnResult], Field(max_length=20)] = []  # that drifted, the strongest first
    verdict: Verdict
    message: str = ""


class LabelCounts(Tolerant):
    """What became of the labels of a window."""

    requests: int = 0  # captured rows
    joined: int = 0
    missing: int = 0  # rows without a label
    duplicate: int = 0  # labels that say the same again
    conflicting: int = 0  # rows whose labels disagree: left out
    late: int = 0  # came after the lag, counted where known
    unselected: int = 0  # outcomes that could not be seen
    unknown: int = 0  # labels of no captured row


class Beside(Tolerant):
    """The predecessor's metric on the same rows."""

    number: int  # of the predecessor
    score: Score
    drop: Score  # predecessor - serving revision, paired
    worse: bool  # the serving revision is surely worse


class QualityResult(Tolerant):
    """The metric on labels, or its estimate before they come."""

    metric: str
    method: Literal["Labels", "CBPE", "DLE"]
    score: Score | None = None
    expected: Score | None = None  # on the revision's holdout
    skill: float | None = None  # score above that of a constant predictor on the same rows
    threshold: float | None = None
    predecessor: Beside | None = None  # while the revision is on probation
    labels: LabelCounts = LabelCounts()
    segment: str | None = None  # "carrier = AA"
    withheld: str | None = None  # why an estimate is not given
    verdict: Verdict
    message: str = ""


class QualityPoint(Tolerant):
    """One earlier window in the course of quality."""

    start: Time
    method: Literal["Labels", "CBPE", "DLE"]
    score: Score
    skill: float | None = None  # that above a constant predictor on the same rows: base rates move


class Calibrating(Tolerant):
    """A group whose calibrated thresholds know of sampling noise only, not of what windows ordinarily differ by."""

    group: Literal["features", "predictions"]
    message: Annotated[str, Field(max_length=256)]  # why, and what ends it
    breached: bool  # by such thresholds alone: it is observed, and nothing is done about it


class DriftReport(Tolerant):
    schema_version: Literal[1, 2] = 2
    model: str  # namespace/name
    policy: str
    policy_uid: str
    policy_digest: Digest
    revision: int
    revision_digest: Digest
    start: Time
    end: Time
    created_at: Time
    rows: int
    reference_rows: int
    baseline: str = "the rows that the revision learned from"
    verdict: Verdict
    data: Verdict
    features: Verdict
    predictions: Verdict
    drifted_share: float | None = None
    message: str
    action: str = ""  # what the policy does about it, in one sentence
    calibrating: Annotated[list[Calibrating], Field(max_length=2)] = []
    columns: list[ColumnResult] = []
    histograms: Annotated[list[Histogram], Field(max_length=1064)] = []
    violations: list[Violation] = []
    multivariate: list[MultivariateResult] = []
    segments: list[SegmentResult] = []
    quality: list[QualityResult] = []
    history: Annotated[list[QualityPoint], Field(max_length=64)] = []
    notes: Annotated[list[str], Field(max_length=32)] = []  # what could not be checked, and why


class Differing(Tolerant):
    """A row to which two revisions answered differently."""

    request_id: str
    row: int
    stable: str
    candidate: str


class ShadowReport(Tolerant):
    """The evidence of a shadow: what a candidate answered to what the stable revision was asked, stored as JSON."""

    schema_version: Literal[1] = 1
    model: str  # namespace/name
    stable: int
    stable_digest: Digest
    candidate: int
    candidate_digest: Digest
    since: Time
    until: Time
    attempt: int
    created_at: Time
    verdict: Verdict
    message: Annotated[str, Field(max_length=256)]
    captured: int  # rows that were found
    rows: int  # that were compared
    requests: int
    errors: int
    refusals: Annotated[list[str], Field(max_length=5)] = []  # what the candidate said to some of them
    disagreement: float | None = None  # share of the rows with another class
    mean_difference: float | None = None  # of probabilities, or of predictions in standard deviations of the stable revision's
    shift: dict[str, float] = {}  # by class: its share of the candidate's answers, less that of the stable revision's
    deviation: float | None = None  # of that from what the gates saw (total variation); none where they saw none
    latency: float | None = None  # seconds, the 95th percentile
    differing: Annotated[list[Differing], Field(max_length=20)] = []  # the furthest apart first
