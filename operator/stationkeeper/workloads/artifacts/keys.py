"""Every key of the layout in `api.manifest`, relative to the storage prefix."""

import re
from datetime import UTC, datetime
from typing import Final

from stationkeeper.api import layout

OWNER: Final = "owner.json"
SWEEP: Final = "sweep.json"  # written at the start of each sweep: its age is the server's clock
DECISIONS: Final = "decisions/"
BLOBS: Final = "blobs/"
EPISODES: Final = "episodes/"
EXCHANGE: Final = "/exchange/"
MANIFESTS: Final = "manifests/"
SAMPLES: Final = "samples/"
CAPTURED: Final = "capture/"
CHECKS: Final = "checks/"
SLOT_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_SLOT: Final = re.compile("[0-9]{8}T[0-9]{6}Z")


def hexadecimal(digest: str) -> str:
    """The 64 hex digits of a digest `sha256:...`."""
    return digest.removeprefix("sha256:")


def blob(digest: str) -> str:
    """An artifact file, by content."""
    return f"blobs/{hexadecimal(digest)}"


def manifest(digest: str) -> str:
    """A manifest, by content."""
    return layout.manifest(digest)


def episode(identity: str, attempt: int) -> str:
    """Prefix of one attempt of one episode."""
    return layout.attempt(identity, attempt)


def inputs(identity: str, attempt: int) -> str:
    """The frozen list of training objects."""
    return f"{episode(identity, attempt)}inputs.json"


def frozen_holdout(identity: str, attempt: int) -> str:
    """The frozen list of the objects of a holdout of its own."""
    return f"{episode(identity, attempt)}holdout.json"


def feedback(identity: str, attempt: int) -> str:
    """The frozen list of captured rows and of their labels."""
    return f"{episode(identity, attempt)}feedback.json"


def outcome(identity: str, attempt: int) -> str:
    """How an attempt ended."""
    return layout.outcome(identity, attempt)


def evaluation(identity: str, attempt: int) -> str:
    """What the gates said of a challenger that they refused."""
    return layout.evaluation(identity, attempt)


def evaluations(identity: str) -> tuple[str, str]:
    """Prefix and suffix of the same of all attempts of an episode; the attempt stands between them."""
    before, after = evaluation(identity, 0).split("/0/")
    return f"{before}/", f"/{after}"


def exchange(identity: str, attempt: int, name: str) -> str:
    """A file that an attempt and the workload that trains for it hand each other."""
    return f"{episode(identity, attempt)}exchange/{name}"


def decision(at: datetime, identity: str) -> str:
    """The evidence of one decision."""
    return layout.decision(at, identity)


def source(identity: str) -> str:
    """What a published file was found to be; `identity` is a digest of its address, size and ETag."""
    return f"sources/{hexadecimal(identity)}.json"


def slot_name(start: datetime) -> str:
    """The name of a flush interval: its start in UTC, as in `20130401T120000Z`; sorts by time."""
    return start.astimezone(UTC).strftime(SLOT_FORMAT)


def slot_start(key: str) -> datetime:
    """The start of the flush interval that a capture or profile key belongs to.

    Raises:
        ValueError: when the key does not come from `capture` or `profile`.
    """
    name = key.rsplit("/", 1)[-1].partition("-")[0]
    if not _SLOT.fullmatch(name):
        raise ValueError(f"{name!r} does not begin like 20130401T120000Z")
    return datetime.fromisoformat(name)  # a tenth of what strptime takes: a listing has thousands


def capture_of(digest: str) -> str:
    """Prefix of all rows captured under a revision."""
    return f"capture/{hexadecimal(digest)}/"


def capture_day(digest: str, day: datetime) -> str:
    """Prefix of the rows captured on one day (UTC) under a revision."""
    return f"{capture_of(digest)}{day.astimezone(UTC):%Y-%m-%d}/"


def capture(digest: str, slot: datetime, pod: str, number: int) -> str:
    """Captured rows of one flush; `number` tells flushes of one pod in one interval apart."""
    return f"{capture_day(digest, slot)}{slot_name(slot)}-{pod}-{number}.parquet"


def profile_day(digest: str, day: datetime) -> str:
    """Prefix of the profiles of one day (UTC) under a revision."""
    return f"profiles/{hexadecimal(digest)}/{day.astimezone(UTC):%Y-%m-%d}/"


def profile(digest: str, slot: datetime, pod: str, number: int) -> str:
    """The profile of one flush, beside its captured rows."""
    return f"{profile_day(digest, slot)}{slot_name(slot)}-{pod}-{number}.profile"


def sample(digest: str) -> str:
    """Rows of the training of a revision, for checks of rows."""
    return f"samples/{hexadecimal(digest)}.parquet"


def shadow(candidate: str, stable: str, since: datetime, attempt: int) -> str:
    """The report of one comparison of two revisions' answers."""
    return f"shadow/{hexadecimal(candidate)[:12]}/{hexadecimal(stable)[:12]}-{slot_name(since)}-{attempt}.json"


def checks(policy_uid: str, policy_digest: str, revision_digest: str) -> str:
    """Prefix of the reports of one policy, as it reads now, on one revision."""
    return f"{CHECKS}{policy_uid}/{hexadecimal(policy_digest)[:12]}/{hexadecimal(revision_digest)[:12]}/"


def checked(key: str) -> tuple[str, datetime, datetime] | None:
    """The revision (12 hex digits) and the window of a report, from its key; None for what is no report of a drift check."""
    parts = key.split("/")
    if len(parts) != 5 or not parts[4].endswith(".json"):  # pages, and reports on quality, which lie deeper
        return None
    try:
        return parts[3], *check_window(key)
    except ValueError:
        return None


def check(policy_uid: str, policy_digest: str, revision_digest: str, start: datetime, end: datetime) -> str:
    """The report of one window."""
    return f"{checks(policy_uid, policy_digest, revision_digest)}{slot_name(start)}-{slot_name(end)}.json"


def variation(policy_uid: str, policy_digest: str, revision_digest: str, survey: int = 0) -> str:
    """What the reported windows differ by, where the reference could not say it; each survey of them has its number."""
    return f"{checks(policy_uid, policy_digest, revision_digest)}variation/observed{f'-{survey}' if survey else ''}"


def check_window(key: str) -> tuple[datetime, datetime]:
    """Start and end of the window that a report is of, from its key.

    Raises:
        ValueError: when the key does not come from `check`.
    """
    start, _, end = key.rpartition("/")[2].removesuffix(".json").partition("-")
    return slot_start(start), slot_start(end)


def extent(policy_uid: str, policy_digest: str, revision_digest: str, start: datetime) -> str:
    """What says where the window ends that begins there, where windows are taken together."""
    return f"{checks(policy_uid, policy_digest, revision_digest)}extents/{slot_name(start)}"
