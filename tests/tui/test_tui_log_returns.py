"""A log that cannot be had yet: it is shown as soon as a node is back that has it."""

from __future__ import annotations

import pytest
from tui_screen import Opener
from tui_world import FakeLine, healthy

from cockpit.errors import NodeError

HEADING = "no log: no reachable node knows a job llama-1a2b"


@pytest.mark.parametrize("view", ["4", "3"])
async def test_an_open_log_pane_fills_when_the_node_of_its_job_is_back(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    async with opened(healthy()) as screen:
        asked: list[str] = []

        def refuse(job_id: str) -> None:
            asked.append(job_id)
            raise NodeError("gone", f"no reachable node knows a job {job_id}")

        with monkeypatch.context() as away:
            away.setattr(screen.source, "log", refuse)
            await screen.press(view)
            assert HEADING in screen.text
            before = len(asked)
            for _ in range(3):
                await screen.pulse()
            assert len(asked) == before, "nothing has changed"
            screen.source.change()
            await screen.pulse()
            assert len(asked) == before + 1
            assert HEADING in screen.text
        screen.source.write("llama-1a2b", FakeLine(data=b"it is back"))
        screen.source.change()
        await screen.pulse()
        assert "it is back" in screen.text
        assert HEADING not in screen.text
        screen.source.write("llama-1a2b", FakeLine(data=b"and goes on"))
        await screen.pulse()
        assert "and goes on" in screen.text


async def test_a_new_reason_why_there_is_no_log_is_told(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(healthy()) as screen:
        why = ["the node hangs"]

        def refuse(job_id: str) -> None:
            raise NodeError("gone", why[0])

        monkeypatch.setattr(screen.source, "log", refuse)
        await screen.press("4")
        assert "no log: the node hangs" in screen.text
        why[0] = "the node is away"
        screen.source.change()
        await screen.pulse()
        assert "no log: the node is away" in screen.text
