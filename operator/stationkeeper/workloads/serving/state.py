"""What a serving pod is doing, as its health answers tell it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stationkeeper.api.manifest import Manifest
from stationkeeper.workloads.artifacts.columns import Columns
from stationkeeper.workloads.artifacts.runtime import Predictor
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.serving.answers import Renderer
from stationkeeper.workloads.serving.moments import Told
from stationkeeper.workloads.serving.protocol import Contract


@dataclass(frozen=True, slots=True)
class Served:
    """A revision that has proven parity."""

    digest: str
    manifest: Manifest
    predictor: Predictor
    reference: ReferenceProfile | None  # None where no rows were known: then rows are captured and none are counted
    contract: Contract
    renderer: Renderer


class Recorder(Protocol):
    """Remembers what was asked. Must return at once and never raise; may be called from several threads."""

    def answered(
        self,
        request_id: str,
        arrived: float,
        columns: Columns,
        outputs: Columns,
        extra: Sequence[str],
        size: int,
        told: Told | None = None,
    ) -> None:
        """Rows were answered; `arrived` is Unix time, `size` about how many bytes they hold, `told` when they happened."""
        ...

    def refused(
        self, arrived: float, missing: Sequence[str], mismatched: Sequence[str], rows: int, told: Told | None = None
    ) -> None:
        """Rows were refused because columns were missing or of another type."""
        ...


@dataclass(slots=True)
class State:
    """Shared by the application and the process around it; written on the event loop only."""

    served: Served | None = None
    recorder: Recorder | None = None
    draining: bool = False
    problem: str = field(default="the model is being loaded")

    @property
    def not_ready(self) -> str | None:
        """Why new traffic should not come here; None when it should."""
        if self.draining:
            return "the pod is ending"
        return None if self.served is not None else self.problem
