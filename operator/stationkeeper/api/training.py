"""How a model is trained, on what, and what a new one must prove."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from stationkeeper.api.base import ApiModel, Cron, Duration, ImageTag, S3Uri, ScorerName, SecretName, rules
from stationkeeper.api.data import Data
from stationkeeper.api.evaluation import Evaluation
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
        list[SecretName],
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


class Watch(ApiModel):
    """What stands for the training's code: an object in storage, or the tag of an image. When it changes, the code has changed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.uri) != has(self.image)", "watch needs exactly one of uri and image"),
            ("!has(self.uri) || !self.uri.endsWith('/')", "watch.uri names one object: it must not end in a slash"),
            (
                "has(self.image) || !(self.insecure || has(self.pullSecretName))",
                "watch.insecure and watch.pullSecretName say how an image is asked for: they need watch.image",
            ),
            (
                "!(self.insecure && has(self.pullSecretName))",
                "a password is not sent in the clear: watch.insecure and watch.pullSecretName exclude each other",
            ),
        )
    )

    uri: Annotated[
        S3Uri | None, Field(description="The object: an archive of the code, say, or a file that a pipeline writes last.")
    ] = None
    image: Annotated[
        ImageTag | None,
        Field(
            description="The image, with its registry and its tag: its digest is asked of the registry. Where training.container names "
            "the very same, it trains by the digest that was seen."
        ),
    ] = None
    insecure: Annotated[bool, Field(description="The registry speaks plain HTTP, as one inside the cluster may.")] = False
    pull_secret_name: Annotated[
        SecretName | None,
        Field(
            description="Secret of this namespace, of type kubernetes.io/dockerconfigjson, that the registry is asked with. Only the pod "
            "that looks receives it. Without it: anonymously."
        ),
    ] = None
    schedule: Annotated[Cron, Field(description="When it is looked at (cron, UTC).")] = "*/15 * * * *"

    @property
    def target(self) -> str:
        """What is watched, by its address."""
        return self.uri or self.image or ""


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
        Watch | None,
        Field(description="An object or an image whose change retrains as a change of code does, through the same gates."),
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
