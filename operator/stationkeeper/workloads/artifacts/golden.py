"""Golden rows: synthetic rows with the answers that the shipped model gave when it was published."""

from typing import Any

import numpy as np
from pydantic import ValidationError

from stationkeeper.api.base import Tolerant, canonical_json
from stationkeeper.workloads.artifacts.columns import Columns, from_lists, to_lists
from stationkeeper.workloads.artifacts.errors import ArtifactError, MalformedArtifact
from stationkeeper.workloads.artifacts.runtime import Predictions, Predictor


class ParityError(ArtifactError):
    """A loaded model does not give the answers that it gave when it was published."""


class Golden(Tolerant):
    """The file `golden.json`."""

    columns: dict[str, list[Any]]
    labels: list[str] | None = None
    probabilities: list[list[float]] | None = None
    values: list[float] | None = None
    tolerance: float  # largest difference allowed; of values relative to their size

    @classmethod
    def of(cls, columns: Columns, answers: Predictions, tolerance: float) -> "Golden":
        """Golden rows from columns and the answers to them."""
        lists = {n: None if a is None else a.tolist() for n, a in _fields(answers).items()}
        return cls(columns=to_lists(columns), tolerance=tolerance, **lists)

    @classmethod
    def decode(cls, data: bytes) -> "Golden":
        """Read `golden.json`.

        Raises:
            MalformedArtifact: when it is not one.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise MalformedArtifact(f"golden.json cannot be read: {error}") from error

    def encode(self) -> bytes:
        """The bytes of `golden.json`."""
        return canonical_json(self.wire_full())

    def wire_full(self) -> dict[str, Any]:
        """The JSON object; missing values inside columns stay null."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value is not None}

    def verify(self, predictor: Predictor) -> None:
        """Hold a loaded model to its answers.

        Raises:
            ParityError: when it answers otherwise.
        """
        answers = predictor.predict(from_lists(self.columns, predictor.meaning.features))
        for name, got in _fields(answers).items():
            wanted = getattr(self, name)
            if (wanted is None) != (got is None):
                raise ParityError(f"{name}: the model {'gives none' if got is None else 'gives what it did not give'}")
            if wanted is not None:
                self._compare(name, np.asarray(wanted, dtype=got.dtype), got)

    def _compare(self, name: str, wanted: Any, got: Any) -> None:
        if wanted.shape != got.shape:
            raise ParityError(f"{name}: {got.shape} answers instead of {wanted.shape}")
        if name == "labels":
            differs = int((wanted != got).sum())
        else:
            allowed = self.tolerance * (np.maximum(1.0, np.abs(wanted)) if name == "values" else 1.0)
            differs = int((~(np.abs(wanted - got) <= allowed)).sum())
        if differs:
            raise ParityError(f"{name}: {differs} of {got.size} golden answers differ from those at publishing")


def _fields(answers: Predictions) -> dict[str, Any]:
    return {"labels": answers.labels, "probabilities": answers.probabilities, "values": answers.values}
