"""Labels that contradict all others: a day or an object that somebody, or some bug, has labelled otherwise.

What the world does must pass: base rates double in a stormy week, and a concept may turn for good. So what is looked for is neither:

upside down   labels relate to the serving revision's answers the other way round, beyond chance, where nearly all others agree with it
constant      one class only, where no other block comes near that
no relation   labels as if drawn from a hat, for some days between days of firm agreement: it came and it went
another unit  (regression) labels scaled by a power of ten

and only where few of the blocks are so, and for the first case not the newest five days in a row: what many say is the world, and
is learned.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from stationkeeper.api.data import Data
from stationkeeper.api.manifest import FILE_ONNX, FILE_SKOPS, Manifest, Task
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.columns import ColumnError, from_frame
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.drift import units
from stationkeeper.workloads.drift.bins import NumericReference, column_reference
from stationkeeper.workloads.training.blocks import MIN_ROWS, by_days
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.reading import OBJECT, InputFile

log = logging.getLogger(__name__)

MIN_BLOCKS: Final = 10  # fewer do not show what is usual
MAX_BLOCKS: Final = 400
MAX_SHARE: Final = 0.1  # of the blocks: more are the world
_LOOKED_AT: Final = 2_000  # rows of a block that the champion is asked for
_SURE: Final = 6.0  # standard errors
_REVERSED: Final = 4.0  # the same; the worst of 345 days of real flights was at 1.1, and turned round half of them are beyond 7
_LASTING: Final = 5  # of the newest stretches of days, in a row
_FIRM: Final = 0.1  # agreement of the usual block, at least
_CONSTANT: Final = 0.99  # share of one class
_LIKELIHOOD: Final = 14.0  # nats: a millionth
_RARE: Final = 20  # rows of a class, at least
_ALPHA: Final = 1e-6
TRUTH: Final = "__truth__"
SCORE: Final = "__score__"
_NAMED: Final = 3

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one stretch of days, or of one object."""

    name: str
    rows: pl.DataFrame  # target, and the champion's answers where there are any
    objects: Sequence[int] = ()
    new: bool = False  # the champion did not learn them, and answers them worse than what it knows by heart


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the labels of a block relate to the champion's answers: 1 as it says, 0 not at all, -1 the other way round."""

    value: float
    error: float  # standard error if there were no relation


def check_labels(
    rows: pl.DataFrame, data: Data, champion: Manifest | None, artifacts: Store, files: Sequence[InputFile], *, classifier: bool
) -> list[str]:
    """Look for blocks of rows whose labels contradict all others.

    Args:
        rows: labelled rows, classes as text, with the column `reading.OBJECT`.
        data: what columns are for.
        champion: the serving revision, whose answers are what labels are held to; without one only the labels are looked at.
        artifacts: the store with it.
        files: the inputs, for their names.
        classifier: whether classes are learned.

    Returns:
        What people should know, where the spec accepts it.

    Raises:
        AttemptEnded: InvalidData with SuspectedPoisonedLabels.
        StoreError, ArtifactError: when the champion cannot be loaded.
    """
    answered = _asked(rows, data, champion, artifacts, classifier=classifier)
    said: list[str] = []
    for blocks, in_order in (
        (_days(answered, data, _learned_until(champion)), True),
        (_objects(answered, files, data.timestamp), False),
    ):
        if len(blocks) >= MIN_BLOCKS:
            said += _contradictions(blocks, data.target, files, classifier=classifier, in_order=in_order)
    if not said:
        return []
    named = "; ".join(said[:_NAMED]) + (f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else "")
    if data.validation.poisoned_labels == "Accept":
        return [f"accepted although labels contradict all others: {named}"]
    raise invalid(
        "SuspectedPoisonedLabels",
        f"{named}. Restore those labels. If it is the world that changed, the days that follow will say the same, and then it is "
        "learned; or set data.validation.poisonedLabels: Accept",
    )


def _asked(rows: pl.DataFrame, data: Data, champion: Manifest | None, artifacts: Store, *, classifier: bool) -> pl.DataFrame:
    """The rows that are looked at, with what the champion says of them: a number, or a class."""
    keep = [OBJECT, data.target, *([data.timestamp] if data.timestamp else [])]
    task = champion.task if champion else None
    if champion is None or champion.target != data.target or classifier is (task is Task.REGRESSION):
        return rows.select(keep)
    name = FILE_ONNX if champion.format == "onnx" else FILE_SKOPS
    # Of a block some rows are enough; every n-th, so that the same are asked each time.
    few = rows.gather_every(max(1, rows.height // (MAX_BLOCKS * _LOOKED_AT)))
    try:
        columns = from_frame(few, champion.features)
    except ColumnError as error:
        log.warning("revision %d is not asked what it says of the labels: %s", champion.number, error)
        return rows.select(keep)
    said = load_model(champion, {name: get_blob(artifacts, champion.files[name])}).predict(columns)
    truth = few[data.target]
    known = truth.is_in(champion.classes)
    if champion.task is Task.BINARY:
        truth = (truth == champion.classes[1]).set(~known, None)
    score = _score(said, champion)
    score = score.fill_nan(None) if score.dtype.is_float() else score  # a model may overflow
    return few.select(keep).with_columns(truth.alias(TRUTH), score.alias(SCORE))


def _score(said: Predictions, champion: Manifest) -> pl.Series:
    if said.values is not None:
        return pl.Series(said.values)
    if champion.task is Task.BINARY and said.probabilities is not None:
        return pl.Series(said.probabilities[:, 1])
    assert said.labels is not None
    if champion.task is Task.BINARY:
        return pl.Series((said.labels == champion.classes[1]).astype(np.float64))
    return pl.Series(said.labels.tolist(), dtype=pl.String)


def _learned_until(champion: Manifest | None) -> datetime | None:
    """Up to when rows taught the champion: what judged it did so only in a refit."""
    if champion is None:
        return None
    judged = champion.evaluation
    return champion.data.through if judged.refit == "WholeWindow" else judged.holdout_start or champion.data.through


def _days(rows: pl.DataFrame, data: Data, learned: datetime | None) -> list[Block]:
    if data.timestamp is None:
        return []
    found = []
    for stretch in by_days(rows, data.timestamp, MAX_BLOCKS):
        objects, last = sorted(stretch.rows[OBJECT].unique().to_list()), stretch.rows[data.timestamp].max()
        new = learned is not None and isinstance(last, datetime) and last > learned
        found.append(Block(f"of {stretch.name}", stretch.rows, objects, new))
    return found


def _objects(rows: pl.DataFrame, files: Sequence[InputFile], timestamp: str | None) -> list[Block]:
    """Objects that lie across time, as one for each region does; those of a few days are looked at as days."""
    if rows[OBJECT].n_unique() > MAX_BLOCKS:
        return []
    parts = rows.sort(OBJECT, maintain_order=True).partition_by(OBJECT, maintain_order=True)
    known = [part for part in parts if part.height >= MIN_ROWS and part[OBJECT][0] >= 0 and _spans(part, rows, timestamp)]
    return [Block(f"in {files[part[OBJECT][0]].name}", part) for part in known]


def _spans(part: pl.DataFrame, rows: pl.DataFrame, timestamp: str | None) -> bool:
    if timestamp is None:
        return True
    ends = [frame.select(pl.col(timestamp).max() - pl.col(timestamp).min()).item() for frame in (part, rows)]
    return bool(ends[0] >= ends[1] / 2)


def _contradictions(
    blocks: Sequence[Block], target: str, files: Sequence[InputFile], *, classifier: bool, in_order: bool
) -> list[str]:
    """Each finding in a sentence."""
    found: list[tuple[Block, str]] = []
    if classifier:
        found += _constant(blocks, target)
    else:
        found += _other_unit(blocks, target)
    if SCORE in blocks[0].rows.columns:
        found += against(blocks, in_order=in_order)
    return [f"the labels {block.name}{_where(block, files)} {said}" for block, said in found]


def _where(block: Block, files: Sequence[InputFile]) -> str:
    named = [files[number].key for number in block.objects if number >= 0]
    if any(number < 0 for number in block.objects):
        named.append("captured rows")
    shown = ", ".join(named[:2]) + (f" and {len(named) - 2} more" if len(named) > 2 else "")
    return f" ({shown})" if named and len(named) < max(len(files), 2) else ""  # that they are in all of them says nothing


def _few(found: Sequence[bool]) -> bool:
    return 0 < sum(found) <= max(1, MAX_SHARE * len(found))


def _constant(blocks: Sequence[Block], target: str) -> Iterator[tuple[Block, str]]:
    """One class only, where no other block comes near that."""
    classes = sorted({label for block in blocks for label in block.rows[target].unique().to_list()})
    for label in classes if len(classes) <= 64 else []:
        shares = np.array([(block.rows[target] == label).mean() for block in blocks], dtype=np.float64)
        sizes = np.array([block.rows.height for block in blocks])
        others = shares[shares < _CONSTANT]
        if others.size < len(blocks) * (1 - MAX_SHARE):
            continue
        most = float(np.max((others * sizes[shares < _CONSTANT] + 1) / (sizes[shares < _CONSTANT] + 2)))
        odd = [
            bool(share >= _CONSTANT and size * _divergence(float(share), most) > _LIKELIHOOD)
            for share, size in zip(shares, sizes, strict=True)
        ]
        if _few(odd):
            for block, so, share in zip(blocks, odd, shares, strict=True):
                if so:
                    yield (
                        block,
                        f"are {label!r} in {share:.1%} of {block.rows.height} rows, and elsewhere in at most {others.max():.1%}",
                    )


def _divergence(share: float, usual: float) -> float:
    """Kullback-Leibler divergence of two shares, in nats."""
    rest = 0.0 if share >= 1 else (1 - share) * np.log((1 - share) / (1 - usual))
    return float(share * np.log(share / usual) + rest) if usual < share else 0.0


def _other_unit(blocks: Sequence[Block], target: str) -> Iterator[tuple[Block, str]]:
    """Labels of a regression that are scaled by a power of ten."""
    everything = np.concatenate([block.rows[target].to_numpy() for block in blocks])
    reference = column_reference(target, everything, None)
    if not isinstance(reference, NumericReference):
        return
    powers = [units.power_of_values(reference, b.rows[target].to_numpy(), units.Ordinary(_ALPHA, None)) for b in blocks]
    if _few([power is not None for power in powers]):
        for block, power in zip(blocks, powers, strict=True):
            if power is not None:
                violation = units.violation(reference, power)
                yield (
                    block,
                    f"{violation.observed.replace('looks', 'look').replace('the reference', 'all others')} ({violation.expected})",
                )


def against(blocks: Sequence[Block], *, in_order: bool) -> Iterator[tuple[Block, str]]:
    """Upside down to the champion's answers, or without any relation to them."""
    measured = [(block, agreement) for block in blocks if (agreement := _agreement(block)) is not None]
    if len(measured) < MIN_BLOCKS:
        return
    values, errors = (np.array([getattr(a, name) for _, a in measured]) for name in ("value", "error"))
    if np.median(values) < _FIRM:
        return  # what the champion says is no measure
    # Objects may be parts of the world that the model never understood: of them more is asked.
    reversed_ = values < -(_REVERSED if in_order else _SURE) * errors
    if in_order and _lasting(reversed_):
        reversed_ = np.zeros_like(reversed_)
    usual, spread = np.empty_like(values), np.empty_like(values)
    new = np.array([block.new for block, _ in measured])
    for alike in (new, ~new):
        if alike.any():
            usual[alike] = np.median(values[alike])
            spread[alike] = np.hypot(1.4826 * np.median(np.abs(values - usual)[alike]), errors[alike])
    unrelated = (values < 3 * errors) & (values < usual - _SURE * spread) & ~reversed_
    if not in_order or not _came_and_went(unrelated | reversed_):
        unrelated = np.zeros_like(unrelated)
    if not _few((reversed_ | unrelated).tolist()):
        return
    for (block, agreement), upside_down, none, others in zip(measured, reversed_, unrelated, usual, strict=True):
        if upside_down or none:
            what = "stand upside down" if upside_down else "bear no relation to the inputs"
            yield block, f"{what}: they agree with the serving revision by {agreement.value:.2f}, and elsewhere by {others:.2f}"


def _lasting(odd: NDArray[np.bool_]) -> bool:
    """Whether all odd blocks are the newest ones, and enough of them: whoever poisons labels for so long has made a world."""
    count = int(odd.sum())
    return count >= _LASTING and bool(odd[-count:].all())


def _came_and_went(odd: NDArray[np.bool_]) -> bool:
    """Whether as many good blocks as odd ones, and at least three, follow the last odd one."""
    if not odd.any():
        return False
    after = len(odd) - 1 - int(np.flatnonzero(odd)[-1])
    return after >= max(3, int(odd.sum()))


def _agreement(block: Block) -> Agreement | None:
    """Somers' D of two classes, Cohen's kappa of more, Spearman's correlation of numbers; None where too few rows tell."""
    rows = block.rows.gather_every(max(1, block.rows.height // _LOOKED_AT)).drop_nulls([TRUTH, SCORE])
    truth, score = rows[TRUTH], rows[SCORE]
    if rows.height < MIN_ROWS // 2 or (truth.n_unique() < 2 and score.n_unique() < 2):
        return None
    if truth.dtype == pl.Boolean:
        return _discrimination(truth.to_numpy(), score.to_numpy())
    if truth.dtype == pl.String:
        return Agreement(float(cohen_kappa_score(truth.to_list(), score.to_list())), rows.height**-0.5)
    return _correlation(truth.to_numpy(), score.to_numpy())


def _discrimination(truth: NDArray[np.bool_], score: Array) -> Agreement | None:
    positive = int(truth.sum())
    negative = truth.size - positive
    if min(positive, negative) < _RARE:
        return None
    return Agreement(2 * float(roc_auc_score(truth, score)) - 1, ((truth.size + 1) / (3 * positive * negative)) ** 0.5)


def _correlation(truth: Array, score: Array) -> Agreement | None:
    ranks = [pl.Series(values).rank().to_numpy() for values in (truth, score)]
    if min(float(np.ptp(values)) for values in ranks) == 0:
        return None
    return Agreement(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), (truth.size - 1) ** -0.5)
