"""How a model is trained, on what, and what a new one must prove."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from stationkeeper.api.base import ApiModel, ColumnName, Cron, Duration, S3Uri, ScorerName, parse_duration, rules
from stationkeeper.api.resources import ResourceList, Resources


class Estimator(ApiModel):
    class_: Annotated[
        str,
        Field(
            alias="class",
            pattern=r"^(sklearn(\.[a-z_][a-z0-9_]*)+|xgboost|lightgbm)\.[A-Z][A-Za-z0-9]*$",
            max_length=200,
            description="A classifier or regressor of scikit-learn, XGBoost or LightGBM by its import path, as in "
            "sklearn.linear_model.LogisticRegression or lightgbm.LGBMClassifier.",
        ),
    ]
    params: Annotated[
        dict[str, JsonValue],
        Field(max_length=64, description="Parameters of its constructor. Preprocessing is made from the columns of the data."),
    ] = {}


class Search(ApiModel):
    """Parameters of the estimator that are looked for, by scikit-learn's own searchers, inside the training rows."""

    params: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=64)],
            Annotated[list[JsonValue], Field(min_length=1, max_length=64)],
        ],
        Field(min_length=1, max_length=16, description="The values to try of each parameter of the estimator's constructor."),
    ]
    strategy: Annotated[
        Literal["Random", "Halving", "Grid"],
        Field(
            description="Random: as many combinations as `trials`. Halving: the same on few rows, the better third again on thrice "
            "as many. Grid: every combination."
        ),
    ] = "Random"
    trials: Annotated[int, Field(ge=1, le=200, description="Combinations that are tried at most; a larger grid is refused.")] = 20
    folds: Annotated[
        int, Field(ge=2, le=10, description="Folds of the cross-validation: each is judged by what was before it in time.")
    ] = 3
    metric: Annotated[
        ScorerName | None, Field(description="The scikit-learn scorer that decides. Without it: that of the first gate.")
    ] = None
    time_limit: Annotated[
        Duration, Field(description="No further fit is begun after this time; the best combination so far is taken.")
    ] = "30m"


class EnvironmentVariable(ApiModel):
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128, description="Name of the variable.")]
    value: Annotated[str, Field(max_length=4096, description="Its value, as it stands; secrets do not belong here.")] = ""


class TrainingContainer(ApiModel):
    """A team's own training code. It gets rows and leaves a model; it has no credentials of the store, and no API token."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.env.all(e, !e.name.startsWith('STATIONKEEPER_'))",
                "names that begin with STATIONKEEPER_ are set by the operator",
            )
        )
    )

    image: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            pattern=r"^\S+$",
            description="Image that trains. It runs as user 65532 on a read-only root; /tmp and /mnt/model can be written.",
        ),
    ]
    task: Annotated[Literal["Classification", "Regression"], Field(description="What the target means.")]
    command: Annotated[
        list[Annotated[str, Field(max_length=4096)]],
        Field(max_length=64, description="Program that is run. Without it: the image's own."),
    ] = []
    args: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=64, description="Its arguments.")] = []
    env: Annotated[
        list[EnvironmentVariable], Field(max_length=64, description="Its environment, beside what the contract gives.")
    ] = []
    pull_secrets: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]],
        Field(max_length=8, description="Secrets of this namespace that the image is pulled with."),
    ] = []


class TrainingWorkload(ApiModel):
    """Training across machines by an engine of the cluster: a Kubeflow TrainJob, a RayJob, an Indexed Job.

    The object itself is a template that the cluster's administrator owns; a Model names it and fills its parameters.
    """

    template: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            max_length=63,
            description="Name of a template in the operator's own configuration.",
        ),
    ]
    task: Annotated[Literal["Classification", "Regression"], Field(description="What the target means.")]
    parameters: Annotated[
        dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=1024)]],
        Field(max_length=32, description="Values for the template's parameters, as text; the template says what is allowed."),
    ] = {}


DataFormat = Literal["parquet", "csv", "ndjson"]


class Source(ApiModel):
    """A further prefix of labelled data; its rows are added to those of `data.uri`."""

    uri: Annotated[S3Uri, Field(description="Prefix of the data, on the same server as storage.uri.")]
    format: Annotated[DataFormat, Field(description="Format of the objects under it.")] = "parquet"


class Feedback(ApiModel):
    """Captured requests become training rows once their labels (`spec.labels`) have matured."""

    sampling: Annotated[
        Literal["Even", "All"],
        Field(
            description="Where capture.sampleRate changed over time. Even: busier sampled stretches are thinned, so that each counts by its "
            "traffic. All: every captured row."
        ),
    ] = "Even"
    incidents: Annotated[
        Literal["LeaveOut", "Keep"],
        Field(description="Rows of windows in which a drift check found broken data: left out, or learned all the same."),
    ] = "LeaveOut"


class Validation(ApiModel):
    """What rows must show before anything is learned from them."""

    broken_columns: Annotated[
        Literal["Refuse", "Accept"],
        Field(
            description="Columns that look broken beside what the serving revision learned: empty, of another type or unit, constant. "
            "Accept: train, and only tell."
        ),
    ] = "Refuse"
    poisoned_labels: Annotated[
        Literal["Refuse", "Accept"],
        Field(
            description="Days or objects whose labels contradict all others: upside down, all the same, or without any relation to the "
            "inputs. Accept: train, and only tell."
        ),
    ] = "Refuse"
    max_duplicate_share: Annotated[
        float | None,
        Field(
            ge=0, le=1, description="Share of rows that repeat another in every column; more is refused. Without it: only told."
        ),
    ] = None


class Data(ApiModel):
    """Where training rows come from and what their columns mean."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.timestamp) || self.timestamp != self.target", "timestamp and target must be two columns"),
            ("!has(self.window) || has(self.timestamp)", "window needs timestamp: without it rows have no time"),
            ("!has(self.windows) || has(self.timestamp)", "windows need timestamp: without it rows have no time"),
            ("!has(self.window) || !has(self.windows)", "window is one, windows are several to choose from: give one of the two"),
            (
                "!has(self.windows) || self.windows.all(w, self.windows.exists_one(v, v == w))",
                "windows must differ: a second training on the same rows tells nothing",
            ),
            ("self.asOf != 'LatestRow' || has(self.timestamp)", "asOf: LatestRow needs timestamp"),
            (
                "!has(self.features) || !(self.target in self.features)",
                "features must not name the target: the model would learn the answer from itself",
            ),
            (
                "!has(self.features) || !has(self.timestamp) || !(self.timestamp in self.features)",
                "features must not name the timestamp: it only rises, so what is learned from it never comes again",
            ),
        )
    )

    uri: Annotated[
        S3Uri, Field(description="Prefix of the labelled data; every object under it with the format's suffix is read.")
    ]
    format: Annotated[DataFormat, Field(description="Format of those objects.")] = "parquet"
    sources: Annotated[
        list[Source],
        Field(
            max_length=16,
            description="Further prefixes whose rows are added. Columns of one name must be of one type everywhere.",
        ),
    ] = []
    feedback: Annotated[
        Feedback | None,
        Field(description="Learn from captured requests with their labels too ({} for the defaults); needs spec.labels."),
    ] = None
    target: Annotated[ColumnName, Field(description="Column to predict. Rows without it are left out and counted.")]
    timestamp: Annotated[
        ColumnName | None,
        Field(description="Column with the time of each row. With it the holdout is the newest part, without it a hash decides."),
    ] = None
    features: Annotated[
        list[ColumnName] | None,
        Field(
            min_length=1,
            max_length=1000,
            description="Columns the model may learn from. Without it: every column but target and timestamp, inferred at the first training.",
        ),
    ] = None
    positive_label: Annotated[
        str | None, Field(max_length=128, description="The class that counts as positive in binary metrics.")
    ] = None
    window: Annotated[
        Duration | None,
        Field(description="Train on the newest rows of this length, in the time of the data. Without it: on all."),
    ] = None
    windows: Annotated[
        list[Duration] | None,
        Field(
            min_length=2,
            max_length=4,
            description="Instead of window, several: a challenger is trained on each. The longest wins unless a shorter one is surely "
            "better on rows that none of them knows.",
        ),
    ] = None
    as_of: Annotated[
        Literal["Now", "LatestRow"],
        Field(
            description="Where the window ends: at the time of the training, or at the newest row (for replayed or archived data)."
        ),
    ] = "Now"
    max_rows: Annotated[
        int | None,
        Field(
            ge=1_000,
            le=1_000_000_000,
            description="Learn from at most so many labelled rows: the newest, or without timestamp a sample that stays the same.",
        ),
    ] = None
    min_new_rows: Annotated[
        int,
        Field(
            ge=0,
            le=10_000_000,
            description="A training for drift waits until this many labelled rows are newer than the serving revision's.",
        ),
    ] = 500
    validation: Annotated[Validation, Field(description="What rows must show before anything is learned.")] = Validation()

    @property
    def lengths(self) -> list[tuple[str, timedelta]]:
        """The windows to train on as they are written and as they are meant, shortest first; empty: all rows."""
        given = self.windows or ([self.window] if self.window else [])
        return sorted(((text, parse_duration(text)) for text in given), key=lambda window: window[1])

    @property
    def reach(self) -> timedelta | None:
        """How far back rows are wanted; None: as far as there are any."""
        return self.lengths[-1][1] if self.lengths else None


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


class Watch(ApiModel):
    """An object in storage that stands for the training's code: when it changes, the code has changed."""

    model_config = ConfigDict(
        json_schema_extra=rules(("!self.uri.endsWith('/')", "watch.uri names one object: it must not end in a slash"))
    )

    uri: Annotated[S3Uri, Field(description="The object: an archive of the code, say, or a file that a pipeline writes last.")]
    schedule: Annotated[Cron, Field(description="When it is looked at (cron, UTC).")] = "*/15 * * * *"


class Training(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(has(self.estimator) ? 1 : 0) + (has(self.container) ? 1 : 0) + (has(self.workload) ? 1 : 0) == 1",
                "training needs exactly one of estimator, container and workload",
            ),
            (
                "!has(self.search) || has(self.estimator)",
                "search needs estimator: what a team's own code may be given is not known here",
            ),
            (
                "has(self.estimator) || !has(self.data.windows)",
                "a team's own code trains once, on one window: give window instead of windows",
            ),
            (
                "has(self.data.timestamp) || !(has(self.evaluation.holdout.period) || has(self.evaluation.holdout.gap))",
                "holdout.period and holdout.gap need data.timestamp: without it rows have no time",
            ),
        )
    )

    estimator: Annotated[Estimator | None, Field(description="An estimator to fit; or container, or workload.")] = None
    container: Annotated[
        TrainingContainer | None, Field(description="A team's own image that trains; or estimator, or workload.")
    ] = None
    workload: Annotated[
        TrainingWorkload | None, Field(description="Training across machines, from an administrator's template.")
    ] = None
    search: Annotated[Search | None, Field(description="Parameters of the estimator to be found; without it: as given.")] = None

    data: Annotated[Data, Field(description="What it is fitted on.")]
    schedule: Annotated[Cron | None, Field(description="Retrain at these times too (cron, UTC).")] = None
    watch: Annotated[
        Watch | None, Field(description="An object whose change retrains as a change of code does, through the same gates.")
    ] = None
    evaluation: Annotated[Evaluation, Field(description="What a new model must prove.")]
    resources: Annotated[Resources, Field(description="CPU and memory of each step of the training pod.")] = Resources(
        requests=ResourceList(cpu="500m", memory="1Gi")
    )
    time_limit: Annotated[Duration, Field(description="A training that takes longer is ended and counts as failed.")] = "2h"

    @model_validator(mode="after")
    def _one_learner(self) -> Self:
        if sum(learner is not None for learner in (self.estimator, self.container, self.workload)) != 1:
            # where no API server has checked the rule
            raise ValueError("training needs exactly one of estimator, container and workload")
        if self.own and (self.search or self.data.windows):
            raise ValueError("a team's own code trains once, on one window: search and data.windows need estimator")
        return self

    @property
    def own(self) -> TrainingContainer | TrainingWorkload | None:
        """A team's own code, which trains once and leaves a model: whether it would do the same again is not ours to say."""
        return self.container or self.workload
