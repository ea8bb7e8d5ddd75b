"""Small worlds whose truth is known: a model's answers as serving captures them, and the labels that come later."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.base import sha256
from stationkeeper.api.driftpolicy import QualityChecks
from stationkeeper.api.manifest import Column, ColumnKind, DataRecord, EvaluationRecord, Manifest, Score, Task
from stationkeeper.api.report import LabelCounts
from stationkeeper.api.status import Cause
from stationkeeper.workloads.artifacts.outputs import kept
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.quality.labels import TRUTH, Joined
from stationkeeper.workloads.training import estimation
from stationkeeper.workloads.training.estimation import Estimation
from stationkeeper.workloads.training.metrics import Answers, judged

NOON = datetime(2013, 6, 1, 12, tzinfo=UTC)
FEATURES = [Column(name="x", kind=ColumnKind.NUMERIC), Column(name="carrier", kind=ColumnKind.CATEGORICAL)]
CLASSES = {Task.BINARY: ["early", "late"], Task.MULTICLASS: ["air", "rail", "road"], Task.REGRESSION: []}
Floats = NDArray[np.float64]


def manifest(task: Task = Task.BINARY, metrics: Mapping[str, float | Score] | None = None, **changes: Any) -> Manifest:
    """A revision of this task, with these scores on its holdout."""
    scores = {name: s if isinstance(s, Score) else Score(value=s) for name, s in (metrics or {}).items()}
    return Manifest(
        model="ops/flights",
        model_uid="uid-1",
        number=7,
        cause=Cause.INITIAL,
        episode="e1",
        attempt=1,
        template_digest=sha256(b"template"),
        trained_at=NOON,
        estimator="sklearn.linear_model.LogisticRegression",
        seed=1,
        task=task,
        features=FEATURES,
        target="delayed",
        format="skops",
        files={},
        data=DataRecord(uri="s3://data/x", objects=1, digest=sha256(b"data"), rows=1000),
        evaluation=EvaluationRecord(holdout_rows=5000, metrics=scores, gates=[], refit="None"),
        **({"classes": CLASSES[task]} | changes),
    )


def check(metric: str = "roc_auc", **changes: Any) -> QualityChecks:
    """A quality check with a `maxDrop` of 0.05 unless told otherwise."""
    return QualityChecks.model_validate({"metric": metric, "maxDrop": 0.05} | changes)


class World:
    """Inputs, a model's answers to them, and the truth.

    x is normal around `shift`; the model answers what was true when it learned, twisted by `overconfidence`; `flip` is the share of rows whose
    truth no longer follows x.
    """

    def __init__(
        self, task: Task, rows: int, seed: int = 0, *, shift: float = 0.0, flip: float = 0.0, overconfidence: float = 1.6
    ) -> None:
        rng = np.random.default_rng(seed)
        self.task, self.manifest = task, manifest(task)
        self.x = rng.normal(shift, 1, rows)
        self.carrier = rng.choice(["AA", "UA"], rows)
        if task is Task.REGRESSION:
            # Errors grow with x, so that a shift of x changes the loss that is to be expected.
            self.predictions = Predictions(values=3 * self.x)
            noise = rng.normal(size=rows) * np.exp(0.5 * self.x)
            self.truth: NDArray[Any] = 3 * self.x + noise + 4 * flip
        else:
            slopes = np.array([0.0, 1.2]) if task is Task.BINARY else np.array([-1.5, 0.0, 1.5])
            logits = np.outer(self.x, slopes)
            asked = np.where(rng.random(rows) < flip, -self.x, self.x)
            classes = np.array(self.manifest.classes, dtype=object)
            drawn = (np.log(softmax(np.outer(asked, slopes))) + rng.gumbel(size=logits.shape)).argmax(axis=1)
            said = softmax(overconfidence * logits)
            self.predictions = Predictions(labels=classes[said.argmax(axis=1)], probabilities=said)
            self.truth = classes[drawn]

    def captured(self, start: datetime = NOON) -> pl.DataFrame:
        """The rows as serving captures them, one a second."""
        n = len(self.x)
        found: dict[str, Any] = {
            "request_id": [f"r{i}" for i in range(n)],
            "row": pl.Series([0] * n, dtype=pl.UInt32),
            "arrived_at": pl.Series([start + timedelta(seconds=i) for i in range(n)], dtype=pl.Datetime("us", "UTC")),
            "input.x": self.x,
            "input.carrier": self.carrier,
        }
        outputs = kept(self.manifest, self.predictions)
        return pl.DataFrame(found | {f"output.{name}": values for name, values in outputs.items()})

    def joined(self) -> Joined:
        """The rows with their labels."""
        rows = self.captured().with_columns(pl.Series(TRUTH, [str(value) for value in self.truth], dtype=pl.String))
        return Joined(rows, LabelCounts(requests=rows.height, joined=rows.height))

    def answers(self) -> Answers:
        """The rows with their truth, for scorers."""
        return judged(self.manifest, self.predictions, pl.Series([str(value) for value in self.truth]), self.manifest.classes)

    def score(self, metric: str) -> float:
        """The true score."""
        answers = self.answers()
        return answers.score(metric, answers.rows)

    def estimation(self, metrics: tuple[str, ...] = ()) -> Estimation:
        """What publishing would keep of these rows as a holdout."""
        holdout = pl.DataFrame({"x": self.x, "carrier": self.carrier})
        return estimation.fit(self.manifest, metrics, self.answers(), holdout, self.predictions, 0)


def softmax(logits: Floats) -> Floats:
    """Rows that add up to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares
