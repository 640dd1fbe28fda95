"""`cockpit --replay FILE`: a recorded session of events on the screen."""

from __future__ import annotations

from pathlib import Path

from cockpit.cli.screen import check_terminal


def open_replay(path: Path, theme: str | None, speed: float) -> None:
    """Play it until the person quits. Raises UsageError for what is no recording."""
    from cockpit.tui import replay

    recording = replay.read(path)
    check_terminal()
    from cockpit import tui

    source = replay.ReplaySource(recording, speed=speed)
    # What is looked at here is another world: the cockpit's own views stay as they were left.
    tui.run(source, focus_job=source.job_id, theme=theme, clock=source.clock, remember=False)
