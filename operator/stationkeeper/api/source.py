"""A model that another pipeline makes: where it is published, what it is asked, what it must prove."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, ColumnName, Cron, Duration, S3Uri, rules
from stationkeeper.api.data import Data
from stationkeeper.api.evaluation import Gate
from stationkeeper.api.resources import ResourceList, Resources

SourceFormat = Literal["onnx", "skops", "xgboost", "lightgbm"]


class SourceFeature(ApiModel):
    """One column that the model is asked with."""

    name: Annotated[ColumnName, Field(description="Its name, as requests, captured rows and the evaluation set have it.")]
    type: Annotated[Literal["Number", "Integer", "Text", "Boolean"], Field(description="What it holds.")] = "Number"


class SourceEvaluation(ApiModel):
    """Rows with their truth, that judge every new file before it is published. They do not change from one to the next."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.gates.exists(g, has(g.min))", "at least one gate needs min: the first file has no other to be compared with"),
        )
    )

    uri: Annotated[S3Uri, Field(description="Prefix of these rows; every object under it with the format's suffix is read.")]
    format: Annotated[Literal["parquet", "csv"], Field(description="Format of those objects.")] = "parquet"
    timestamp: Annotated[
        ColumnName | None, Field(description="Column with the time of each row; the bootstrap then draws stretches of time.")
    ] = None
    gates: Annotated[list[Gate], Field(min_length=1, max_length=16, description="All must hold. At least one needs `min`.")]


class Source(ApiModel):
    """A file in the store that another pipeline writes; each new content is a candidate revision."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.uri.matches('^s3://[^/]+/.*[^/]$')", "source.uri names one file, not a bucket or a prefix"),
            (
                "!has(self.features) || self.features.all(f, f.name != self.target)",
                "features must not name the target: it is what the model answers",
            ),
        )
    )

    uri: Annotated[S3Uri, Field(description="The file, at the server of `storage` and with its credentials. Only read.")]
    format: Annotated[SourceFormat, Field(description="What the file is. Only formats that cannot run code when loaded.")]
    features: Annotated[
        list[SourceFeature] | None,
        Field(
            min_length=1,
            max_length=1000,
            description="The columns that it is asked with, in the order of its input. Without it: as the file itself names them.",
        ),
    ] = None
    task: Annotated[
        Literal["Classification", "Regression"] | None,
        Field(description="What its answers mean. Without it: as the outputs of the file say."),
    ] = None
    classes: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128)]] | None,
        Field(
            min_length=2,
            max_length=1000,
            description="Labels of the classes in the order of the probabilities. Without it: as the file names them.",
        ),
    ] = None
    positive_label: Annotated[
        str | None,
        Field(max_length=128, description="The class that counts as positive in binary metrics. Without it: the last."),
    ] = None
    target: Annotated[ColumnName, Field(description="Column of the evaluation set, and of labels, that it predicts.")] = "target"
    schedule: Annotated[
        Cron, Field(description="When the file is looked at (cron, UTC), by a small Job; the operator itself reads no storage.")
    ] = "*/5 * * * *"
    evaluation: Annotated[
        SourceEvaluation | None,
        Field(description="What a new file must prove before it is rolled out. Without it: only that it loads and answers."),
    ] = None
    resources: Annotated[Resources, Field(description="CPU and memory of each step of the import.")] = Resources(
        requests=ResourceList(cpu="250m", memory="512Mi")
    )
    time_limit: Annotated[Duration, Field(description="An import that takes longer is ended and counts as failed.")] = "30m"

    @property
    def data(self) -> Data | None:
        """The evaluation set as a training would name its data."""
        rows = self.evaluation
        return Data(uri=rows.uri, format=rows.format, target=self.target, timestamp=rows.timestamp) if rows else None
