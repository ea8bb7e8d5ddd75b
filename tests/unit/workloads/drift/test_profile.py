"""Profiles merge as if their rows had come together, and refuse every damaged byte."""

import hashlib
import tracemalloc
import zlib
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stationkeeper.api.manifest import Column, ColumnKind
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.drift import codec
from stationkeeper.workloads.drift.profile import MAX_EXTRA, Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile, build_reference
from tests.unit.workloads.drift import helpers

REFERENCE = helpers.reference(2_000)
EMPTY = Profile.empty(REFERENCE)

numbers = st.floats(allow_nan=True, allow_infinity=True)
texts = st.one_of(st.none(), st.sampled_from([*helpers.CARRIERS, "ZZ", "", "true"]))
rows = st.lists(st.tuples(numbers, numbers, texts, texts, numbers, texts), max_size=12)
events = st.lists(
    st.tuples(
        st.sampled_from(["temp", "carrier", "unknown"]), st.sampled_from(["a", "b", *map(str, range(60))]), st.integers(1, 5)
    ),
    max_size=4,
)


def profile_of(batch: list[tuple[Any, ...]], happened: list[tuple[str, str, int]]) -> Profile:
    made = EMPTY.fresh()
    cells = list(zip(*batch, strict=True)) if batch else [()] * 6
    floats = [np.array(cells[i], dtype=np.float64) for i in (0, 1, 4)]
    made.update(
        {"temp": floats[0], "distance": floats[1], "carrier": helpers.objects(cells[2]), "holiday": helpers.objects(cells[3])},
        {"probability": floats[2], "label": helpers.objects(cells[5])},
    )
    for name, extra, count in happened:
        made.refused([name], [name], rows=count)
        made.extra([extra], count)
    return made


def same(a: Profile, b: Profile) -> bool:
    return bool((a.vector == b.vector).all()) and a.extra_rows == b.extra_rows


@settings(max_examples=40, deadline=None)
@given(st.tuples(rows, events), st.tuples(rows, events), st.tuples(rows, events))
def test_merging_is_associative_commutative_and_equals_the_profile_of_all_rows(a: Any, b: Any, c: Any) -> None:
    pa, pb, pc = profile_of(*a), profile_of(*b), profile_of(*c)
    assert same(pa.merge(pb), pb.merge(pa))
    assert same(pa.merge(pb).merge(pc), pa.merge(pb.merge(pc)))
    assert same(pa.merge(pb).merge(pc), profile_of(a[0] + b[0] + c[0], a[1] + b[1] + c[1]))


@settings(max_examples=40, deadline=None)
@given(rows, events)
def test_decoding_gives_back_what_was_encoded(batch: Any, happened: Any) -> None:
    made = profile_of(batch, happened)
    assert same(Profile.decode(made.encode(), REFERENCE), made)


def test_the_small_batch_and_the_large_batch_route_count_alike() -> None:
    data, out = helpers.columns(10_000, 3, shift=4), helpers.predictions(10_000, 3)
    data["temp"][:4] = [np.inf, -np.inf, 1e300, -0.0]
    large = EMPTY.fresh()
    large.update(data, out)
    small = EMPTY.fresh()
    for at in range(0, 10_000, 700):
        small.update({k: v[at : at + 700] for k, v in data.items()}, {k: v[at : at + 700] for k, v in out.items()})
    assert same(large, small)
    assert large.rows == 10_000


def test_the_reference_rows_profiled_give_the_reference_counts() -> None:
    made = helpers.profile(REFERENCE, 2_000, 7)
    for group, column in made.layout.columns:
        assert made.counts(group, column.name).tolist() == column.vector.tolist()


def test_every_truncation_and_every_flipped_bit_is_refused() -> None:
    made = helpers.profile(REFERENCE, 50)
    made.extra(["wind"], 3)
    data = made.encode()
    for cut in range(len(data)):
        with pytest.raises(MalformedArtifact):
            EMPTY.read(data[:cut])
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedArtifact):
            EMPTY.read(bytes(flipped))
    with pytest.raises(MalformedArtifact):
        EMPTY.read(data + b"\0")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(rows, events), max_size=6), st.sampled_from([1, 300, 70_000, 2**33]))
def test_the_total_of_encoded_profiles_is_their_merger_whatever_the_width_of_their_counts(parts: Any, times: int) -> None:
    made = [profile_of(*part) for part in parts]
    for every in made[::2]:
        every.vector *= times
    merged = EMPTY.fresh()
    for one in made:
        merged = merged.merge(one)
    total, damaged = EMPTY.total(one.encode() for one in made)
    assert same(total, merged)
    assert not damaged


def test_in_a_total_the_damaged_are_named_by_their_place_and_the_others_count() -> None:
    good = [helpers.profile(REFERENCE, 50, seed).encode() for seed in range(600)]
    lying = EMPTY.vector.copy()
    lying[0] = 5
    huge = EMPTY.vector.copy()
    huge[1] = 2**60
    bad = {3: good[3][:-1], 4: forged(lying), 300: Profile.empty(helpers.reference(3_000)).encode(), 301: forged(huge), 599: b""}
    total, damaged = EMPTY.total(bad.get(place, data) for place, data in enumerate(good))
    assert sorted(damaged) == sorted(bad)
    assert total.rows == 50 * (600 - len(bad))
    assert [str(damaged[place]).partition(": ")[2][:20] for place in sorted(bad)] == [
        "its checksum is wron", "the counts of a colu", "it was counted in th", "a count is beyond an", "it is too short or b",
    ]  # fmt: skip


def test_damage_of_a_compressed_profile_is_refused_too() -> None:
    many = build_reference(
        pl.DataFrame({f"x{i}": np.arange(500.0) for i in range(200)}),
        [Column(name=f"x{i}", kind=ColumnKind.NUMERIC) for i in range(200)],
        {},
    )
    none = Profile.empty(many)
    data = none.encode()
    assert none.layout.size > codec.SMALL
    assert len(data) < 1_000
    for cut in range(len(data)):
        with pytest.raises(MalformedArtifact):
            none.read(data[:cut])
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedArtifact):
            none.read(bytes(flipped))


def forged(vector: Any, names: dict[str, int] | None = None) -> bytes:
    return codec.encode(REFERENCE.digest, vector, names or {})


def test_bytes_with_a_true_checksum_that_lie_are_refused() -> None:
    lying = EMPTY.vector.copy()
    lying[0] = 5  # rows that no column has
    other = Profile.empty(helpers.reference(3_000))
    huge = EMPTY.vector.copy()
    huge[1] = 2**60
    for data, why in (
        (forged(lying), "add up"),
        (forged(EMPTY.vector[:-1]), "header"),
        (forged(huge), "beyond"),
        (forged(EMPTY.vector, {f"c{i}": 1 for i in range(MAX_EXTRA + 1)}), "names"),
        (other.encode(), "another revision"),
    ):
        with pytest.raises(MalformedArtifact, match=why):
            EMPTY.read(data)


def sealed(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()


def test_a_profile_that_begins_like_most_is_read_to_its_end() -> None:
    data = helpers.profile(REFERENCE, 50).encode()[:-32]
    assert EMPTY.read(sealed(data)).rows == 50
    names = data.rindex(b"{}")
    for lying, why in (
        (data + b"\0", "unpack"),
        (data[:-1], "unpack"),
        (data[:100] + data[101:], "unpack"),
        (data[:names] + b"{]" + data[names + 2 :], "unpack"),  # the checksum of the stream is another then
        (data[:55], "unpack"),
    ):
        with pytest.raises(MalformedArtifact, match=why):
            EMPTY.read(sealed(lying))


def test_a_bomb_is_not_unpacked() -> None:
    honest = EMPTY.encode()
    bomb = honest[:48] + zlib.compress(b"\0" * 50_000_000)
    tracemalloc.start()
    with pytest.raises(MalformedArtifact, match="unpack"):
        EMPTY.read(bomb + hashlib.sha256(bomb).digest())
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_missing_outputs_and_ragged_columns_count_nothing() -> None:
    made, data, out = EMPTY.fresh(), helpers.columns(10), helpers.predictions(10)
    with pytest.raises(ValueError, match="'label' is missing"):
        made.update(data, {"probability": out["probability"]})
    with pytest.raises(ValueError, match="different lengths"):
        made.update({**data, "temp": data["temp"][:3]}, out)
    assert not made.vector.any()


def test_names_chosen_by_callers_are_bounded_and_none_is_forgotten() -> None:
    made = EMPTY.fresh()
    made.extra([f"column-{i:05}" for i in range(5_000)], 2)
    assert len(made.extra_rows) == MAX_EXTRA
    assert sum(made.extra_rows.values()) + made.unnamed_extra_rows == 10_000


def test_profiles_of_different_references_do_not_merge() -> None:
    with pytest.raises(ValueError, match="different references"):
        EMPTY.merge(Profile.empty(helpers.reference(3_000)))


def test_a_reference_read_back_is_equal_and_has_the_same_digest() -> None:
    again = ReferenceProfile.decode(REFERENCE.encode())
    assert (again, again.digest) == (REFERENCE, REFERENCE.digest)
    assert again != helpers.reference(3_000)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\x80\x04pickle", REFERENCE.encode()[:-1], REFERENCE.encode().replace(b'"rows":2000', b'"rows":2001')],
)
def test_a_malformed_reference_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedArtifact):
        ReferenceProfile.decode(data)
