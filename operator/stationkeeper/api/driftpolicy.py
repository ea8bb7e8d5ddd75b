"""The `DriftPolicy`: what to compare, how often, and what a breach means."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from stationkeeper.api.base import (
    ApiModel,
    ColumnName,
    Cron,
    Duration,
    ScorerName,
    Time,
    Tolerant,
    WindowLength,
    parse_duration,
    rules,
)
from stationkeeper.api.conditions import Condition

Test = Literal[
    "PSI", "KolmogorovSmirnov", "Wasserstein", "JensenShannon", "Hellinger", "ChiSquare", "TotalVariation", "LInfinity"
]
Action = Literal["Retrain", "Observe"]
Answer = Literal["Breach", "Ignore"]
MAX_GATHERED = 32  # windows that may be taken together
LabelKey = Annotated[str, Field(max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class ModelRef(ApiModel):
    name: Annotated[str, Field(min_length=1, max_length=40, description="Name of a Model in this namespace.")]


class ModelSelector(ApiModel):
    match_labels: Annotated[
        dict[LabelKey, LabelValue],
        Field(min_length=1, max_length=16, description="Labels that the Models of this namespace must have."),
    ]


class SchemaChecks(ApiModel):
    """Broken data: a breach blocks retraining, because one never learns from a bug."""

    missing_columns: Annotated[Answer, Field(description="When a column of the reference does not come any more.")] = "Breach"
    extra_columns: Annotated[Answer, Field(description="When requests bring columns that the model does not know.")] = "Ignore"
    type_mismatch: Annotated[
        Answer,
        Field(
            description="When values cannot be read as the column's type or are infinite, a column of whole numbers brings fractions, or "
            "one of fractions whole numbers alone."
        ),
    ] = "Breach"
    max_missing_increase: Annotated[
        float,
        Field(ge=0, le=1, description="By how much the share of missing values of a column may rise above the reference's."),
    ] = 0.05
    unit_change: Annotated[
        Answer, Field(description="When a numeric column comes scaled by a power of ten: metres for kilometres, cents for euros.")
    ] = "Breach"
    constant_columns: Annotated[
        Answer,
        Field(description="When a column that varies in every stretch of the reference of this size holds one value only."),
    ] = "Breach"
    max_unseen_share: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Share of categories that the reference never saw; more is a breach. Leave it out to only drift.",
        ),
    ] = None
    max_out_of_range_share: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Share of values outside the range of all training rows; more is a breach. Leave it out to only drift.",
        ),
    ] = None
    max_duplicate_share: Annotated[
        float | None,
        Field(ge=0, le=1, description="Share of captured rows that repeat another one of the window; more is a breach."),
    ] = None
    action: Annotated[
        Literal["Block", "Observe"],
        Field(description="What broken data does: block every retraining but the code's, or only tell."),
    ] = "Block"


class DistributionCheck(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(self.test in ['KolmogorovSmirnov', 'JensenShannon', 'Hellinger', 'TotalVariation', 'LInfinity'])"
                " || !has(self.threshold) || self.threshold <= 1.0",
                "this statistic is at most 1: a higher threshold never breaches",
            )
        )
    )

    test: Annotated[
        Test,
        Field(
            description="The statistic. Kolmogorov-Smirnov and Wasserstein are for numbers, chi-square and L-infinity for categories; "
            "a column of the other kind is compared by PSI."
        ),
    ] = "PSI"
    threshold: Annotated[
        float | None,
        Field(
            ge=0,
            description="Breach above this. Without it the threshold is calibrated from what chance and ordinary windows give for these "
            "sample sizes and bins; until it is known what windows ordinarily differ by, drift is observed only (Calibrating).",
        ),
    ] = None
    min_effect: Annotated[
        float | None,
        Field(
            ge=0,
            description="A calibrated threshold is at least this, so that huge windows do not alarm on nothing. Without it: what a "
            "shift of a seventh of a standard deviation gives.",
        ),
    ] = None


class ColumnCheck(DistributionCheck):
    name: Annotated[ColumnName, Field(description="The column.")]
    ignore: Annotated[bool, Field(description="Do not compare this column.")] = False


class MultivariateCheck(ApiModel):
    """What no column shows alone, found on captured rows."""

    tests: Annotated[
        list[Literal["DomainClassifier", "PCAReconstruction"]],
        Field(
            min_length=1,
            max_length=2,
            description="DomainClassifier: how well a classifier tells captured rows from reference rows (AUC). PCAReconstruction: "
            "how badly the reference's principal components explain them.",
        ),
    ] = ["DomainClassifier"]
    max_rows: Annotated[
        int, Field(ge=500, le=100_000, description="Rows of each sample that are looked at; more are sampled.")
    ] = 5_000


class FeatureChecks(ApiModel):
    default: Annotated[DistributionCheck, Field(description="The check of every column without one of its own.")] = (
        DistributionCheck()
    )
    columns: Annotated[list[ColumnCheck], Field(max_length=1000, description="Checks of single columns.")] = []
    max_drifted_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="The features have drifted when at least this share of the compared ones has; each counts by its importance to "
            "the model where the revision knows it.",
        ),
    ] = 0.3
    multivariate: Annotated[
        MultivariateCheck | None, Field(description="Checks of all columns together; leave it out for none.")
    ] = None
    action: Annotated[Action | None, Field(description="What drifted features do. Without it: the policy's action.")] = None


class PredictionChecks(DistributionCheck):
    action: Annotated[Action | None, Field(description="What shifted predictions do. Without it: the policy's action.")] = None


class QualityChecks(ApiModel):
    """Quality on delayed labels (`spec.labels` of the Model)."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.min) || has(self.maxDrop)", "quality needs min or maxDrop (or both)"))
    )

    metric: ScorerName
    min: Annotated[float | None, Field(description="The score must be at least this.")] = None
    max_drop: Annotated[
        float | None,
        Field(ge=0, description="How far the score may fall below the one on the holdout, by the sure end of its interval."),
    ] = None
    min_labels: Annotated[
        int, Field(ge=30, le=10_000_000, description="A window with fewer matured labels is InsufficientData.")
    ] = 200
    estimate: Annotated[
        Literal["Report", "Off"],
        Field(
            description="Before labels come, estimate the quality from the predicted probabilities (CBPE; for regression direct loss "
            "estimation) and report it. An estimate alone never retrains."
        ),
    ] = "Report"
    action: Annotated[Action | None, Field(description="What lost quality does. Without it: the policy's action.")] = None


class Segment(ApiModel):
    column: Annotated[ColumnName, Field(description="A categorical feature; each of its values is checked apart.")]
    max_values: Annotated[
        int, Field(ge=1, le=50, description="The most frequent values of the window that are looked at; the rest is one segment.")
    ] = 10


class BaselineWindow(ApiModel):
    model_config = ConfigDict(json_schema_extra=rules(("self.start < self.end", "the baseline must end after its start")))

    start: Annotated[Time, Field(description="Start, inclusive (RFC 3339).")]
    end: Annotated[Time, Field(description="End, exclusive.")]


class Baseline(ApiModel):
    """What traffic is compared with, in place of the rows that the serving revision learned from."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.window) != has(self.firstRows)", "give exactly one of window and firstRows"))
    )

    window: Annotated[BaselineWindow | None, Field(description="This stretch of the serving revision's captured traffic.")] = None
    first_rows: Annotated[
        int | None,
        Field(ge=500, le=100_000_000, description="The first rows that the serving revision answered, at least this many."),
    ] = None


class Breach(ApiModel):
    """Hysteresis: this many of the newest evaluated windows must breach."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.windows <= self.of", "breach.windows must not exceed breach.of: it could never be met"))
    )

    windows: Annotated[int, Field(ge=1, le=16, description="Breached windows that make a drift.")] = 2
    of: Annotated[int, Field(ge=1, le=16, description="Out of this many evaluated windows.")] = 3


class DriftPolicySpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.modelRef) != has(self.modelSelector)", "give exactly one of modelRef and modelSelector"),
        )
    )

    model_ref: Annotated[ModelRef | None, Field(description="The one Model that this watches.")] = None
    model_selector: Annotated[ModelSelector | None, Field(description="Or: every Model with these labels.")] = None
    schedule: Annotated[
        Cron, Field(description="When checks run (cron, UTC). Each check handles all closed windows not yet reported.")
    ] = "*/15 * * * *"
    window: Annotated[
        WindowLength, Field(description="Length of a window of traffic; whole minutes. Windows tile time without overlap.")
    ] = "1h"
    grace: Annotated[Duration, Field(description="Wait this long after a window's end for late captures.")] = "2m"
    min_samples: Annotated[int, Field(ge=30, le=10_000_000, description="A window with fewer rows is InsufficientData.")] = 500
    max_window: Annotated[
        WindowLength | None,
        Field(
            description="With little traffic: adjacent windows are taken together until they hold minSamples rows, up to this length, "
            "which is at most that of 32 windows. Without it each window is judged by itself."
        ),
    ] = None
    false_alarm_rate: Annotated[
        float,
        Field(
            gt=0,
            le=24,
            description="How many times a day a healthy model may be called drifted by calibrated checks, over all its columns and segments: "
            "0.01 is once in a hundred days. No larger share of its windows breaches, and never more than a fifth. Many short windows a "
            "day, and weather that stays, make each prove more.",
        ),
    ] = 0.01
    schema_: Annotated[SchemaChecks, Field(alias="schema", description="Checks of schema and completeness.")] = SchemaChecks()
    features: Annotated[FeatureChecks, Field(description="Checks of the inputs' distributions.")] = FeatureChecks()
    predictions: Annotated[PredictionChecks, Field(description="Check of the predictions' distribution.")] = PredictionChecks()
    quality: Annotated[
        QualityChecks | None, Field(description="Check of the quality on delayed labels; leave it out for none.")
    ] = None
    segments: Annotated[
        list[Segment], Field(max_length=4, description="Columns whose values are checked apart, on captured rows.")
    ] = []
    baseline: Annotated[
        Baseline | None, Field(description="What to compare with. Without it: what the serving revision learned from.")
    ] = None
    breach: Annotated[Breach, Field(description="How many windows must agree.")] = Breach()
    skew_within: Annotated[
        Duration,
        Field(
            description="Traffic that never matched the reference, and differs no longer than this after the training's newest row, is skewed "
            "and not drifted: training and serving make their columns differently, and no retraining mends that. 0s: never."
        ),
    ] = "7d"
    action: Annotated[
        Literal["Retrain", "Observe"],
        Field(description="What a breach does where its group says nothing: retrain, or only tell."),
    ] = "Retrain"
    suspend: Annotated[bool, Field(description="Run no checks, and let this policy count nowhere.")] = False

    @field_validator("max_window")
    @classmethod
    def _holds_windows(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Durations with units are beyond CEL: this is told in the policy's status."""
        window = info.data.get("window")
        if value and window and not 1 <= parse_duration(value) / parse_duration(window) <= MAX_GATHERED:
            raise ValueError(f"must be as long as {window}, the window, at least, and as {MAX_GATHERED} of them at most")
        return value


class DriftPolicyStatus(Tolerant):
    observed_generation: Annotated[int | None, Field(description="Generation of the spec that this status speaks of.")] = None
    conditions: Annotated[list[Condition], Field(max_length=16, description="What is so, why, and since when.")] = []
    models: Annotated[int, Field(ge=0, description="Models that this policy watches.")] = 0
    drifted: Annotated[int, Field(ge=0, description="Those of them that have drifted by this policy.")] = 0


class DriftPolicy(Tolerant):
    """What is compared between a model's traffic and its reference, and what a breach means."""

    api_version: str = "stationkeeper.dev/v1alpha1"
    kind: Literal["DriftPolicy"] = "DriftPolicy"
    metadata: dict[str, Any]
    spec: DriftPolicySpec
    status: DriftPolicyStatus = DriftPolicyStatus()
