from __future__ import annotations

from cockpit.model.unwritten import Unwritten


class Stream:
    def __init__(self, unwritten: Unwritten) -> None:
        self._unwritten = unwritten
        self.bytes = 0
        self.writes = 0

    def take(self, count: int) -> None:
        self.bytes += count
        self._unwritten.held(self, count)

    def flush(self) -> None:
        if self.bytes:
            count, self.bytes = self.bytes, 0
            self.writes += 1
            self._unwritten.written(self, count)


def test_bytes_wait_until_all_streams_together_hold_too_many() -> None:
    unwritten = Unwritten(room=100)
    one, two = Stream(unwritten), Stream(unwritten)
    one.take(60)
    two.take(40)
    assert (one.writes, two.writes, unwritten.waiting) == (0, 0, 100)


def test_the_stream_that_began_first_is_written_first_and_no_more_than_has_to_be() -> None:
    unwritten = Unwritten(room=100)
    streams = [Stream(unwritten) for _ in range(3)]
    for stream in streams:
        stream.take(30)
    streams[0].take(5)  # it began first all the same
    streams[2].take(10)
    assert [stream.writes for stream in streams] == [1, 0, 0]
    assert unwritten.waiting == 70


def test_a_stream_that_was_written_begins_anew() -> None:
    unwritten = Unwritten(room=100)
    one, two = Stream(unwritten), Stream(unwritten)
    one.take(50)
    two.take(50)
    one.flush()
    one.take(51)
    assert (one.writes, two.writes) == (1, 1)


def test_more_than_there_is_room_for_at_once_is_written_at_once() -> None:
    unwritten = Unwritten(room=100)
    stream = Stream(unwritten)
    stream.take(500)
    assert (stream.writes, unwritten.waiting) == (1, 0)
