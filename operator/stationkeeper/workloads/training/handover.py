"""What the containers of a training pod hand to each other over the shared volume."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from stationkeeper.api.base import Digest, Time, Tolerant
from stationkeeper.api.manifest import Column, DataRecord, Task
from stationkeeper.api.meta import PATH_DATA, PATH_MODEL, PATH_WORK

TARGET: Final = "target"  # a number, or the position of the class in `Schema.classes`
ENV_ROOT: Final = "STATIONKEEPER_ROOT"


class Stretch(Tolerant):
    """The rows that one challenger of several learns: those after `start`."""

    window: str  # as the spec has it
    start: Time
    rows: int


class Schema(Tolerant):
    """What the rows mean; `train` reads it beside them."""

    task: Task
    features: list[Column]
    target: str  # in the files: the class label as text, or a number
    timestamp: str | None = None
    classes: list[str] = []  # of the training rows, in order
    class_kind: Literal["string", "integer", "boolean"] = "string"
    positive_label: str | None = None
    stretches: list[Stretch] = []  # of several windows, shortest first: a challenger is trained on each; empty: one, on all rows


class Prepared(Tolerant):
    """What `prepare` found."""

    rows_schema: Schema
    data: DataRecord  # of the whole window; start and through are those of the training rows
    holdout_rows: int
    holdout_start: Time | None = None
    holdout_end: Time | None = None
    # Rows of the holdout up to this time were seen by the champion and judge nothing between the two.
    champion_through: Time | None = None
    champion_shares_split: bool = True  # without time: whether the hash kept the same rows from the champion
    frozen: Digest | None = None  # the holdout is of its own: the list of its objects
    frozen_apart: bool = False  # none of its rows was ever in the data
    look: int = 1  # which one at the gates of its episode


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of the pod. `data` is all that a team's own training container sees of the rows."""

    data: Path
    model: Path
    work: Path

    @classmethod
    def under(cls, root: str | Path) -> Self:
        """The pod's layout below another root than `/`."""
        return cls(*(Path(root) / path.lstrip("/") for path in (PATH_DATA, PATH_MODEL, PATH_WORK)))

    @classmethod
    def from_environment(cls) -> Self:
        """The pod's layout; `STATIONKEEPER_ROOT` moves it, for use outside a pod."""
        return cls.under(os.environ.get(ENV_ROOT, "/"))

    @property
    def train(self) -> Path:
        """Training rows (Parquet)."""
        return self.data / "train.parquet"

    @property
    def input(self) -> Path:
        """The same as a model gets them, for a team's own container: columns n0 … and t0 …, and `TARGET`."""
        return self.data / "input.parquet"

    @property
    def schema(self) -> Path:
        """Their meaning: `Schema`."""
        return self.data / "schema.json"

    @property
    def holdout(self) -> Path:
        """Rows that judge; not mounted where a team's container trains."""
        return self.work / "holdout.parquet"

    @property
    def gap(self) -> Path:
        """Rows between the two, which neither teach nor judge; a refit learns them."""
        return self.work / "gap.parquet"

    @property
    def prepared(self) -> Path:
        """`Prepared`."""
        return self.work / "split.json"

    @property
    def fitted(self) -> Path:
        """The fitted pipeline (skops)."""
        return self.fitted_on(0)

    def fitted_on(self, stretch: int) -> Path:
        """The one that was fitted on a stretch, by its place among `Schema.stretches`."""
        return self.model / (f"model-{stretch}.skops" if stretch else "model.skops")

    def found_on(self, stretch: int) -> Path:
        """The parameters that were found for it: a `SearchRecord`."""
        return self.model / f"search-{stretch}.json"

    @property
    def onnx(self) -> Path:
        """In its place, from a team's own container: a model that is ONNX."""
        return self.model / "model.onnx"

    @property
    def broken(self) -> Path:
        """Why there is no fitted pipeline: a `FailureSummary`."""
        return self.model / "failed.json"

    @property
    def markers(self) -> tuple[Path, Path]:
        """The outcome of an attempt that is over already: for `train`, and for `evaluate-and-publish`."""
        return self.data / "outcome.json", self.work / "outcome.json"

    def make(self) -> None:
        """Create the directories."""
        for path in (self.data, self.model, self.work):
            path.mkdir(parents=True, exist_ok=True)
