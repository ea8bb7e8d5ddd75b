"""The drift report: the evidence of one window, stored as JSON."""

from typing import Literal

from stationkeeper.api.base import Digest, Time, Tolerant
from stationkeeper.api.model import Verdict


class ColumnResult(Tolerant):
    """One statistic of one column."""

    name: str
    group: Literal["features", "predictions"]
    test: str
    statistic: float | None
    threshold: float | None
    calibrated: bool  # the threshold was computed from sampling noise, not given
    verdict: Verdict
    message: str = ""


class Violation(Tolerant):
    """One breach of schema or completeness, typed as SageMaker Model Monitor types them."""

    type: Literal["missing_column", "extra_column", "data_type", "completeness"]
    column: str
    observed: str
    expected: str


class DriftReport(Tolerant):
    schema_version: Literal[1] = 1
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
    verdict: Verdict
    data: Verdict
    features: Verdict
    predictions: Verdict
    drifted_share: float | None = None
    message: str
    columns: list[ColumnResult] = []
    violations: list[Violation] = []
