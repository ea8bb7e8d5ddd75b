"""Reports as checks write them, with everything in them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from stationkeeper.api.manifest import Score
from stationkeeper.api.report import (
    ColumnResult,
    DriftReport,
    Histogram,
    LabelCounts,
    MultivariateResult,
    QualityPoint,
    QualityResult,
    SegmentResult,
    Threshold,
    Violation,
)
from stationkeeper.api.verdicts import Verdict

START = datetime(2013, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def column(name: str = "temp", **more: Any) -> ColumnResult:
    given = {
        "name": name, "group": "features", "test": "PSI", "statistic": 0.31, "threshold": 0.12, "calibrated": True,
        "parts": Threshold(noise=0.02, variation=0.12, effect=0.02), "p_value": 1e-9, "importance": 0.25, "verdict": "Breached",
        "message": f"{name} (PSI 0.31 > 0.12)", **more,
    }  # fmt: skip
    return ColumnResult.model_validate(given)


def calm(name: str, **more: Any) -> ColumnResult:
    return column(name, **{"statistic": 0.01, "verdict": "Passed", "p_value": 0.4, "importance": 0.05, **more})


def open_(name: str) -> ColumnResult:
    return column(
        name, statistic=None, threshold=None, parts=None, p_value=None, verdict="InsufficientData",
        message=f"{name} holds too few values to compare",
    )  # fmt: skip


def numbers(name: str = "temp", **more: Any) -> Histogram:
    bins = ["< 10", "10 to 20", "20 to 30", "30 to 40", "> 40", "missing"]
    given = {
        "name": name, "group": "features", "kind": "numeric", "bins": bins,
        "reference": [0.1, 0.3, 0.35, 0.2, 0.02, 0.03], "current": [0.01, 0.05, 0.2, 0.5, 0.2, 0.04], **more,
    }  # fmt: skip
    return Histogram.model_validate(given)


def categories(name: str = "carrier", count: int = 5, **more: Any) -> Histogram:
    bins = [f"C{i}" for i in range(count)]
    share = 0.9 / count
    given = {
        "name": name, "group": "features", "kind": "categorical", "bins": [*bins, "unseen", "missing"],
        "reference": [share] * count + [0.0, 0.1], "current": [share] * count + [0.06, 0.04], **more,
    }  # fmt: skip
    return Histogram.model_validate(given)


def quality(**more: Any) -> QualityResult:
    given = {
        "metric": "roc_auc", "method": "Labels", "score": Score(value=0.71, low=0.68, high=0.74),
        "expected": Score(value=0.78, low=0.77, high=0.79), "skill": 0.21, "threshold": 0.73,
        "labels": LabelCounts(requests=4_000, joined=3_900, missing=80, conflicting=20), "verdict": "Breached",
        "message": "roc_auc fell by 0.07 from 0.78 on the holdout", **more,
    }  # fmt: skip
    return QualityResult.model_validate(given)


def estimate(**more: Any) -> QualityResult:
    return quality(
        **{"method": "CBPE", "score": None, "withheld": "its estimate was off on the last labelled period", "message": "",
           "verdict": "InsufficientData", "threshold": None, "skill": None, "labels": LabelCounts(), **more}
    )  # fmt: skip


def history(windows: int = 8) -> list[QualityPoint]:
    scores = [(0.78 - 0.004 * i, 0.02) for i in range(windows)]
    return [
        QualityPoint(
            start=START - (windows - i) * HOUR, method="Labels" if i < windows - 1 else "CBPE",
            score=Score(value=value, low=value - spread, high=value + spread),
        )
        for i, (value, spread) in enumerate(scores)
    ]  # fmt: skip


def report(**more: Any) -> DriftReport:
    given = {
        "model": "ml/flight-delays", "policy": "hourly", "policyUid": "p-1", "policyDigest": "sha256:" + "a" * 64,
        "revision": 7, "revisionDigest": "sha256:" + "b" * 64, "start": START, "end": START + HOUR, "createdAt": START + 2 * HOUR,
        "rows": 4_000, "referenceRows": 77_911, "verdict": "Passed", "data": "Passed", "features": "Passed",
        "predictions": "Passed", "message": "0 of 12 features drifted; the data is whole", "drifted_share": 0.0, **more,
    }  # fmt: skip
    return DriftReport.model_validate(given)


def full() -> DriftReport:
    return report(
        verdict=Verdict.BREACHED, data=Verdict.BREACHED, features=Verdict.BREACHED, predictions=Verdict.PASSED,
        message="broken data: dewp missing in 11.8% of rows (completeness); 2 of 12 features drifted: temp (PSI 0.31 > 0.12), "
        "carrier (PSI 0.19 > 0.12)",
        action="The data is broken: automatic retraining is blocked until a window is whole again.",
        drifted_share=0.41,
        columns=[calm("hour"), column("carrier", statistic=0.19), column("temp"), open_("precip"),
                 calm("weekday", parts=None, calibrated=False, threshold=0.2),
                 calm("probability", group="predictions", importance=None)],
        histograms=[numbers("hour"), categories("carrier", 18), numbers("temp"),
                    numbers("probability", group="predictions", bins=["0 to 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 0.8", "0.8 to 1"],
                            reference=[0.4, 0.3, 0.2, 0.07, 0.03], current=[0.35, 0.3, 0.2, 0.1, 0.05])],
        violations=[
            Violation(type="completeness", column="dewp", observed="missing in 11.8% of rows", expected="at most 5.1%, which is the reference's 0.1% and 5.0%"),
            Violation(type="unit_change", column="distance", observed="1.6 times the values of the reference, or all of them 1000 times", expected="the reference's unit: kilometres came as metres?"),
        ],
        multivariate=[
            MultivariateResult(test="DomainClassifier", statistic=0.83, threshold=0.56, reference_rows=5_000, current_rows=4_000,
                               columns=["temp", "dewp", "carrier"], verdict=Verdict.BREACHED, message="a classifier tells the window from the reference"),
            MultivariateResult(test="PCAReconstruction", statistic=None, threshold=None, reference_rows=0, current_rows=4_000,
                               verdict=Verdict.INSUFFICIENT_DATA, message="the revision has no principal components; the next training stores them"),
        ],
        segments=[
            SegmentResult(column="carrier", value="AA", rows=1_200, drifted_share=0.5, columns=[column("temp")], verdict=Verdict.BREACHED,
                          message="2 of 4 features drifted: temp (PSI 0.31 > 0.12), hour (PSI 0.2 > 0.12)"),
            SegmentResult(column="carrier", value="B6", rows=1_000, drifted_share=0.0, verdict=Verdict.PASSED, message="0 of 4 features drifted; the data is whole"),
            SegmentResult(column="carrier", value="HA", rows=12, verdict=Verdict.INSUFFICIENT_DATA, message="12 rows are fewer than the 500 of minSamples"),
        ],
        quality=[quality(), quality(segment="carrier = AA", verdict="Passed", message=""), estimate()],
        history=history(),
        notes=["samples of the revision were deleted: segments were not compared", "precip: wants numbers, and the data has text; it was not compared"],
    )  # fmt: skip
