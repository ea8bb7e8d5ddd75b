"""What a check tells the operator: the newest windows, as many as its termination message holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.report import DriftReport
from stationkeeper.api.summary import CheckSummary
from stationkeeper.api.verdicts import ColumnStatistic, QualityVerdict, RetiredCheck, Verdict, WindowVerdict
from stationkeeper.workloads.drift.windows import Window
from stationkeeper.workloads.report.ranking import ranked

MAX_TOLD: Final = 10  # windows in the termination message
_SILENT: Final = 3  # of them without a verdict, where there are enough others
MAX_COLUMNS: Final = 10
MAX_BYTES: Final = 3072
# What is left out when it does not fit, in this order, down to so many.
_FLOORS: Final = (("columns", 3), ("quality", 4), ("windows", 6), ("columns", 0), ("quality", 2), ("windows", 2), ("quality", 0))
_RETIRED: Final = 4  # windows of each kind, of the revision before
T = TypeVar("T")
_LOUD, _QUIET = 256, 80  # characters of the newest message, and of the others that did not pass
_ADDRESS: Final = 512


@dataclass(frozen=True, slots=True)
class Told:
    """A window and what was found; without a report where none is kept."""

    verdict: WindowVerdict
    report: DriftReport | None = None
    uri: str | None = None
    page: str | None = None


def of_report(report: DriftReport, uri: str, page: str) -> Told:
    """A window that was judged."""
    verdict = WindowVerdict(
        start=report.start,
        end=report.end,
        data=report.data,
        features=report.features,
        predictions=report.predictions,
        rows=report.rows,
        drifted_share=report.drifted_share,
        calibrating=[found.group for found in report.calibrating if found.breached],
        message=cut(report.message, _LOUD),
    )
    return Told(verdict, report, uri, page)


def unjudged(window: Window, verdict: Verdict, why: str) -> Told:
    """A window without a report."""
    return Told(
        WindowVerdict(
            start=window.start, end=window.end, data=verdict, features=verdict, predictions=verdict, message=cut(why, _LOUD)
        )
    )


def newest(told: Sequence[T], judged: Sequence[bool]) -> list[T]:
    """The newest windows, in their order: silence after a verdict does not keep it back."""
    spoken = [i for i, so in enumerate(judged) if so]
    silent = [i for i, so in enumerate(judged) if not so]
    kept = spoken[-(MAX_TOLD - min(len(silent), _SILENT)) :]
    kept += silent[len(silent) - min(len(silent), MAX_TOLD - len(kept)) :]
    return [told[i] for i in sorted(kept)]


def summarise(
    config: CheckConfig,
    told: Sequence[Told],
    quality: Sequence[QualityVerdict] = (),
    retired: RetiredCheck | None = None,
    calibrating: str = "",
) -> CheckSummary:
    """The newest windows, as many as fit; the message of the newest is whole, those of passed ones are left out."""
    kept = newest(told, [t.report is not None for t in told])
    last = next((t for t in reversed(kept) if t.report), None)
    summary = CheckSummary(
        policy_uid=config.policy_uid,
        policy_digest=config.policy_digest,
        revision_digest=config.revision.digest,
        windows=[_shortened(t.verdict, _LOUD if t is kept[-1] else _QUIET) for t in kept],
        quality=list(quality[-MAX_TOLD:]),
        retired=retired,
        calibrating=cut(calibrating),
        columns=_columns(last.report) if last and last.report else [],
        report=_address(last.uri if last else None),
        page=_address(last.page if last else None),
    )
    while _size(summary) > MAX_BYTES:
        summary = _smaller(summary)
    return summary


def of_retired(config: CheckConfig, told: Sequence[Told], quality: Sequence[QualityVerdict]) -> RetiredCheck:
    """What was still found of the revision before: a few windows, shortly told."""
    judged = [_shortened(t.verdict, _QUIET) for t in told if t.report]
    labelled = [found.model_copy(update={"message": cut(found.message, _QUIET)}) for found in quality]
    return RetiredCheck(revision_digest=config.revision.digest, windows=judged[-_RETIRED:], quality=labelled[-_RETIRED:])


def _size(summary: CheckSummary) -> int:
    return len(summary.model_dump_json(by_alias=True, exclude_none=True).encode())


def _smaller(summary: CheckSummary) -> CheckSummary:
    """Without the least wanted: the revision before, the least of the columns, the oldest of the windows."""
    if summary.retired and (summary.retired.windows or summary.retired.quality):
        fewer = {"windows": []} if summary.retired.windows else {"quality": summary.retired.quality[1:]}
        return summary.model_copy(update={"retired": summary.retired.model_copy(update=fewer)})
    for name, least in _FLOORS:
        items = getattr(summary, name)
        if len(items) > least:
            return summary.model_copy(update={name: items[:-1] if name == "columns" else items[1:]})
    return summary.model_copy(update={"report": None, "page": None})


def _columns(report: DriftReport) -> list[ColumnStatistic]:
    """What lies the furthest from the reference."""
    compared = [c for c in ranked(report.columns) if c.statistic is not None and c.threshold is not None]
    return [
        ColumnStatistic(
            name=c.name[:128], test=c.test, statistic=float(f"{c.statistic:.4g}"), threshold=float(f"{c.threshold:.4g}")
        )
        for c in compared[:MAX_COLUMNS]
    ]


def _address(uri: str | None) -> str | None:
    return uri if uri and len(uri) <= _ADDRESS else None


def _shortened(verdict: WindowVerdict, limit: int) -> WindowVerdict:
    passed = {verdict.data, verdict.features, verdict.predictions} == {Verdict.PASSED}
    text = "" if passed and limit == _QUIET else cut(verdict.message, limit)
    return verdict.model_copy(update={"message": text})


def cut(text: str, limit: int = _LOUD) -> str:
    """A message within its limit."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
