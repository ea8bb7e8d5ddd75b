"""Captured requests with their labels as training rows: what preparing asks for. `quality.feedback` gathers them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import FeedbackRecord, Manifest
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.inputs import Opened

PLACE: Final = -1  # in the column `reading.OBJECT`: rows that no object of the data brought


@dataclass(frozen=True, slots=True)
class Fed:
    """Captured rows that have a label.

    rows: features by their plain names, target, the column of time, and `reading.OBJECT`.
    record: what became of all captured rows.
    digest: of the frozen list that they come from.
    notes: what people should know of them.
    """

    rows: pl.DataFrame
    record: FeedbackRecord
    digest: str
    notes: list[str] = field(default_factory=list)


class Gather(Protocol):
    """Freezes and reads captured rows and their labels."""

    def __call__(self, config: TrainConfig, champion: Manifest | None, artifacts: Store, opened: Opened, folder: Path) -> Fed:
        """The rows of one attempt: the same for every pod of it.

        Raises:
            AttemptEnded: InvalidData, when labels cannot be read or what was frozen has changed.
            StoreError: when a store fails.
        """
        ...


def gathered(
    gather: Gather | None, config: TrainConfig, champion: Manifest | None, artifacts: Store, opened: Opened, folder: Path
) -> Fed | None:
    """The feedback that the spec asks for; None where it asks for none, or where nothing was captured in this place.

    Raises:
        AttemptEnded: InvalidData.
        StoreError: when a store fails.
    """
    if config.training.data.feedback is None or gather is None:
        return None
    if config.labels is None:
        raise invalid("InvalidSpec", "data.feedback needs spec.labels: captured requests without their answers teach nothing")
    return gather(config, champion, artifacts, opened, folder)
