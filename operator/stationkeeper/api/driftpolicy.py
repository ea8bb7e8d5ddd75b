"""The `DriftPolicy`: what to compare, how often, and what a breach means."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, ColumnName, Cron, Duration, Tolerant, WindowLength, rules
from stationkeeper.api.conditions import Condition

Test = Literal["PSI", "KolmogorovSmirnov"]
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

    missing_columns: Annotated[
        Literal["Breach", "Ignore"], Field(description="When a column of the reference does not come any more.")
    ] = "Breach"
    extra_columns: Annotated[
        Literal["Breach", "Ignore"], Field(description="When requests bring columns that the model does not know.")
    ] = "Ignore"
    type_mismatch: Annotated[
        Literal["Breach", "Ignore"], Field(description="When values cannot be read as the column's type.")
    ] = "Breach"
    max_missing_increase: Annotated[
        float,
        Field(ge=0, le=1, description="By how much the share of missing values of a column may rise above the reference's."),
    ] = 0.05


class DistributionCheck(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.test != 'KolmogorovSmirnov' || !has(self.threshold) || self.threshold <= 1.0",
                "the Kolmogorov-Smirnov statistic is at most 1: a higher threshold never breaches",
            )
        )
    )

    test: Annotated[Test, Field(description="The statistic. Categories are always compared by PSI.")] = "PSI"
    threshold: Annotated[
        float | None,
        Field(
            ge=0,
            description="Breach above this. Without it the threshold is calibrated from what chance gives for these sample sizes and bins.",
        ),
    ] = None


class ColumnCheck(DistributionCheck):
    name: Annotated[ColumnName, Field(description="The column.")]
    ignore: Annotated[bool, Field(description="Do not compare this column.")] = False


class FeatureChecks(ApiModel):
    default: Annotated[DistributionCheck, Field(description="The check of every column without one of its own.")] = (
        DistributionCheck()
    )
    columns: Annotated[list[ColumnCheck], Field(max_length=1000, description="Checks of single columns.")] = []
    max_drifted_share: Annotated[
        float, Field(gt=0, le=1, description="The features have drifted when at least this share of the compared ones has.")
    ] = 0.3


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
    false_alarm_rate: Annotated[
        float,
        Field(
            gt=0,
            le=0.2,
            description="Share of windows in which a healthy model may breach a calibrated check, over all its columns.",
        ),
    ] = 0.01
    schema_: Annotated[SchemaChecks, Field(alias="schema", description="Checks of schema and completeness.")] = SchemaChecks()
    features: Annotated[FeatureChecks, Field(description="Checks of the inputs' distributions.")] = FeatureChecks()
    predictions: Annotated[DistributionCheck, Field(description="Check of the predictions' distribution.")] = DistributionCheck()
    breach: Annotated[Breach, Field(description="How many windows must agree.")] = Breach()
    action: Annotated[Literal["Retrain", "Observe"], Field(description="What a drift does: retrain, or only tell.")] = "Retrain"
    suspend: Annotated[bool, Field(description="Run no checks, and let this policy count nowhere.")] = False


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
