"""The rows of a window, divided: those that teach, those that judge, and those between that do neither."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Column, Manifest
from stationkeeper.workloads.training import schema
from stationkeeper.workloads.training.ending import AttemptEnded, invalid
from stationkeeper.workloads.training.overlap import Judging
from stationkeeper.workloads.training.segments import check_segments, segment_columns
from stationkeeper.workloads.training.split import check_enough, gap_between, split, without
from stationkeeper.workloads.training.windows import shortest_since


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """A holdout of its own, and the digest of the list of its objects."""

    rows: pl.DataFrame
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Divided:
    """The rows, and how those that judge were kept apart."""

    train: pl.DataFrame
    between: pl.DataFrame
    holdout: pl.DataFrame
    judging: Judging


def divide(
    rows: pl.DataFrame,
    config: TrainConfig,
    champion: Manifest | None,
    features: Sequence[Column],
    end: datetime | None,
    frozen: Frozen | None,
) -> Divided:
    """Divide labelled rows.

    Parameters:
        rows: of the window that reaches furthest back.
        config: the attempt.
        champion: what serves.
        features: what is learned; the champion's own and the columns of segments are kept for judging.
        end: of the window.
        frozen: a holdout of its own.

    Raises:
        AttemptEnded: InvalidData, when there are too few, or what the gates look at is missing.
    """
    data, evaluation = config.training.data, config.training.evaluation
    segments = segment_columns(evaluation.gates)
    source = rows if frozen is None else frozen.rows
    check_segments(source, segments)
    names, time = [feature.name for feature in features], [data.timestamp] if data.timestamp else []
    theirs = [column.name for column in champion.features] if champion else []
    judged = [name for name in dict.fromkeys([*names, *theirs, data.target, *time, *segments]) if name in source.columns]
    if frozen is not None:
        holdout = _readable(frozen, features).select(judged)
        train = without(rows, holdout, [*names, data.target, *time])
        check_enough(train, holdout)
        # Of what lies before a window, or beyond a limit, nothing is known.
        apart = data.reach is None and data.max_rows is None and train.height == rows.height
        return Divided(train, train.clear(), holdout, Judging(evaluation.holdout, frozen.digest, apart))
    judging = Judging(evaluation.holdout)
    through = judging.known_through(champion) if champion else None
    hashed, since = [*names, data.target], shortest_since(rows, data, end)
    onset = config.onset if data.as_of == "Now" else None  # which is of the wall's clock
    train, holdout = split(rows, data.timestamp, evaluation.holdout, config.split_key, hashed, through, since, onset)
    return Divided(train, gap_between(rows, data.timestamp, train, holdout), holdout.select(judged), judging)


def _readable(frozen: Frozen, features: Sequence[Column]) -> pl.DataFrame:
    try:
        schema.check_readable(frozen.rows, features)
    except AttemptEnded as ending:
        raise invalid(ending.reason, f"evaluation.holdout.uri: {ending.message}") from ending
    return frozen.rows
