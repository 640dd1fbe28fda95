"""Jobs in words that people know: flags, the command as a shell takes it, and how many nodes."""

from __future__ import annotations

import msgspec
import pytest
from tui_screen import Opener
from tui_world import AWAY, WALL, job, job_node

from cockpit.model.types import Fleet
from cockpit.tui.draw.spans import plain
from cockpit.tui.jobs import describe, jobhead, joblist

EVERY_FLAG = (
    "stalled", "degraded", "unknown_nodes", "straggler", "cancelling", "waiting", "uninstrumented",
)  # fmt: skip


@pytest.mark.parametrize("flag", EVERY_FLAG)
def test_a_flag_is_said_in_words_wherever_a_job_is_told_of(flag: str) -> None:
    flagged = msgspec.structs.replace(job(), flags=(flag,))
    words = joblist.FLAGS[flag].words
    assert "_" not in words
    below = joblist.detail(joblist.item_of(flagged, WALL, False))
    for shown in (jobhead.header(flagged, WALL), below, describe.lines(flagged, None, WALL)):
        text = "\n".join(plain(row.spans) for row in shown)
        assert f"{joblist.FLAGS[flag].glyph} {words}" in text


def test_a_flag_of_another_day_has_no_underscores_either() -> None:
    flagged = msgspec.structs.replace(job(), flags=("on_holiday",))
    assert "! on holiday" in plain(jobhead.header(flagged, WALL)[0].spans)


def test_a_filter_finds_a_flag_by_its_name_and_by_its_words() -> None:
    text = joblist.text_of(msgspec.structs.replace(job(), flags=("unknown_nodes",)))
    assert "unknown_nodes" in text
    assert "a node is silent" in text


def test_the_command_is_shown_as_a_shell_takes_it() -> None:
    quoted = msgspec.structs.replace(job(), command=("train.py", "--note", "a b", "x;y"))
    told = "$ train.py --note 'a b' 'x;y'"
    assert told in plain(jobhead.header(quoted, WALL)[1].spans)
    assert told in plain(joblist.detail(joblist.item_of(quoted, WALL, False))[-1].spans)


async def test_128_nodes_of_which_some_are_away_have_room(opened: Opener) -> None:
    nodes = (job_node(0, count=1, link=AWAY), *(job_node(n, count=1) for n in range(1, 128)))
    async with opened(Fleet(revision=1, jobs=(job(nodes=nodes),)), size=(120, 36)) as screen:
        await screen.press("2")
        assert "127/128" in screen.text
