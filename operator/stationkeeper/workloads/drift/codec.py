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
bytes is stored in its zlib stream as it is: a check reads thousands of these, and time is dearer there than room. Most of them name no
column, and so begin with the same 55 bytes for one reference: where they do, only the checksum, the length and the counts are left.
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
_STORED: Final = struct.Struct(
    "<HBHH"
)  # begins a zlib stream of one stored block: header, last block, its length, and all but it
_ADLER: Final = 4  # bytes that end a zlib stream
_NO_NAMES: Final = b"{}"
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
    counts: bytes | memoryview
    names: dict[str, int]


def unpack(packed: Sequence[Packed]) -> Ints:
    """The counts of some profiles of one width, shape (profiles, counts).

    Raises:
        MalformedArtifact: when one is beyond any traffic.
    """
    width = packed[0].width
    counts = np.frombuffer(b"".join([one.counts for one in packed]), dtype=_UNSIGNED[width])
    if width == _WIDEST and int(counts.max(initial=0)) > _MAX_ROWS:
        raise malformed("a count is beyond any traffic")
    return counts.reshape(len(packed), -1).astype(np.int64)


class Reader:
    """Makes sure that bytes are what `encode` packed for one reference."""

    def __init__(self, reference_digest: str, size: int, max_names: int) -> None:
        """Of profiles of `size` counts and of at most `max_names` unknown columns."""
        self._digest = bytes.fromhex(reference_digest.removeprefix("sha256:"))
        self._size = size
        self._max_names = max_names
        self._plain = {self._head(width): width for width in _UNSIGNED if self._body(width) <= SMALL}

    def read(self, data: bytes) -> Packed:
        """The profile in these bytes.

        Raises:
            MalformedArtifact: when they are damaged, of another version or reference, or not `size` counts.
        """
        if len(data) < _HEADER.size + _TRAILER or not data.startswith(MAGIC):
            raise malformed("it is too short or begins with other bytes")
        whole = memoryview(data)
        if not data.endswith(hashlib.sha256(whole[:-_TRAILER]).digest()):
            raise malformed("its checksum is wrong; it was cut or damaged")
        begin = _HEADER.size + _STORED.size
        if width := self._plain.get(data[:begin]):
            end = begin + width * self._size
            if len(data) == end + len(_NO_NAMES) + _ADLER + _TRAILER and data.startswith(_NO_NAMES, end):
                return Packed(width, whole[begin:end], {})
        return self._any(whole)

    def _body(self, width: int) -> int:
        return width * self._size + len(_NO_NAMES)

    def _head(self, width: int) -> bytes:
        """How a profile begins that is stored as it is and names no column."""
        length = self._body(width)
        head = _HEADER.pack(MAGIC, VERSION, width, 0, self._digest, self._size, len(_NO_NAMES))
        return head + _STORED.pack(0x0178, 1, length, length ^ 0xFFFF)

    def _any(self, data: memoryview) -> Packed:
        _, version, width, _, digest, count, text = _HEADER.unpack_from(data)
        if version != VERSION:
            raise malformed(f"version {version} is unknown; this reads version {VERSION}")
        if digest != self._digest:
            raise malformed("it was counted in the bins of another revision")
        if width not in _UNSIGNED or count != self._size or text > _MAX_NAMES:
            raise malformed("its header does not fit the reference")
        body = _inflated(data[_HEADER.size : -_TRAILER], width * count + text)
        return Packed(width, body[: width * count], _names(body[width * count :], self._max_names))


def _inflated(data: memoryview, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, size + 1)  # a bomb stops here
    except zlib.error as error:
        raise malformed(f"it does not unpack: {error}") from None
    if len(body) != size or not inflater.eof or inflater.unused_data:
        raise malformed("it does not unpack to the size that it says")
    return body


def _names(data: bytes, max_names: int) -> dict[str, int]:
    try:
        names: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise malformed("its column names are not JSON") from None
    fine = isinstance(names, dict) and len(names) <= max_names
    if not (fine and all(type(rows) is int and 0 <= rows <= _MAX_ROWS for rows in names.values())):
        raise malformed("its column names are not a small map of rows")
    return dict(names)
