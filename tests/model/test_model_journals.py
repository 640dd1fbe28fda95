"""Bytes of journals become events, whatever the stream does to them."""

from __future__ import annotations

import pytest

from cockpit.model import journals
from cockpit.model.journals import GapError, JournalReader
from tests.model.scenarios import line

FIRST = line("claimed", 0, 0.0, by="ada")
SECOND = line("note", 1, 1.0, message="hello")


def kinds(entries: list[journals.Entry]) -> list[str]:
    return [entry.kind for entry in entries]


def test_a_line_is_an_event_once_its_newline_arrives() -> None:
    reader = JournalReader()
    assert reader.feed(0, FIRST[:-1]) == []
    assert kinds(reader.feed(len(FIRST) - 1, b"\n")) == ["claimed"]
    assert reader.position == len(FIRST)


def test_repeated_bytes_after_a_resume_give_no_event_twice() -> None:
    reader = JournalReader()
    assert kinds(reader.feed(0, FIRST + SECOND[:5])) == ["claimed"]
    assert kinds(reader.feed(3, (FIRST + SECOND)[3:])) == ["note"]
    assert reader.feed(0, FIRST + SECOND) == []
    assert reader.position == len(FIRST + SECOND)


def test_a_hole_is_refused_and_says_where_to_follow_on() -> None:
    reader = JournalReader()
    reader.feed(0, FIRST)
    with pytest.raises(GapError) as caught:
        reader.feed(len(FIRST) + 1, b"x")
    assert (caught.value.expected, caught.value.got) == (len(FIRST), len(FIRST) + 1)
    assert kinds(reader.feed(len(FIRST), SECOND)) == ["note"]


def test_a_torn_line_that_a_later_writer_ended_is_skipped_and_counted() -> None:
    reader = JournalReader()
    assert kinds(reader.feed(0, FIRST + SECOND[:20] + b"\n\n" + SECOND)) == ["claimed", "note"]
    assert reader.unreadable == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"[1]",
        b"not json",
        b"\xff\xfe",
        b"{}",
        b'{"seq":0,"kind":"note"}',
        b'{"seq":"0","at":1.0,"kind":"note"}',
        b'{"seq":0,"at":NaN,"kind":"note"}',
        b'{"seq":0,"at":1e999,"kind":"note"}',
        b'{"seq":0,"at":1.0,"kind":7}',
        b'{"seq":0,"at":1.0,"kind":"ended","outcome":[]}',
        b"[" * 100_000,
    ],
)
def test_damage_is_counted_and_harms_no_other_line(bad: bytes) -> None:
    reader = JournalReader()
    assert kinds(reader.feed(0, bad + b"\n" + FIRST)) == ["claimed"]
    assert reader.unreadable == 1


def test_an_event_of_an_unknown_kind_is_passed_on_but_has_no_record() -> None:
    reader = JournalReader()
    (entry,) = reader.feed(0, line("flux", 0, 0.0, colour="\x1b[31mred"))
    assert entry.event is None
    assert entry.fields["colour"] == "red"
    assert (reader.unknown, reader.unreadable) == (1, 0)


def test_a_sequence_number_used_twice_for_different_events_loses_neither() -> None:
    reader = JournalReader()
    twice = line("note", 0, 0.0, message="a") + line("note", 0, 1.0, message="b")
    assert len(reader.feed(0, twice)) == 2


def test_the_same_event_written_twice_counts_once() -> None:
    assert len(JournalReader().feed(0, FIRST + FIRST)) == 1


def test_texts_come_out_clean_wherever_they_lie_in_an_event() -> None:
    (entry,) = JournalReader().feed(
        0,
        line("swept", 0, 0.0, processes=[{"pid": 1, "command": "a\x00b\x1b]52;c;x\x07\u202e"}]),
    )
    assert entry.fields["processes"][0]["command"] == "ab"


def test_a_lone_surrogate_does_not_lose_the_event() -> None:
    (entry,) = JournalReader().feed(
        0, b'{"seq":0,"at":1.0,"kind":"note","message":"bad \\udcff name"}\n'
    )
    assert entry.fields["message"] == "bad \ufffd name"


def test_a_line_without_end_is_given_up_with_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journals, "MAX_LINE", 1000)
    reader = JournalReader()
    for number in range(100):
        reader.feed(number * 100, b"x" * 100)
    assert sum(map(len, reader._parts)) <= 1000
    assert kinds(reader.feed(10_000, b"\n" + FIRST)) == ["claimed"]
    assert reader.unreadable == 1
