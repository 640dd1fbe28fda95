"""The terminal below the screen: whether it keeps up with what is drawn.

Textual hands each frame to a thread that writes it, with room for 30 writes; the write that finds
no room blocks the event loop. `MeteredDriver` tells how long the oldest of them has been waiting,
so that nobody draws while a slow terminal (a link of 60 kB/s, say) is busy with the last frame.
"""

from __future__ import annotations

import os
import time
from typing import IO, Any, cast

from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen

BUSY_AFTER = 0.03
"""Seconds that a write may take before the terminal counts as behind."""


class Meter:
    """A file that counts what was written and flushed; a thread writes, the loop asks."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._sent = 0
        self._written = 0
        self._flushed = 0
        self._since = 0.0
        self.slowest = 0.0
        """Seconds of the longest write so far."""

    def sent(self) -> None:
        """A write is on its way."""
        if self._sent == self._flushed:
            self._since = time.monotonic()
        self._sent += 1

    @property
    def waiting(self) -> float:
        """Seconds since the terminal had everything; 0 while it has."""
        return 0.0 if self._sent == self._flushed else time.monotonic() - self._since

    # What the thread calls

    def write(self, text: str) -> int:
        begun = time.monotonic()
        written = self._file.write(text)
        self._written += 1
        self.slowest = max(self.slowest, time.monotonic() - begun)
        return written

    def flush(self) -> None:
        begun = time.monotonic()
        written = self._written
        self._file.flush()
        self._flushed = written
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class MeteredDriver(LinuxDriver):
    """Textual's own driver, with a Meter between it and the terminal."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.meter = Meter(cast("IO[str]", self._file))
        self._file = cast("Any", self.meter)
        self.parting = ""
        """Escapes that give the terminal back what was changed: written when it is left."""

    def write(self, data: str) -> None:
        if self._writer_thread is None:
            return  # suspended: the terminal is somebody else's
        self.meter.sent()
        super().write(data)

    def stop_application_mode(self) -> None:
        if self.parting and self._writer_thread is not None:
            self.write(self.parting)
        super().stop_application_mode()

    def close(self) -> None:
        super().close()
        # Nobody empties the queue any more: what is drawn from now on would fill it, and block.
        self._writer_thread = None


class MainScreen(Screen[None]):
    """Draws nothing while the terminal is behind; what changes meanwhile comes in one frame."""

    def _on_timer_update(self) -> None:
        if keeps_up(self.app._driver):  # noqa: SLF001 - Textual has no public way to it
            super()._on_timer_update()


def driver_class() -> type[Driver] | None:
    """The driver for `App`; None leaves the choice to Textual (a browser, or a driver of tests)."""
    return None if os.environ.get("TEXTUAL_DRIVER") else MeteredDriver


def meter_of(driver: Driver | None) -> Meter | None:
    """The meter of a running driver, where it has one."""
    return driver.meter if isinstance(driver, MeteredDriver) else None


def keeps_up(driver: Driver | None) -> bool:
    """Whether the terminal has taken what it was sent, or is about to."""
    meter = meter_of(driver)
    return meter is None or meter.waiting < BUSY_AFTER
