"""Frames: what is written is read again, and anything else is refused with one line."""

from __future__ import annotations

import contextlib
import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from dask_mlsched.core.message_frame import Frame, FrameError, encode, read

FIELDS = st.dictionaries(
    st.text(max_size=5),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats(0, 1)),
    max_size=4,
)
ARRAYS = st.dictionaries(
    st.text(max_size=5),
    st.sampled_from(["<i8", "<f8", "<f4", "|b1"]).flatmap(
        lambda kind: npst.arrays(kind, npst.array_shapes(max_dims=2, min_side=0, max_side=4))
    ),
    max_size=4,
)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    return Frame(draw(st.integers(0, 9)), draw(FIELDS), draw(ARRAYS))


def decoded(data: bytes) -> Frame | None:
    return read(io.BytesIO(data).read)


def assert_same(one: Frame | None, other: Frame) -> None:
    assert one is not None
    assert (one.kind, one.fields) == (other.kind, other.fields)
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(array, other.arrays[name])


@given(frames())
def test_what_is_written_is_read_again(frame: Frame) -> None:
    assert_same(decoded(encode(frame)), frame)


@given(st.lists(frames(), max_size=3))
def test_frames_follow_each_other_until_the_stream_ends(several: list[Frame]) -> None:
    stream = io.BytesIO(b"".join(map(encode, several)))
    for frame in several:
        assert_same(read(stream.read), frame)
    assert read(stream.read) is None


@given(frames(), st.data())
def test_a_stream_that_ends_within_a_frame_is_refused(frame: Frame, data: st.DataObject) -> None:
    whole = encode(frame)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(FrameError, match="the stream ends after"):
        decoded(whole[:cut])


@given(st.binary(min_size=16, max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError, match="expected b'MLSQ'; start both"):
        decoded(b"x" + data)


@given(frames(), st.data())
def test_a_damaged_frame_is_refused_or_read_but_nothing_else(
    frame: Frame, data: st.DataObject
) -> None:
    whole = bytearray(encode(frame))
    place = data.draw(st.integers(16, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        decoded(bytes(whole))


def test_another_version_is_refused() -> None:
    whole = bytearray(encode(Frame(1)))
    whole[4:6] = struct.pack("<H", 7)
    with pytest.raises(FrameError, match="a frame is of version 7; expected 1; start both"):
        decoded(bytes(whole))


def test_a_frame_of_unlikely_length_is_refused_before_it_is_read() -> None:
    whole = encode(Frame(1))[:8] + struct.pack("<Q", 2**60)
    with pytest.raises(FrameError, match="bytes long; expected 2000000000 at most"):
        decoded(whole)


def test_an_array_of_another_type_is_not_written() -> None:
    with pytest.raises(FrameError, match="array 'x' is of type complex128"):
        encode(Frame(1, {}, {"x": np.zeros(2, complex)}))


@pytest.mark.parametrize("value", [None, True, "1", float("nan"), float("inf")])
def test_a_field_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(FrameError, match="field 'n' is"):
        Frame(1, {"n": value}).number("n")
