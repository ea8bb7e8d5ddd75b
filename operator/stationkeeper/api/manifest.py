"""The manifest: what a revision is. Its SHA-256 is the revision's identity.

Layout under `spec.storage.uri` (all writes of immutable objects use `If-None-Match: *`):

    owner.json                                   the Model that owns the prefix
    blobs/<sha256 hex>                           artifact files by content
    manifests/<sha256 hex>.json                  manifests by content
    episodes/<id>/<attempt>/inputs.json          the frozen list of training objects
    episodes/<id>/<attempt>/holdout.json         the same of a holdout of its own (`holdout.uri`)
    episodes/<id>/<attempt>/feedback.json        the frozen list of captured rows and of labels that it learns from
    episodes/<id>/<attempt>/outcome.json         how the attempt ended: a `summary.TrainingSummary`
    episodes/<id>/<attempt>/exchange/            rows for, and the model of, a workload that trains on other machines
    episodes/<id>/<attempt>/evaluation.json      of a refused challenger: its `EvaluationRecord`
    decisions/<time>-<id>.json                   the evidence of a decision: a `decision.EvidenceBundle`
    sweep.json                                   when the last sweep began
    sources/<sha256 hex>.json                    digest of a published file, by address, size and ETag: `SourceLook`
    capture/<revision sha256 hex>/<YYYY-MM-DD>/<slot>-<pod>-<n>.parquet   captured rows
    profiles/<revision sha256 hex>/<YYYY-MM-DD>/<slot>-<pod>-<n>.profile  their counts, in the reference's bins
    samples/<revision sha256 hex>.parquet        rows of the training, for checks of rows; may be deleted, as captured rows may
    checks/<policy uid>/<policy digest hex 12>/<revision hex 12>/<start>-<end>.json      drift reports; .html for people
    checks/<policy uid>/<policy digest hex 12>/<revision hex 12>/variation/observed      what windows differ by, as JSON; -<n>: seen again
    shadow/<candidate hex 12>/<stable hex 12>-<begin>-<n>.json   comparisons of two revisions' answers, row by row
    checks/<policy uid>/<policy digest hex 12>/<revision hex 12>/quality/<start>-<end>.json   quality on matured labels
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from stationkeeper.api.base import ApiModel, ColumnName, Digest, Time, Tolerant
from stationkeeper.api.status import Cause


class ColumnKind(StrEnum):
    """How a column is treated: as a number or as a category. Booleans are categories `false` and `true`."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"


class Column(ApiModel):
    name: ColumnName
    kind: ColumnKind
    integer: bool = False  # of a numeric column: whole numbers only were seen
    nullable: bool = False  # missing values were seen in training


class Task(StrEnum):
    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class FileRef(ApiModel):
    """A file of a revision, stored under its content digest."""

    digest: Digest
    size: Annotated[int, Field(ge=0)]  # bytes


class Score(Tolerant):
    """A score with its bootstrap interval (95 %)."""

    value: float
    low: float | None = None
    high: float | None = None


class GateResult(Tolerant):
    """What one gate said. `NotApplicable`: a comparison without a champion, or a segment that is too small to be judged."""

    metric: str  # a scorer; of `max`: latency (seconds) or size (bytes)
    # min and maxDrop are the gate's. anchor: maxDrop against an earlier revision than the champion. max: of a budget.
    bound: Literal["min", "maxDrop", "anchor", "max"]
    limit: float
    verdict: Literal["Passed", "Refused", "InsufficientData", "NotApplicable"]
    challenger: Score | None = None
    champion: Score | None = None
    # champion - challenger, paired; its interval is as sure as the look must be, and in a segment holds for all segments at once
    drop: Score | None = None
    resolves: float | None = None  # the smallest drop that these rows tell from none
    segment: str | None = None  # the part of the rows, as `column = value`; or a column, of its values that were not judged
    message: str = ""


class FeedbackRecord(Tolerant):
    """What became of captured rows on their way to the training."""

    captured: int = 0  # rows whose labels could have matured
    joined: int = 0  # that have one
    unlabelled: int = 0
    conflicting: int = 0  # whose labels disagree: left out
    unselected: int = 0  # whose outcome could not be seen
    incidents: int = 0  # of windows with broken data: left out
    thinned: int = 0  # left out, so that each stretch counts by its traffic
    used: int = 0
    selection: str = ""  # which part of the answers the labels are of, in words


class DataRecord(Tolerant):
    """The rows that a revision learned from."""

    uri: str
    objects: Annotated[int, Field(ge=0)]
    digest: Digest  # over the frozen list of objects (key, size, ETag)
    rows: Annotated[int, Field(ge=0)]
    rows_without_target: Annotated[int, Field(ge=0)] = 0
    start: Time | None = None
    through: Time | None = None  # newest row
    window: str | None = None  # that was chosen, where there were several
    feedback: FeedbackRecord | None = None
    beyond: Annotated[int, Field(ge=0)] = 0  # labelled rows beyond `maxRows`
    duplicates: Annotated[int, Field(ge=0)] = 0  # rows that repeat another in every column
    conflicting: Annotated[int, Field(ge=0)] = 0  # rows of which another has the same features and another class
    broken: Annotated[int, Field(ge=0)] = 0  # rows left out with the days in which a column was broken
    copies: Annotated[int, Field(ge=0)] = 0  # training rows left out because the holdout has the same row
    notes: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=16)] = []  # what was left out, and what is odd


class Candidate(Tolerant):
    """A challenger among several: what it learned, and its score on the rows that chose among them."""

    window: str
    rows: Annotated[int, Field(ge=0)]  # that it learned from
    score: float | None = None  # of the first gate's metric; None where these rows could not choose
    gain: Score | None = None  # over the one that knows the longest window, paired; a shorter one is chosen when it surely gains
    params: dict[str, JsonValue] = {}  # that were found for it, where they were searched
    chosen: bool = False


class SearchRecord(Tolerant):
    """How parameters were found, by cross-validation inside the training rows."""

    strategy: str
    metric: str
    trials: int  # combinations that were tried
    score: float  # of the best one, the mean over the folds
    params: dict[str, JsonValue]  # the best one
    stopped: bool = False  # the time limit came first


class EvaluationRecord(Tolerant):
    holdout_rows: int  # that judged
    holdout_start: Time | None = None
    holdout_end: Time | None = None
    metrics: dict[str, Score]
    gates: list[GateResult]
    champion: str | None = None  # digest of the revision that it was compared with
    champion_number: int | None = None
    champion_metrics: dict[str, Score] = {}
    # Of each class: the share of the rows that compared the two which the challenger gave it, less the champion's share.
    prediction_shift: dict[str, float] = {}
    refit: Literal["WholeWindow", "None"]
    # Largest and mean absolute difference of predictions on the holdout between the model judged and the model shipped.
    refit_shift_max: float | None = None
    refit_shift_mean: float | None = None
    accepted_without_gain: bool = False  # Schedule and CodeChange may tie: drift accepted, not cured
    candidates: list[Candidate] = []  # where several challengers were tried; the older half of the holdout chose
    frozen: Digest | None = None  # of the list of objects of a holdout of its own
    look: int = 1  # the how manieth challenger of its episode was judged; each further look must be twice as sure
    anchor: Digest | None = None  # of an earlier revision that it was compared with too
    anchor_number: int | None = None


class TensorInput(Tolerant):
    """One input of an ONNX model that was made elsewhere, and the columns that fill it."""

    name: str
    type: Literal["float", "double", "float16", "int64", "int32", "bool", "string"]
    columns: list[ColumnName]
    flat: bool = False  # of shape (rows,), for one column; else (rows, columns)


class Binding(Tolerant):
    """How a model that was made elsewhere is asked, and how its answers are read; a model that was trained here needs none.

    `labels` are the classes as the model itself says them, in the order of `Manifest.classes`.
    """

    inputs: list[TensorInput] = []  # of ONNX; other formats are given the columns in the order of `Manifest.features`
    label: str | None = None  # output of ONNX with the class; none: the likeliest
    scores: str | None = None  # output of ONNX with probabilities, or the values of a regression
    labels: list[str] = []
    named: bool = False  # of scikit-learn: it knows its columns by name


# Names of the files in `Manifest.files`.
FILE_ONNX = "model.onnx"
FILE_SKOPS = "model.skops"
FILE_XGBOOST = "model.xgb"
FILE_LIGHTGBM = "model.lgb"
MODEL_FILES = {"onnx": FILE_ONNX, "skops": FILE_SKOPS, "xgboost": FILE_XGBOOST, "lightgbm": FILE_LIGHTGBM}  # by format
FILE_REFERENCE = "reference.json"  # `workloads.drift` reference profile; none where no rows are known
FILE_GOLDEN = "golden.json"  # golden rows and their predictions
FILE_ESTIMATION = "estimation.json"  # `workloads.quality`: how probabilities on the holdout became true
FILE_PCA = "pca.json"  # `workloads.drift`: principal components of the training rows; no row


class Manifest(Tolerant):
    schema_version: Literal[1] = 1
    model: str  # namespace/name
    model_uid: str
    number: int
    cause: Cause
    episode: str
    attempt: int
    evidence: str | None = None
    template_digest: Digest
    trained_at: Time
    estimator: str  # class path, `container <image>` or `source <uri>`
    params: dict[str, object] = {}  # those that were found among them
    search: SearchRecord | None = None
    seed: int
    task: Task
    features: list[Column]
    target: ColumnName
    classes: list[str] = []  # class labels in the order of the probabilities, as strings
    class_kind: Literal["string", "integer", "boolean"] = "string"
    positive_label: str | None = None
    format: Literal["onnx", "skops", "xgboost", "lightgbm"]  # what the runtime loads
    binding: Binding | None = None  # of a model that was made elsewhere
    files: dict[str, FileRef]
    data: DataRecord
    evaluation: EvaluationRecord
    importance: dict[str, float] = {}  # of each feature: the score it carries on the holdout, shares that add up to 1
    versions: dict[str, str] = {}  # of Python and the libraries it was trained with
