"""A journal of beats may begin anywhere and be replaced; every digest counts once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model.digests import MAX_LINE, DigestReader
from cockpit.model.events import Beats


def line(seq: int, at: float | None = None, **rank: object) -> bytes:
    said = {"local_rank": 0, "rank": 0, "stage": "training", "step": seq, **rank}
    event = {"seq": seq, "at": float(seq) if at is None else at, "mono": 1.0, "kind": "beats",
             "generation": 0, "ranks": [said]}  # fmt: skip
    return json.dumps(event).encode() + b"\n"


def steps(found: list[Beats]) -> list[int | None]:
    return [digest.ranks[0].step for digest in found]


WHOLE = b"".join(line(n) for n in range(20))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_any_chunks_and_any_repetition_give_every_digest_once(cuts: list[int]) -> None:
    reader, found, position = DigestReader(), [], 0
    for cut in [*sorted(cuts), len(WHOLE)]:
        again = max(position - 50, 0)
        found += reader.feed(again, WHOLE[again:cut])
        position = max(position, cut)
    assert steps(found) == list(range(20))
    assert reader.unreadable == 0


@given(st.integers(1, len(WHOLE) - 1))
def test_a_tail_leaves_out_the_line_that_was_cut(start: int) -> None:
    reader = DigestReader()
    reader.begin(start)
    found = steps(reader.feed(start, WHOLE[start:]))
    assert found == list(range(20))[20 - len(found) :]
    assert len(found) >= WHOLE[start:].count(b"\n") - 1
    assert reader.unreadable == 0


def test_a_file_that_was_thinned_and_replaced_repeats_nothing() -> None:
    reader = DigestReader()
    assert steps(reader.feed(0, WHOLE)) == list(range(20))
    thinned = line(2) + line(18) + line(19) + line(20)
    reader.begin(0)
    assert steps(reader.feed(0, thinned)) == [20]
    assert steps(reader.feed(len(thinned), line(21))) == [21]


def test_a_writer_that_lost_its_numbering_is_still_heard() -> None:
    reader = DigestReader()
    reader.feed(0, WHOLE)
    reader.begin(0)
    assert steps(reader.feed(0, line(0, at=100.0))) == [0]


def test_a_clock_that_was_set_back_loses_no_digest() -> None:
    reader = DigestReader()
    assert steps(reader.feed(0, line(0, at=100.0) + line(1, at=50.0))) == [0, 1]


def test_missing_bytes_are_no_error_and_cost_the_line_they_tear() -> None:
    reader = DigestReader()
    reader.feed(0, line(0) + line(1)[:10])
    hole = len(line(0)) + 40
    assert steps(reader.feed(hole, b'"rest"}\n' + line(5))) == [5]


def test_nan_as_the_standard_library_writes_it_costs_the_figure_and_not_the_digest() -> None:
    (digest,) = DigestReader().feed(0, line(0, metrics={"loss": float("nan"), "lr": 0.5}))
    assert digest.ranks[0].metrics == {"loss": None, "lr": 0.5}


@pytest.mark.parametrize("field", ["note", "metrics", "ft"])
def test_hostile_text_is_cleaned(field: str) -> None:
    said: dict[str, object] = {
        "note": "a\x1b[2Jb",
        "metrics": {"lo\x07ss": 1.0},
        "ft": {"beats": 1, "age": 0.1, "sections": ["st\x1b[1mep"]},
    }
    (digest,) = DigestReader().feed(0, line(0, **{field: said[field]}))
    rank = digest.ranks[0]
    texts = [rank.note, *rank.metrics, *(rank.ft.sections if rank.ft else ())]
    assert [text for text in texts if text] in (["ab"], ["loss"], ["step"])


def test_lines_that_are_no_digest_are_counted_and_skipped() -> None:
    reader = DigestReader()
    junk = b'{"seq": 1}\nnot json\n\n[1]\n{"seq": 1, "at": 1.0, "kind": "note", "message": "x"}\n'
    assert reader.feed(0, junk) == []
    assert reader.unreadable == 4
    assert steps(reader.feed(len(junk), line(3))) == [3]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    reader = DigestReader()
    block = b"x" * (MAX_LINE // 2)
    for n in range(6):
        reader.feed(n * len(block), block)
    assert reader.unreadable == 1
    assert steps(reader.feed(6 * len(block), b"\n" + line(1))) == [1]


@given(st.binary(max_size=500))
def test_no_bytes_whatever_break_it(data: bytes) -> None:
    DigestReader().feed(0, data + b"\n")
