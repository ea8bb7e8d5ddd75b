"""The bytes of a profile (`.profile`), version 1. All integers are little-endian and unsigned.

    offset  bytes  what
    0       4      magic "SKDP"
    4       1      version, 1
    5       1      width w of a count: 1, 2, 4 or 8 bytes
    6       2      zero
    8       32     SHA-256 of the reference profile
    40      4      number k of counts
    44      4      number of bytes of the names
    48      n      zlib: k counts of w bytes, then the names: a JSON object {unknown column: rows}
    48+n    32     SHA-256 of all bytes before

The trailer refuses every truncation and every flipped bit; sizes are bounded before anything is unpacked. A body of at most `SMALL`
bytes is stored in its zlib stream as it is: a check reads thousands of these, and time is dearer there than room.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from stationkeeper.api.base import canonical_json
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.drift.grid import Ints

MAGIC: Final = b"SKDP"
VERSION: Final = 1
SMALL: Final = 8 * 1024  # bytes
_HEADER: Final = struct.Struct("<4sBBH32sII")
_TRAILER: Final = 32
_STORED: Final = 2 + 5 + 4  # bytes around a stored block in its zlib stream: header, length, checksum
_MAX_NAMES: Final = 64 * 1024  # bytes
_MAX_ROWS: Final = 2**53
_WIDEST: Final = 8
_UNSIGNED: Final = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, _WIDEST)}


def malformed(why: str) -> MalformedArtifact:
    """The one error of this module."""
    return MalformedArtifact(f"not a profile of this reference: {why}")


def encode(reference_digest: str, vector: Ints, names: Mapping[str, int]) -> bytes:
    """Pack counts and the rows of unknown columns."""
    largest = int(vector.max(initial=0))
    width = next(w for w in _UNSIGNED if largest < 256**w)
    text = canonical_json(dict(names))
    body = vector.astype(_UNSIGNED[width]).tobytes() + text
    digest = bytes.fromhex(reference_digest.removeprefix("sha256:"))
    head = _HEADER.pack(MAGIC, VERSION, width, 0, digest, vector.size, len(text))
    data = head + zlib.compress(body, 0 if len(body) <= SMALL else 6)
    return data + hashlib.sha256(data).digest()


class Packed(NamedTuple):
    """A profile whose bytes are whole, with its counts not unpacked yet."""

    width: int  # bytes of a count
    counts: bytes
    names: dict[str, int]


def unpack(packed: Sequence[Packed]) -> Ints:
    """The counts of some profiles of one width, shape (profiles, counts).

    Raises:
        MalformedArtifact: when one is beyond any traffic.
    """
    width = packed[0].width
    counts = np.frombuffer(b"".join(one.counts for one in packed), dtype=_UNSIGNED[width])
    if width == _WIDEST and int(counts.max(initial=0)) > _MAX_ROWS:
        raise malformed("a count is beyond any traffic")
    return counts.reshape(len(packed), -1)


def read(data: bytes, reference_digest: str, size: int, max_names: int) -> Packed:
    """Make sure that bytes are what `encode` packed.

    Raises:
        MalformedArtifact: when they are damaged, of another version or reference, or not `size` counts.
    """
    if len(data) < _HEADER.size + _TRAILER or not data.startswith(MAGIC):
        raise malformed("it is too short or begins with other bytes")
    whole = memoryview(data)
    if hashlib.sha256(whole[:-_TRAILER]).digest() != data[-_TRAILER:]:
        raise malformed("its checksum is wrong; it was cut or damaged")
    _, version, width, _, digest, count, text = _HEADER.unpack_from(data)
    if version != VERSION:
        raise malformed(f"version {version} is unknown; this reads version {VERSION}")
    if f"sha256:{digest.hex()}" != reference_digest:
        raise malformed("it was counted in the bins of another revision")
    if width not in _UNSIGNED or count != size or text > _MAX_NAMES:
        raise malformed("its header does not fit the reference")
    body = _inflated(whole[_HEADER.size : -_TRAILER], width * count + text)
    return Packed(width, body[: width * count], _names(body[width * count :], max_names))


def _inflated(data: memoryview, size: int) -> bytes:
    if len(data) == _STORED + size and data[2] == 1 and data[3] | data[4] << 8 == size:
        return bytes(data[7:-4])  # one block that is stored as it is; its bytes are vouched for already
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, size + 1)  # a bomb stops here
    except zlib.error as error:
        raise malformed(f"it does not unpack: {error}") from None
    if len(body) != size or not inflater.eof or inflater.unused_data:
        raise malformed("it does not unpack to the size that it says")
    return body


def _names(data: bytes, max_names: int) -> dict[str, int]:
    if data == b"{}":
        return {}
    try:
        names: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise malformed("its column names are not JSON") from None
    fine = isinstance(names, dict) and len(names) <= max_names
    if not (fine and all(type(rows) is int and 0 <= rows <= _MAX_ROWS for rows in names.values())):
        raise malformed("its column names are not a small map of rows")
    return dict(names)
