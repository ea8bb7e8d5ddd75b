"""What a challenger must prove before it is published, and on which rows."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, ColumnName, Duration, S3Uri, ScorerName, rules


class Holdout(ApiModel):
    """The rows that judge, kept from every training."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.uri) || !(has(self.period) || has(self.gap))",
                "a holdout of its own (uri) is taken whole: period and gap have no meaning beside it",
            )
        )
    )

    fraction: Annotated[
        float, Field(ge=0.05, le=0.5, description="Share of the rows kept from training and used to judge it.")
    ] = 0.2
    period: Annotated[
        Duration | None, Field(description="Instead of a fraction: the newest rows of this length. Needs `data.timestamp`.")
    ] = None
    gap: Annotated[
        Duration | None,
        Field(
            description="Rows this long before the holdout are not learned either: where labels tell of a stretch of time, they "
            "would know of it. Needs `data.timestamp`."
        ),
    ] = None
    uri: Annotated[
        S3Uri | None,
        Field(
            description="Instead of new rows, always the same ones: prefix of labelled data of the same format. Equal rows are kept "
            "from training."
        ),
    ] = None


class Gate(ApiModel):
    """One condition that a challenger must meet before it is published."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.maxDrop)", "a gate needs min or maxDrop (or both)"),
            (
                "!has(self.segments) || has(self.maxDrop)",
                "segments need maxDrop: in them a challenger is compared with what serves",
            ),
        )
    )

    metric: ScorerName
    min: Annotated[float | None, Field(description="The score must be at least this.")] = None
    max_drop: Annotated[
        float | None,
        Field(ge=0, description="The score may be at most this much below the serving revision's, on the same rows."),
    ] = None
    segments: Annotated[
        list[ColumnName] | None,
        Field(
            min_length=1,
            max_length=4,
            description="Columns whose values part the rows: in none of the parts may the score surely be further below than maxDrop. "
            "They need not be features.",
        ),
    ] = None


class Budget(ApiModel):
    """What the model that would serve may cost."""

    latency: Annotated[
        Duration | None,
        Field(description="95 of 100 predictions of a single row must take no longer, measured where the training ran."),
    ] = None
    size: Annotated[
        str | None,
        Field(
            pattern=r"^[1-9][0-9]{0,5}(Ki|Mi|Gi)$", max_length=8, description="Size of the model's file at most, as in `64Mi`."
        ),
    ] = None

    @property
    def bytes(self) -> int | None:
        """The size as a number."""
        return int(self.size[:-2]) * 1024 ** (1 + ("Ki", "Mi", "Gi").index(self.size[-2:])) if self.size else None


class Evaluation(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.gates.exists(g, has(g.min))",
                "at least one gate needs min: the first revision has no other to be compared with",
            )
        )
    )

    holdout: Annotated[Holdout, Field(description="The rows that judge.")] = Holdout()
    gates: Annotated[list[Gate], Field(min_length=1, max_length=16, description="All must hold. At least one needs `min`.")]
    budget: Annotated[Budget | None, Field(description="What the model may cost; without it that is not asked.")] = None
    refit: Annotated[
        Literal["WholeWindow", "None"],
        Field(
            description="After the gates have opened, train again on the whole window, holdout included. Needs `data.timestamp`."
        ),
    ] = "WholeWindow"
