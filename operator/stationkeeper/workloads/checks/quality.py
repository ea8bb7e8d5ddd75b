"""Quality before labels come, in a window's report, and on matured labels, in a report of its own.

Trouble with labels or with an estimate is told and never raised: what counts and rows showed of a window stands.
"""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import polars as pl

from stationkeeper.api.base import format_time
from stationkeeper.api.driftpolicy import QualityChecks
from stationkeeper.api.jobs import RevisionIdentity
from stationkeeper.api.manifest import FILE_ESTIMATION, Task
from stationkeeper.api.report import Beside, QualityPoint, QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.errors import ArtifactError, NotFound
from stationkeeper.workloads.checks.history import History
from stationkeeper.workloads.checks.labelled import Labelled
from stationkeeper.workloads.checks.revision import Revision, line
from stationkeeper.workloads.checks.window import seed
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.quality.estimate import Proof, estimate
from stationkeeper.workloads.quality.labels import Joined
from stationkeeper.workloads.quality.measure import shown
from stationkeeper.workloads.quality.predecessor import Predecessor
from stationkeeper.workloads.training.estimation import Estimation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quality:
    """The quality of one revision by one policy."""

    check: QualityChecks
    revision: Revision
    labelled: Labelled | None  # None where the Model names no labels
    past: History
    before: RevisionIdentity | None = None  # the predecessor, while the revision is on probation
    notes: list[str] = field(default_factory=list)

    def history(self, window: Window) -> list[QualityPoint]:
        """The quality of the windows before."""
        return self.past.before(window)

    def estimated(self, window: Window, captured: pl.DataFrame, broken: str) -> QualityResult | None:
        """The quality of captured rows without their labels; None where the policy wants no estimate."""
        if self.check.estimate == "Off":
            return None
        proof = Proof(self._newest, broken)
        drawn = seed(self.revision.digest, window)
        try:
            return estimate(captured, self.revision.manifest, self.check, self.estimation, proof, seed=drawn)
        except Exception as error:
            log.exception("window %s: its quality was not estimated", format_time(window.start))
            return self._failed(f"the quality was not estimated: {line(error)}")

    def _failed(self, said: str) -> QualityResult:
        method: Literal["CBPE", "DLE"] = "DLE" if self.revision.manifest.task is Task.REGRESSION else "CBPE"
        return QualityResult(metric=self.check.metric, method=method, withheld=said, verdict=Verdict.ERROR, message=said)

    @cached_property
    def _newest(self) -> Joined | None:
        try:
            return self.labelled.newest if self.labelled else None
        except Exception as error:  # also a store of labels that fails: it need not be the Model's own
            log.warning("labels were not read: %s", error)
            self._note(f"labels were not read: {line(error)}")
            return None

    def beside(self, joined: Joined, whole: QualityResult, drawn: int) -> QualityResult:
        """The quality on labels, with what the predecessor makes of the same rows; trouble with that is told and no more."""
        if self.before is None or whole.score is None:
            return whole
        try:
            found = self._predecessor.beside(joined.rows, self.revision.manifest, self.check.metric, drawn)
        except Exception as error:
            log.warning("revision %d was not asked: %s", self.before.number, error)
            self._note(f"revision {self.before.number} was not asked: {line(error)}")
            return whole
        return whole.model_copy(update={"predecessor": found, "message": f"{whole.message}; {_compared(found)}"})

    @cached_property
    def _predecessor(self) -> Predecessor:
        assert self.before is not None
        return Predecessor.load(self.revision.store, self.before.digest)

    @cached_property
    def estimation(self) -> Estimation | None:
        """What the revision knows of its quality; None where that is nothing."""
        ref = self.revision.manifest.files.get(FILE_ESTIMATION)
        if ref is None:
            return None
        try:
            return Estimation.decode(get_blob(self.revision.store, ref))
        except (ArtifactError, NotFound) as error:
            self._note(f"{FILE_ESTIMATION} cannot be used: {line(error)}")
            return None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _compared(found: Beside) -> str:
    below = f"{found.drop.value:.4f} below" if found.drop.value > 0 else f"{-found.drop.value:.4f} above"
    return f"{below} revision {found.number} on the same rows ({shown(found.score)})" + (", surely" if found.worse else "")
