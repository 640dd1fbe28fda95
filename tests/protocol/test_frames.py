"""Frames survive any splitting; what is not a frame is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.protocol import frames
from cockpit.protocol.frames import Decoder, Frame, FrameError, Kind

FRAMES = st.lists(
    st.tuples(st.sampled_from(list(Kind)), st.integers(0, 2**32 - 1), st.binary(max_size=300)),
    max_size=20,
)


@given(FRAMES, st.lists(st.integers(1, 50)))
def test_frames_come_out_as_they_went_in_however_the_bytes_were_split(
    sent: list[tuple[Kind, int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(frames.encode(*frame) for frame in sent)
    decoder = Decoder()
    received: list[Frame] = []
    position = 0
    for cut in [*cuts, len(data)]:
        received += decoder.feed(data[position : position + cut])
        position += cut
    assert received == [Frame(*frame) for frame in sent]
    assert decoder.pending == 0


def test_a_length_that_cannot_be_is_an_error_and_not_an_allocation() -> None:
    with pytest.raises(FrameError, match="announces"):
        list(Decoder().feed(b"HTTP/1.1 400 Bad Request"))


def test_a_payload_over_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(FrameError):
        frames.encode(Kind.DATA, 1, bytes(frames.MAX_PAYLOAD + 1))
