"""The revision that served before, asked for the rows that its successor answered: is the new one surely worse? (SEMANTICS §8.2)"""

from dataclasses import dataclass
from typing import Self

import polars as pl

from stationkeeper.api.manifest import MODEL_FILES, Manifest, Score, Task
from stationkeeper.api.report import Beside
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.captured import INPUT
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.runtime import Predictor
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.quality.answers import MetricError, answers, blocks, sound
from stationkeeper.workloads.quality.labels import TRUTH
from stationkeeper.workloads.training.bench import Bench, compare
from stationkeeper.workloads.training.metrics import Answers, judged


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A revision that has served, loaded to be asked again."""

    manifest: Manifest
    predictor: Predictor

    @classmethod
    def load(cls, store: Store, digest: str) -> Self:
        """Fetch it.

        Raises:
            StoreError, ArtifactError: when it is not there, or not what was published.
        """
        manifest = load_manifest(store, digest)
        name = MODEL_FILES[manifest.format]
        return cls(manifest, load_model(manifest, {name: get_blob(store, manifest.files[name])}))

    def beside(self, rows: pl.DataFrame, serving: Manifest, metric: str, seed: int) -> Beside:
        """Both revisions on the same labelled rows.

        Args:
            rows: captured, with their truth; rows of classes that were not learned are left out.
            serving: the revision that answered them.
            metric: a scikit-learn scorer.
            seed: of the paired bootstrap.

        Raises:
            MetricError: when the two answer other questions.
            ColumnError: when a feature of the predecessor was not captured.
            MalformedArtifact: when the rows lack the model's output.
        """
        if self.manifest.task is not serving.task:
            raise MetricError(f"revision {self.manifest.number} is a {self.manifest.task} model")
        if set(self.manifest.classes) != set(serving.classes):
            raise MetricError(f"revision {self.manifest.number} knows other classes")
        if serving.task is not Task.REGRESSION:
            rows = rows.filter(pl.col(TRUTH).is_in(serving.classes))
        rows, _ = sound(rows, serving)
        ours = answers(rows, serving, rows[TRUTH])
        bench = Bench(serving.task, ours, self._answers(rows, serving), blocks(rows), seed)
        if not bench.enough():
            raise MetricError("too few rows of a class")
        found = compare(bench, metric)
        return Beside(number=self.manifest.number, score=found.champion, drop=found.drop, worse=_sure(found.drop))

    def _answers(self, rows: pl.DataFrame, serving: Manifest) -> Answers:
        features = self.manifest.features
        inputs = rows.select(pl.col(INPUT + f.name).alias(f.name) for f in features if INPUT + f.name in rows.columns)
        return judged(serving, self.predictor.predict(from_frame(inputs, features)), rows[TRUTH], self.manifest.classes)


def _sure(drop: Score) -> bool:
    return drop.low is not None and drop.low > 0
