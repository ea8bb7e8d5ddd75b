"""Captured requests become training rows once their labels have matured.

    capture/ + manifests/ + labels.uri + checks/  --frozen-->  feedback.json  --join-->  rows

What is learned is fixed before anything is read: the objects of captured rows and of labels, and the windows that are left out
because a drift check found their data broken. A retried pod reads the same, or says that it cannot.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from stationkeeper.api.base import Time, Tolerant, canonical_json, parse_duration, sha256
from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import FeedbackRecord, Manifest, Task
from stationkeeper.api.model import Labels
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.captured import (
    EVENT_AT,
    INPUT,
    KEYS,
    captured_revisions,
    event_at,
    is_sampled,
    list_captured,
)
from stationkeeper.workloads.artifacts.errors import ArtifactError, MalformedArtifact, NotFound
from stationkeeper.workloads.artifacts.frozen import FrozenStore
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.store import ObjectInfo, Store
from stationkeeper.workloads.quality.incidents import Incident, find_incidents, told
from stationkeeper.workloads.quality.labels import TRUTH, Joined, MalformedLabels, join, read_labels
from stationkeeper.workloads.quality.reading import KEY, list_labels
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.feedback import PLACE, Fed
from stationkeeper.workloads.training.inputs import InputObject, Opened, unchanged
from stationkeeper.workloads.training.reading import OBJECT, start_of

log = logging.getLogger(__name__)

MAX_OBJECTS: Final = 100_000  # of captured rows: the newest
_RATE: Final = "sample_rate"
_FILE: Final = "__file__"
_FEW: Final = 0.05  # of the traffic: a stretch that was sampled so thinly does not thin all others


class LabelObject(InputObject):
    """One object with labels as it was when it was frozen."""

    modified: Time


class Frozen(Tolerant):
    """The file `feedback.json`."""

    captured: list[InputObject]
    labels: list[LabelObject]
    incidents: list[Incident] = []
    older: int = 0  # captured objects that were left out because there are so many

    @property
    def digest(self) -> str:
        """Digest of all that decides which rows are learned."""
        return sha256(canonical_json(self.wire()))


def gather(config: TrainConfig, champion: Manifest | None, artifacts: Store, opened: Opened, folder: Path) -> Fed:
    """See `training.feedback.Gather`."""
    assert config.labels is not None
    store = opened(config.labels.uri)
    frozen = _frozen(config, artifacts, store)
    return _Reader(config, config.labels, champion, artifacts, store, frozen, folder).fed()


def _frozen(config: TrainConfig, artifacts: Store, store: Store) -> Frozen:
    """What this attempt learns from, as the first pod of it found it."""
    key = keys.feedback(config.episode, config.attempt)
    captured, labels = _listed(config, artifacts, store)
    if not artifacts.exists(key):
        found = _found(config, artifacts, captured, labels)
        if artifacts.create(key, canonical_json(found.wire())):
            return found
    frozen = Frozen.model_validate_json(artifacts.get(key))
    assert config.labels is not None
    unchanged(config.storage.uri, frozen.captured, [item for _, item in captured])
    unchanged(config.labels.uri, frozen.labels, labels)
    log.info("reusing the frozen list of %d captured objects and %d of labels", len(frozen.captured), len(frozen.labels))
    return frozen


def _listed(config: TrainConfig, artifacts: Store, store: Store) -> tuple[list[tuple[datetime, InputObject]], list[LabelObject]]:
    """Everything that is there now: captured objects in the order of time, and labels."""
    assert config.labels is not None
    start, end = _span(config, config.labels)
    captured = [
        (begins, InputObject(key=item.key, size=item.size, etag=item.etag))
        for digest in captured_revisions(artifacts)
        for begins, item in list_captured(artifacts, digest, start, end)
    ]
    try:
        labels = list_labels(store, config.labels, artifacts.uri(""))
    except MalformedLabels as error:
        raise invalid("MalformedLabels", str(error)) from error
    told = [LabelObject(key=i.key, size=i.size, etag=i.etag, modified=i.modified) for i in labels]
    return sorted(captured, key=lambda found: (found[0], found[1].key)), told


def _found(
    config: TrainConfig, artifacts: Store, captured: Sequence[tuple[datetime, InputObject]], labels: list[LabelObject]
) -> Frozen:
    feedback, kept = config.training.data.feedback, captured[-MAX_OBJECTS:]
    assert feedback is not None
    return Frozen(
        captured=[item for _, item in kept],
        labels=labels if kept else [],
        incidents=find_incidents(artifacts, kept[0][0], kept[-1][0]) if kept and feedback.incidents == "LeaveOut" else [],
        older=len(captured) - len(kept),
    )


def _span(config: TrainConfig, labels: Labels) -> tuple[datetime | None, datetime]:
    """When rows must have happened to be learned from: inside the window, and long enough ago for their labels."""
    data = config.training.data
    try:
        end = config.as_of - parse_duration(labels.lag)
    except OverflowError:  # a lag of millennia: nothing matures
        return None, datetime.min.replace(tzinfo=UTC)
    # Where the newest row decides, the window's end is not known yet.
    return start_of(data, config.as_of) if data.timestamp and data.as_of == "Now" else None, end


@dataclass(frozen=True, slots=True)
class _Source:
    """One object of captured rows, downloaded."""

    path: Path
    revision: str  # 64 hex digits


@dataclass
class _Reader:
    config: TrainConfig
    labels: Labels
    champion: Manifest | None
    artifacts: Store
    store: Store  # of the labels
    frozen: Frozen
    folder: Path

    def fed(self) -> Fed:
        """The rows, and what became of all of them."""
        notes: list[str] = []
        manifests = self._manifests(notes)
        meaning = self._meaning(manifests)
        if meaning is None or not self.frozen.captured:
            said = "feedback: no request was captured whose labels could have matured"
            return Fed(pl.DataFrame(), FeedbackRecord(), self.frozen.digest, [*notes, said])
        sources = self._fetched(meaning, manifests, notes)
        asked, left = self._asked(sources, notes)
        joined = self._joined(asked, meaning)
        even, thinned = self._even(joined.rows)
        rows = self._rows(even, sources, meaning)
        counts = joined.counts
        record = FeedbackRecord(
            captured=counts.requests,
            joined=counts.joined,
            unlabelled=counts.missing,
            conflicting=counts.conflicting,
            unselected=counts.unselected,
            incidents=left,
            thinned=thinned,
            used=rows.height,
            selection=joined.selection,
        )
        return Fed(rows, record, self.frozen.digest, [*_told(record, joined, self.frozen), *notes])

    def _manifests(self, notes: list[str]) -> dict[str, Manifest]:
        """The manifests of the revisions that captured anything, by their hex digits."""
        found: dict[str, Manifest] = {}
        for revision in dict.fromkeys(item.key.split("/")[1] for item in self.frozen.captured):
            try:
                found[revision] = load_manifest(self.artifacts, f"sha256:{revision}")
            except (ArtifactError, NotFound) as error:
                notes.append(f"feedback: the rows captured under {revision[:12]} are left out: {str(error)[:200]}")
        return found

    def _meaning(self, manifests: dict[str, Manifest]) -> Manifest | None:
        """What labels and columns mean: the champion's word, else that of the newest revision for this target."""
        target = self.config.training.data.target
        fitting = [m for m in [*([self.champion] if self.champion else []), *manifests.values()] if m.target == target]
        if self.champion in fitting:
            return self.champion
        return max(fitting, key=lambda manifest: manifest.number, default=None)

    def _wanted(self, meaning: Manifest) -> list[str]:
        return self.config.training.data.features or [feature.name for feature in meaning.features]

    def _fetched(self, meaning: Manifest, manifests: dict[str, Manifest], notes: list[str]) -> list[_Source]:
        """The objects of the revisions that know every column and predict this target."""
        fit = set[str]()
        for revision, manifest in manifests.items():
            if why := self._misfit(manifest, meaning):
                notes.append(f"feedback: rows captured under revision {manifest.number} are left out: {why}")
            else:
                fit.add(revision)
        sources = []
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, item in enumerate(self.frozen.captured):
            revision = item.key.split("/")[1]
            if revision in fit:
                path = self.folder / f"{number}.parquet"
                self._download(item, path)
                sources.append(_Source(path, revision))
        return sources

    def _misfit(self, manifest: Manifest, meaning: Manifest) -> str:
        """Why rows of a revision cannot be learned; empty where they can."""
        if (manifest.target, manifest.task, manifest.class_kind) != (meaning.target, meaning.task, meaning.class_kind):
            return "it predicts another target"
        kinds, wanted = ({feature.name: feature.kind for feature in m.features} for m in (manifest, meaning))
        for name in self._wanted(meaning):
            if name not in kinds:
                return f"they lack {name!r}"
            if kinds[name] is not wanted.get(name, kinds[name]):
                return f"{name!r} was {kinds[name]} and is {wanted[name]}"
        return ""

    def _download(self, item: InputObject, path: Path) -> None:
        where = self.artifacts.uri(item.key)
        try:
            self.artifacts.download(item.key, path)
        except NotFound as error:
            raise invalid("InputChanged", f"{where} has gone since this attempt froze it; retrain") from error
        if path.stat().st_size != item.size:
            raise invalid("InputChanged", f"{where} changed while it was read; retrain")

    def _asked(self, sources: Sequence[_Source], notes: list[str]) -> tuple[pl.DataFrame, int]:
        """Who asked when, and about when, of all objects; and how many rows fell to windows of broken data."""
        frames, left, damaged = [_NOBODY], 0, 0
        for number, source in enumerate(sources):
            try:
                rows = _keys(source.path)
            except (PolarsError, MalformedArtifact) as error:
                log.warning("captured rows cannot be read: %s", error)
                damaged += 1
                continue
            whole = rows.filter(~_in_any(self.frozen.incidents, source.revision))
            left += rows.height - whole.height
            frames.append(whole.with_columns(pl.lit(number, pl.Int64).alias(_FILE)))
        if damaged:
            notes.append(f"feedback: {damaged} of {len(sources)} objects with captured rows cannot be read and are left out")
        return pl.concat(frames), left

    def _joined(self, asked: pl.DataFrame, meaning: Manifest) -> Joined:
        known = [ObjectInfo(item.key, item.size, item.etag, item.modified) for item in self.frozen.labels]
        since = asked[EVENT_AT].min()
        try:
            found = read_labels(
                FrozenStore(self.store, known),
                self.labels,
                meaning,
                asked,
                since if isinstance(since, datetime) else self.config.as_of,
                self.artifacts.uri(""),
            )
        except MalformedLabels as error:
            raise invalid("MalformedLabels", str(error)) from error
        return join(asked, found, self.labels, as_of=self.config.as_of)

    def _even(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """Each stretch of time by its traffic, where some were sampled more thinly than others."""
        feedback = self.config.training.data.feedback
        if feedback is None or feedback.sampling == "All" or rows[_RATE].n_unique() < 2:
            return rows, 0
        common = common_rate(rows[_RATE])
        # A request that is in the smaller sample is in the larger, too: the same hash decides both.
        kept = rows.filter(pl.Series([is_sampled(request, common) for request in rows["request_id"].to_list()], dtype=pl.Boolean))
        return kept, rows.height - kept.height

    def _rows(self, joined: pl.DataFrame, sources: Sequence[_Source], meaning: Manifest) -> pl.DataFrame:
        """The inputs of the rows that were joined, under their plain names."""
        data, frames = self.config.training.data, []
        inputs = [pl.col(INPUT + name).alias(name) for name in self._wanted(meaning)]
        for (number,), asked in joined.group_by(_FILE, maintain_order=True):
            assert isinstance(number, int)
            read = pl.read_parquet(sources[number].path, glob=False).with_columns(
                pl.col("request_id").cast(pl.String), pl.col("row").cast(pl.Int64)
            )
            # A key that came twice in a file was counted once, by its first row.
            first = read.sort("arrived_at", maintain_order=True).unique(KEY, keep="first", maintain_order=True)
            labelled = first.join(asked.select(*KEY, TRUTH), on=KEY, how="inner", maintain_order="left")
            time = [event_at(read).alias(data.timestamp)] if data.timestamp else []
            frames.append(labelled.select(*inputs, *time, _target(meaning).alias(data.target)))
        if not frames:
            return pl.DataFrame()
        rows = pl.concat(frames, how="vertical_relaxed").with_columns(pl.lit(PLACE, pl.Int32).alias(OBJECT))
        return rows.sort(data.timestamp, maintain_order=True) if data.timestamp else rows


_NOBODY: Final = pl.DataFrame(
    schema={
        "request_id": pl.String(),
        "row": pl.Int64(),
        "arrived_at": pl.Datetime("us", "UTC"),
        EVENT_AT: pl.Datetime("us", "UTC"),
        _RATE: pl.Float64(),
        _FILE: pl.Int64(),
    }
)


def _keys(path: Path) -> pl.DataFrame:
    """Who asked when and about when, and the share of requests that were stored then."""
    present = pl.read_parquet_schema(path)
    if lacking := [name for name in KEYS if name not in present]:
        raise MalformedArtifact(f"{path.name} has no column {lacking[0]}")
    rate = [_RATE] if _RATE in present else []
    rows = pl.read_parquet(path, columns=[*KEYS, *rate, *({EVENT_AT} & present.keys())], glob=False)
    return rows.select(
        pl.col("request_id").cast(pl.String),
        pl.col("row").cast(pl.Int64),
        pl.col("arrived_at").cast(pl.Datetime("us", "UTC")),
        event_at(rows).cast(pl.Datetime("us", "UTC")).alias(EVENT_AT),
        (pl.col(_RATE).cast(pl.Float64) if rate else pl.lit(1.0)).alias(_RATE),
    )


def _in_any(incidents: Sequence[Incident], revision: str) -> pl.Expr:
    time = pl.col(EVENT_AT)
    mine = [(time >= i.start) & (time < i.end) for i in incidents if revision.startswith(i.revision)]
    return pl.any_horizontal(mine) if mine else pl.lit(value=False)


def common_rate(rates: pl.Series) -> float:
    """The lowest of the rates at which more than a twentieth of the traffic was sampled; each row stands for 1/rate rows."""
    stands = (
        pl.DataFrame({"rate": rates}).filter(pl.col("rate") > 0).group_by("rate").agg((1 / pl.col("rate")).sum().alias("rows"))
    )
    ascending = stands.sort("rate").with_columns((pl.col("rows").cum_sum() / pl.col("rows").sum()).alias("share"))
    return float(ascending.filter(pl.col("share") > _FEW)["rate"].min())  # type: ignore[arg-type]


def _target(meaning: Manifest) -> pl.Expr:
    """A label as training data holds it."""
    truth = pl.col(TRUTH)
    if meaning.task is Task.REGRESSION:
        return truth.cast(pl.Float64)
    if meaning.class_kind == "boolean":
        return truth == "true"
    return truth.cast(pl.Int64) if meaning.class_kind == "integer" else truth


def _told(record: FeedbackRecord, joined: Joined, frozen: Frozen) -> Iterator[str]:
    """What became of captured rows, in sentences."""
    missing = f"; {record.unlabelled} have none yet" if record.unlabelled else ""
    disagree = f"; the labels of {record.conflicting} disagree" if record.conflicting else ""
    yield f"feedback: {record.joined} of {record.captured} captured rows have a label{missing}{disagree}"
    if joined.strangers:
        yield "feedback: labels were read, and none of them names a captured request: is labels.key the request id?"
    if joined.selection:
        yield (
            f"feedback: learned from {joined.selection} only ({record.unselected} others have no outcome): "
            "what the model's answer kept from happening is not in it"
        )
    if record.thinned:
        yield f"feedback: {record.thinned} rows are left out, so that stretches sampled at different rates count by their traffic"
    if record.incidents:
        yield f"feedback: {record.incidents} rows are left out, of windows with broken data: {told(frozen.incidents)}"
    if frozen.older:
        yield f"feedback: the oldest {frozen.older} objects of captured rows are left out; at most {MAX_OBJECTS} are read"
