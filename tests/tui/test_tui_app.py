"""The app itself: what goes wrong in an action is said, marks of what is gone are forgotten."""

from __future__ import annotations

import msgspec
from tui_screen import Opener
from tui_world import healthy, job

from cockpit.errors import LinkError
from cockpit.model.types import Fleet
from cockpit.tui.logs.memorylog import MemoryDocument


async def test_an_action_that_makes_no_sense_here_is_said_and_crashes_nothing(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        for key in ("2", "5", "E", "tilde"):
            await screen.press(key)
            screen.app.perform("view.node")
            await screen.pulse()
            assert screen.app.is_running


async def test_marks_of_what_is_gone_are_forgotten(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "space")
        assert screen.app.marks.keys
        screen.source.fleet = Fleet(revision=99, nodes=healthy().nodes)
        screen.frozen.passed += 1
        await screen.pulse()
        assert not screen.app.marks.keys


async def test_a_log_that_could_not_be_had_is_asked_for_again(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        right = screen.source.log

        def wrong(job_id: str) -> MemoryDocument:
            raise LinkError("not known yet", "")

        screen.source.log = wrong  # type: ignore[method-assign]
        await screen.press("4")
        assert "no log: not known yet" in screen.text
        screen.source.log = right  # type: ignore[method-assign]
        await screen.press("2", "4")
        assert "not known yet" not in screen.text


async def test_a_read_only_cluster_at_the_cursor_does_not_stop_a_launch_elsewhere(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        config = screen.source.config
        lab = msgspec.structs.replace(config.clusters["local"], name="lab", read_only=True)
        screen.source.config = msgspec.structs.replace(
            config, clusters={**config.clusters, "lab": lab}
        )
        await screen.press("2")
        for action_id, refused in (("job.cancel", True), ("launch.new", False)):
            reason = screen.app.reason_against(screen.app.keyboard.by_id[action_id])
            assert (reason == "cluster lab is read-only") is refused
        other = screen.app.keyboard.by_id["job.cancel"]
        assert screen.app.reason_against(other, job().name) is None, "the desk looks at that one"
