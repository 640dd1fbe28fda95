"""Output of commands on nodes, line by line however it comes; a question that blocks no loop."""

from __future__ import annotations

import asyncio
import threading

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.cli import nodes
from cockpit.cli.nodes import PIECE, LineOutput, confirm


def fed(*parts: bytes) -> list[bytes]:
    shown: list[bytes] = []
    output = LineOutput(shown.append)
    for part in parts:
        output.feed(part)
    output.close()
    return shown


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"d\ne", b""])))
def test_lines_come_out_whole_however_they_arrive(parts: list[bytes]) -> None:
    data = b"".join(parts)
    lines = data.split(b"\n")
    assert fed(*parts) == (lines if lines[-1] else lines[:-1])


def test_a_line_without_end_comes_out_in_pieces_and_is_never_held() -> None:
    shown: list[bytes] = []
    output = LineOutput(shown.append)
    for _ in range(100):
        output.feed(b"\0" * 20_000)
        assert len(output._rest) < PIECE
    assert [len(piece) for piece in shown] == [PIECE] * (2_000_000 // PIECE)
    output.feed(b"\nnext\n")
    assert sum(map(len, shown[:-1])) == 2_000_000
    assert shown[-1] == b"next"


def test_a_line_that_ends_where_a_piece_ended_adds_no_empty_line() -> None:
    assert fed(b"x" * PIECE, b"\n", b"\n", b"y") == [b"x" * PIECE, b"", b"y"]


@pytest.mark.parametrize(("answer", "aborts"), [(True, False), (False, True), (None, True)])
async def test_a_question_lets_the_loop_go_on_while_the_person_thinks(
    monkeypatch: pytest.MonkeyPatch, answer: bool | None, aborts: bool
) -> None:
    thinking = threading.Event()

    def ask(question: str, **_: object) -> bool:
        assert question == "Sure?"
        assert thinking.wait(20.0)
        if answer is None:
            raise click.Abort
        return answer

    monkeypatch.setattr(nodes.click, "confirm", ask)
    asking = asyncio.ensure_future(confirm("Sure?"))
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert not asking.done()
    thinking.set()
    if aborts:
        with pytest.raises(click.Abort):
            await asking
    else:
        await asking
