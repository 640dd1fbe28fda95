"""The terminal below the screen: whether it keeps up with what is drawn.

Textual hands each frame to a thread that writes it, with room for 30 writes; the write that finds
no room blocks the event loop. `MeteredDriver` tells how long the oldest of them has been waiting,
so that nobody draws while a slow terminal (a link of 60 kB/s, say) is busy with the last frame.
Whoever draws all the same (a dialog, a terminal that stands still) never waits for it: such frames
are left out, and the whole screen is drawn once the terminal has taken what it was sent.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Iterable
from typing import IO, Any, cast

from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.message import Message
from textual.screen import UPDATE_PERIOD, Screen
from textual.widget import Widget

from cockpit.tui.rows import rows_of

BUSY_AFTER = 0.03
"""Seconds that a write may take before the terminal counts as behind."""

ROOM = 15
"""Writes that may wait for the terminal: half of what Textual has room for, so none ever blocks."""

MOST_HELD = 100
"""Escapes other than frames that are held back for a terminal that stands still."""

AGAIN = 0.05
"""Seconds between two looks at whether the terminal has taken everything."""


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

    @property
    def pending(self) -> int:
        """Writes that the terminal has not taken."""
        return self._sent - self._written

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


SYNC_START = "\x1b[?2026h"
"""Has the terminal show nothing until the frame is complete."""


class MeteredDriver(LinuxDriver):
    """Textual's own driver, with a Meter between it and the terminal."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.meter = Meter(cast("IO[str]", self._file))
        self._file = cast("Any", self.meter)
        self.parting = ""
        """Escapes that give the terminal back what was changed: written when it is left."""
        self._held: list[str] = []
        """Escapes that wait until the terminal has taken what it was sent, in their order."""
        self._lost = False
        """Whether a frame was left out: what the terminal shows is not what was drawn."""
        self._ordered = True
        """Whether everything has to get there, even if that takes long: at both ends."""

    def write(self, data: str) -> None:
        if self._writer_thread is None:
            return  # suspended: the terminal is somebody else's
        if not self._ordered and (self._held or self._lost or self.meter.pending >= ROOM):
            self._hold(data)
            return
        self.meter.sent()
        super().write(data)

    def _hold(self, data: str) -> None:
        if not self._held and not self._lost:
            self._loop.call_later(AGAIN, self._go_on)
        if data == SYNC_START or _is_frame(data):
            self._lost = True
        elif data not in self._held and len(self._held) < MOST_HELD:
            self._held.append(data)

    def _go_on(self) -> None:
        """Once the terminal has everything: what was held back, and the screen as it is now."""
        if self._writer_thread is None:
            return
        if self.meter.waiting:
            self._loop.call_later(AGAIN, self._go_on)
            return
        lost = self._lost
        self._release()
        if lost:
            self._app.refresh()

    def _release(self) -> None:
        held, self._held, self._lost = "".join(self._held), [], False
        if held:
            self.write(held)

    def send_message(self, message: Message) -> None:
        """Hand over a key, from the thread that reads it, without a task of its own."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._app.post_message, message)

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self._ordered = False

    def stop_application_mode(self) -> None:
        self._ordered = True
        self._release()
        if self.parting:
            self.write(self.parting)
        super().stop_application_mode()

    def close(self) -> None:
        writer = self._writer_thread
        if writer is not None and not writer.is_alive():
            # It died with its terminal; Textual would wait for room in its queue for ever.
            self._writer_thread = None
        super().close()
        # Nobody empties the queue any more: what is drawn from now on would fill it, and block.
        self._writer_thread = None


class MainScreen(Screen[None]):
    """Draws nothing while the terminal is behind; what changes meanwhile comes in one frame.

    What hot widgets ask it for with `repaint` is drawn in the next turn of the event loop.
    Textual's own way goes through the queues of the widget and of the screen and waits for a timer:
    in each of those turns all that came over the network goes first, and a key waits for it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._asked = False
        self._drawn_at = 0.0

    def repaint(self, widget: Widget, *regions: Region) -> None:
        """Draw these regions of a widget's content soon; all of it where none is given."""
        if not self.is_active or not widget.is_mounted:
            widget.refresh(*regions)
            return
        widget._set_dirty(*regions)  # noqa: SLF001 - `refresh` does it, and much that is not needed
        self._dirty_widgets.add(widget)
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._draw)

    def _draw(self) -> None:
        self._asked = False
        if not self.is_running or not self.is_active:
            return
        app, now = self.app, time.monotonic()
        placed = self._compositor.visible_widgets
        if now - self._drawn_at < UPDATE_PERIOD or self._is_changing(placed):
            self.check_idle()  # Textual draws when it is time
        elif not keeps_up(app._driver):  # noqa: SLF001
            self._update_timer.resume()
        elif (rows := rows_of(self._dirty_widgets, placed)) is None:
            self._on_timer_update()
        else:
            self._drawn_at = now
            self._dirty_widgets.clear()
            app._display(self, cast("Any", rows))  # noqa: SLF001
            if self._callbacks:
                self.check_idle()  # they wait until something was drawn

    def _is_changing(self, placed: Iterable[Widget]) -> bool:
        """Widgets are about to move: one frame shall show that and what is new in them."""
        return (
            bool(self.app._batch_count)  # noqa: SLF001
            or self._layout_required
            or self._scroll_required
            or self._repaint_required
            or self._recompose_required
            or self.message_queue_size > 0
            or any(widget._layout_required for widget in placed)  # noqa: SLF001
        )

    def _on_timer_update(self) -> None:
        if keeps_up(self.app._driver):  # noqa: SLF001 - Textual has no public way to it
            self._drawn_at = time.monotonic()
            super()._on_timer_update()


def _is_frame(data: str) -> bool:
    """Textual's frames begin with an escape of the cursor and end with its place."""
    return data.startswith("\x1b[") and data.endswith("H")


def send(app: App[Any], escapes: str) -> None:
    """Escapes that draw nothing (bell, title, clipboard), without waiting for the terminal."""
    driver = app._driver  # noqa: SLF001 - Textual's own ways know no tmux
    if escapes and driver is not None:
        driver.write(escapes)


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


def gone() -> bool:
    """The terminal on standard input was closed: nobody will ever see or type anything here.

    Textual's input thread would spin on its end for ever.
    """
    poll = select.poll()
    poll.register(0, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))
