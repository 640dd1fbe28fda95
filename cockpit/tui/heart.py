"""The heart of the app: at every beat it takes what is new, and has drawn what of it is visible."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

from textual import events

from cockpit.model.types import Fleet
from cockpit.tui import terminal
from cockpit.tui.frame import Clock, Frame
from cockpit.tui.pulse import RATES, Pulse

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

FOOTER_PULSES = 5
"""The footer is drawn at every such pulse that brought something new."""


class Heart:
    """`frame`: what was last drawn. `frozen`: what is shown is held, as it was at that moment."""

    def __init__(self, app: CockpitApp, clock: Clock) -> None:
        self._app = app
        self.clock = clock
        self.frame = Frame(Fleet(revision=-1), 0.0, 0.0)
        self.frozen = False
        self._frozen_at = 0.0
        self._pulse = Pulse()
        self._due = 0.0
        self._looked = 0.0
        """When the source was last asked for a snapshot, by this machine's clock."""
        self.footer_age = FOOTER_PULSES
        """Pulses since the footer was drawn."""

    @property
    def rate(self) -> int:
        """Frames a second that are aimed at."""
        return self._pulse.rate

    @property
    def slow(self) -> bool:
        """They are fewer than they could be."""
        return self.rate < RATES[0]

    def begin(self) -> None:
        """Beat from now on."""
        self._due = self.clock.mono() + self._pulse.interval
        # A timer of Textual's is made anew each time, and costs more than a beat without news.
        asyncio.get_running_loop().call_later(self._pulse.interval, self._tell)

    def _tell(self) -> None:
        self._app.post_message(events.Callback(callback=self._beat))

    def _beat(self) -> None:
        app = self._app
        if not app.is_running:
            return
        if not app.is_headless and terminal.gone():
            app.leave()
            return
        late = self.clock.mono() - self._due
        free = terminal.keeps_up(app.driver)
        self._pulse.observe(late, blocked=not free)
        app.house.vitals.late(late)
        if free:
            with app.house.vitals.drawing():
                app.pulse(look=time.monotonic() - self._looked >= self._pace)
        self.begin()

    @property
    def _pace(self) -> float:
        """Seconds between two looks at the world, less half a pulse, since pulses come when they
        can."""
        return self._app.course.current.pace - self._pulse.interval / 2

    def pulse(self, *, force: bool, look: bool) -> None:
        """See `CockpitApp.pulse`."""
        app = self._app
        mono, wall = self.clock.mono(), self.clock.wall()
        tick = int(wall) != int(self.frame.wall)
        fleet = self.frame.fleet
        if force or look or tick:
            fleet = app.source.snapshot()
            self._looked = time.monotonic()
        changed = fleet.revision != self.frame.fleet.revision
        if changed and app.following.retry():
            app.follow()
        lines_came = app.following.poll()
        if force or changed or tick:
            self.frame = self._held(app.observed(Frame(fleet, mono, wall, app.marks.keys)))
            app.draw(self.frame)
            if tick:
                app.tick(self.frame)
        if lines_came and not self.frozen:
            app.course.current.arrived()
        # What the keys can do changes with states, not with figures; actions draw it themselves.
        self.footer_age += 1
        if force or tick or (changed and self.footer_age >= FOOTER_PULSES):
            app.draw_footer()

    def _held(self, frame: Frame) -> Frame:
        """The frame to draw: while the display is frozen, the world as it was then."""
        if not self.frozen:
            return frame
        return dataclasses.replace(frame, fleet=self.frame.fleet, mono=self._frozen_at)

    def freeze(self) -> None:
        """Hold what is shown, or let it go on; orders and notices are not held."""
        self.frozen = not self.frozen
        self._frozen_at = self.frame.mono
        self._app.pulse(force=True)
