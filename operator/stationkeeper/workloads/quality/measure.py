"""The score of labelled rows, with its interval and its skill."""

import warnings

import polars as pl

from stationkeeper.api.manifest import Manifest, Score
from stationkeeper.workloads.quality.answers import MetricError, answers, blocks, suitable
from stationkeeper.workloads.quality.labels import TRUTH
from stationkeeper.workloads.quality.verdict import Measured
from stationkeeper.workloads.training import bench
from stationkeeper.workloads.training.ending import AttemptEnded


class TooFew(Exception):  # noqa: N818 - a finding
    """Why labels do not suffice."""


def measure(rows: pl.DataFrame, manifest: Manifest, metric: str, least: int, seed: int) -> Measured:
    """The score on labels.

    Args:
        rows: captured, with `truth`; their answers are `sound`, their truth is of classes that the model knows.
        manifest: of the revision that answered.
        metric: a scikit-learn scorer.
        least: so many labels suffice.
        seed: of the bootstrap.

    Raises:
        TooFew: when they do not.
        MetricError: when the metric cannot be computed.
        MalformedArtifact: when the rows lack the model's output.
    """
    if rows.height < least:
        raise TooFew(f"{rows.height} matured labels are fewer than the {least} of minLabels")
    given = answers(rows, manifest, rows[TRUTH])
    suitable(metric, manifest, probabilities=given.probabilities is not None)
    alone = bench.Bench(manifest.task, given, None, blocks(rows), seed)
    if not alone.enough():
        raise TooFew(f"{rows.height} matured labels hold fewer than {bench.MIN_ROWS} of a class")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # precision is undefined where nobody is called positive
        try:
            score, gain = _scored(alone, metric)
        except (AttemptEnded, ValueError, AttributeError, TypeError) as error:
            line = (str(error).splitlines() or [""])[0][:300]
            raise MetricError(f"{metric} cannot be computed on these labels: {line}") from error
    return Measured(score, rows.height, gain)


def _scored(alone: bench.Bench, metric: str) -> tuple[Score, Score | None]:
    """The score, and how far it lies above the best constant; None where no constant has any."""
    given = alone.challenger
    given.score(metric, given.rows)  # what does not fit is told in scikit-learn's words
    constant = given.constant(metric)
    if constant is None:
        return bench.measure(alone, metric), None
    found = bench.compare(bench.Bench(alone.task, given, constant, alone.blocks, alone.seed), metric)
    return found.challenger, Score(value=-found.drop.value, low=_negative(found.drop.high), high=_negative(found.drop.low))


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def shown(score: Score) -> str:
    """A score with its interval, for people."""
    return f"{score.value:.4f}" + ("" if score.low is None or score.high is None else f" ({score.low:.4f} to {score.high:.4f})")
