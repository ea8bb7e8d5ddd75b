"""Labels in a replay: the truth of the history, told a lag after the rows that it belongs to, and judged as the drift check does."""

import io
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from stationkeeper.api.driftpolicy import DriftPolicySpec, QualityChecks
from stationkeeper.api.manifest import FILE_ESTIMATION
from stationkeeper.api.model import Labels
from stationkeeper.api.report import QualityResult
from stationkeeper.api.verdicts import QualityVerdict, Verdict
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.captured import read_captured
from stationkeeper.workloads.artifacts.errors import ArtifactError
from stationkeeper.workloads.backtest.folder import FolderStore
from stationkeeper.workloads.backtest.served import Served, request_keys
from stationkeeper.workloads.checks.labelled import MAX_ROWS
from stationkeeper.workloads.checks.matured import gravest
from stationkeeper.workloads.checks.summary import cut
from stationkeeper.workloads.checks.window import seed
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.quality.labels import join, read_labels
from stationkeeper.workloads.quality.score import judge_quality
from stationkeeper.workloads.training.estimation import Estimation


@dataclass(frozen=True, slots=True)
class Desk:
    """Keeps the labels of each window until they have matured."""

    store: FolderStore
    config: Labels  # in Parquet, as they are kept here
    target: str  # column of the history

    def keep(self, served: Served, window: Window, rows: pl.DataFrame, number: int) -> None:
        """Write the labels of the rows that were captured as part `number`, as the Model says labels come."""
        config, selection = self.config, self.config.selection
        requests, position = request_keys(rows.height, number)
        names = {config.column or self.target: self.target} | ({selection.column: selection.column} if selection else {})
        kept = [pl.col(name).alias(alias) for alias, name in names.items() if name in rows.columns]
        buffer = io.BytesIO()
        rows.select(requests.alias(config.key), position, *kept).write_parquet(buffer)
        self.store.put(f"{_folder(served, window)}{number}.{config.format}", buffer.getvalue())

    def judge(self, served: Served, window: Window, policy: DriftPolicySpec, now: datetime) -> QualityVerdict | None:
        """The verdict on the labels of what a revision answered in a window; None where it answered nothing."""
        assert policy.quality is not None
        revision, manifest = served.revision, served.manifest
        captured = read_captured(revision.store, revision.digest, window.start, window.end, max_rows=MAX_ROWS)
        if captured is None:
            return None
        try:
            labels = read_labels(self.store.below(_folder(served, window)), self.config, manifest, captured, window.start)
            joined = join(captured, labels, self.config, as_of=now)
            results = judge_quality(
                joined,
                manifest,
                policy.quality,
                estimation=_estimation(served),
                segments=policy.segments,
                seed=seed(str(manifest.number), window),  # a digest holds the moment of writing: replays would differ by it
            )
        except ArtifactError as error:
            return _verdict(window, [_error(policy.quality, str(error))])
        return _verdict(window, results)


def _folder(served: Served, window: Window) -> str:
    return f"labels/{keys.hexadecimal(served.revision.digest)}/{keys.slot_name(window.start)}/"


def _estimation(served: Served) -> Estimation | None:
    ref = served.manifest.files.get(FILE_ESTIMATION)
    return Estimation.decode(get_blob(served.revision.store, ref)) if ref else None


def _error(check: QualityChecks, why: str) -> QualityResult:
    return QualityResult(metric=check.metric, method="Labels", verdict=Verdict.ERROR, message=why)


def _verdict(window: Window, results: list[QualityResult]) -> QualityVerdict:
    whole = results[0]
    told = [f"{result.segment}: {result.message}" for result in results[1:] if result.verdict is Verdict.BREACHED]
    return QualityVerdict(
        start=window.start,
        end=window.end,
        verdict=gravest(results),
        labels=whole.labels.joined,
        score=whole.score.value if whole.score else None,
        message=cut("; ".join([whole.message, *told])),
    )
