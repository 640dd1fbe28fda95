"""The document of a job: its mirrored streams as one log of numbered lines, in order of time.

Nothing here looks at single lines before somebody asks for them. What arrives is cut into runs,
stretches of whole lines of one stream and one time; runs wait for a moment so that nodes whose
bytes arrive a little later find their place, and go into a table that says where the lines lie.
The order is that of `merged`: (time, node rank, stream, offset).

A document begins near the end of the log. Its horizon is the time from which on every stream is
there; lines from before it are withheld until `older` moves it back (`logpast`). So is what a node
that answered late wrote before the newest line that was already shown.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import time
from collections.abc import Callable, Sequence, Set
from pathlib import Path

from cockpit.model.loglane import Lane
from cockpit.model.logpast import Past, Reach, just_before
from cockpit.model.logread import Reader
from cockpit.model.logruns import RunTable, Spill
from cockpit.model.logsave import save
from cockpit.model.logscan import Stretch
from cockpit.model.logtap import Supply
from cockpit.model.logtypes import Finder, Origin, RawLine
from cockpit.model.masking import Mask
from cockpit.model.merged import PATIENCE, QUIET, SETTLE, Order
from cockpit.text import count_of

TELL_EVERY = 0.5
"""Seconds between looks at what the notice says."""
BUDGET = 0.008
"""Seconds of work of one `poll`."""
STRIDE = 512
"""Runs that are taken between looks at the clock."""
ANSWER = 1.0
"""Seconds after which what is there is shown, without the nodes that have not answered."""
WAITING = 200_000
"""Runs that wait at most: of more, the older half does not wait any longer."""

Key = tuple[float, Order]

_NO_OFFSET = 2**63


class LogDoc:
    """Satisfies `LogDocument`. `clock` never goes back; `mask` hides values in what is given."""

    def __init__(
        self,
        supply: Supply,
        selected: frozenset[Origin] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        mask: Mask | None = None,
    ) -> None:
        self._supply = supply
        self._mask = mask or Mask()
        self.selected = selected
        self._clock = clock
        self._spill = Spill(supply.folder)
        self._lanes: list[Lane] = []
        self._seen_taps = 0
        self._fresh: list[Stretch] = []
        self._touched: set[Lane] = set()
        self._active: set[Lane] = set()
        """Lanes to look at in every poll: behind, or with an unfinished line."""
        self._waiting: list[Stretch] = []
        self._arrivals: collections.deque[tuple[float, Key]] = collections.deque()
        """(when runs came, the newest of them)."""
        self._table = RunTable(self._spill)
        self._reader = Reader(self._lanes, self._table)
        self._opening: float | None = clock()
        self._known = False
        """The supply has opened every stream that there was when the document began."""
        self._late: set[Lane] = set()
        """Lanes that the document began without."""
        self._newest = float("-inf")
        """Time of the newest line that was given its place."""
        self._backlog: Key | None = None
        """The newest line that was there when it was opened, until that has its place."""
        self._horizon = float("-inf")
        """Only lines that are newer were let in; see `Lane.floor` for those that came late."""
        self._past: Past | None = None
        self._settled: Key | None = None
        """Runs up to this one have waited long enough."""
        self._unsaved: list[str] = []
        self._told = self._doing = ""
        self.grown = 0
        self._reported = (0, 0, "", 0)
        self._tell_at = float("-inf")
        self._closed = False
        supply.join()
        self._take_in()

    # -- what it holds -------------------------------------------------------------------------

    @property
    def first(self) -> int:
        return self._reader.first

    @property
    def end(self) -> int:
        return self._table.lines

    @property
    def size(self) -> int:
        return self._reader.size

    @property
    def origins(self) -> Sequence[Origin]:
        taps = sorted(self._supply.taps, key=lambda tap: tap.source.order)
        return [tap.origin for tap in taps]

    @property
    def opening(self) -> bool:
        return self._opening is not None or self._backlog is not None

    @property
    def complete(self) -> bool:
        opened = self._opening is None and self._known
        return opened and self._past is None and not self._short()

    def _short(self) -> bool:
        """Some stream has lines before those that are shown."""
        if self._horizon > float("-inf"):
            return True
        return any(lane.low > 0 or not lane.begun for lane in self._lanes)

    @property
    def notice(self) -> str:
        return self._told

    def _tell(self, now: float) -> None:
        """Compose the notice; not in every poll, for it looks at every stream."""
        doing = "reading" if self._opening is not None or not self._known else ""
        doing = "fetching earlier lines" if self._past is not None else doing
        if doing == self._doing and now < self._tell_at:
            return
        self._doing, self._tell_at = doing, now + TELL_EVERY
        parts = [doing] if doing else []
        away = sorted({lane.tap.origin.node for lane in self._lanes if not lane.tap.reachable()})
        if away:
            shown = ", ".join(away[:3]) + (", …" if len(away) > 3 else "")
            parts.append(f"{count_of(len(away), 'node')} out of reach: {shown}")
        lost = sum(lane.tap.mirror.dropped + lane.lost for lane in self._lanes)
        if lost:
            parts.append(f"{_bytes(lost)} are gone (log limit of the nodes)")
        parts.extend(self._unsaved)
        self._told = "; ".join(parts)

    # -- taking in -----------------------------------------------------------------------------

    def poll(self) -> bool:
        if self._closed:
            return False
        now = self._clock()
        known = self._supply.refresh()
        self._take_in()
        self._known = self._known or known
        self._let_in()
        self._pull(now)
        if self._opening is not None:
            self._finish_opening(now)
        if self._opening is None:
            self._release(now)
        if self._past is not None:
            self._advance_past(now)
        self._tell(now)
        before, self._reported = self._reported, (self.first, self.end, self._told, self.grown)
        return before != self._reported

    def _take_in(self) -> None:
        taps = self._supply.taps
        while self._seen_taps < len(taps):
            tap = taps[self._seen_taps]
            self._seen_taps += 1
            if self.selected is None or tap.origin in self.selected:
                number = len(self._lanes)
                lane = Lane(number, tap, self._fresh, self._touched)
                self._lanes.append(lane)
                if self._opening is None and not self._known:
                    self._late.add(lane)

    def _let_in(self) -> None:
        """Move the horizon to the newest line that is shown when a node answers late."""
        joining = {lane for lane in self._late & self._touched if lane.begun}
        if joining:
            self._late -= joining
            if self._newest > self._horizon:
                self._set_floors(joining)  # the others show what they would have shown
                self._horizon = self._newest

    def _pull(self, now: float) -> None:
        """See to the lanes that got something, and to those that wait for something."""
        for lane in self._touched:
            lane.progress = now
        self._active |= self._touched
        self._touched.clear()
        if not self._active:
            return
        deadline = self._clock() + BUDGET
        idle = []
        for lane in sorted(self._active, key=lambda lane: lane.scanner.last):
            if not self._attend(lane, now, deadline):
                idle.append(lane)
            if lane.scanner.grown:
                lane.scanner.grown = False
                self.grown += 1
        self._active.difference_update(idle)

    def _attend(self, lane: Lane, now: float, deadline: float) -> bool:
        """Read what a lane has in its mirror; whether it is to be looked at again."""
        while lane.scanner.position < lane.tap.mirror.end:
            if self._clock() >= deadline:
                return True
            if not lane.pull(now):
                break
        if lane.behind:
            return True
        if not lane.unfinished:
            return False
        if now - lane.progress >= QUIET:
            lane.scanner.finish()
            return False
        return True

    def _finish_opening(self, now: float) -> None:
        """Begin to show once every stream whose node answers has what it had when it was opened."""
        opened = self._opening
        assert opened is not None
        patient = now - opened <= (ANSWER if self._fresh else PATIENCE)
        if not self._known and (patient or not self._fresh):
            return
        late = now - opened > PATIENCE
        for lane in self._lanes:
            if not lane.begun:
                if patient and lane.tap.reachable():
                    return
            elif lane.behind and (not late or now - lane.progress <= PATIENCE):
                return
        self._opening = None
        self._late = {lane for lane in self._lanes if not lane.begun}
        for lane in self._lanes:
            # A line that is just being written grows where it is shown.
            lane.scanner.finish()
        self._waiting.extend(self._fresh)
        self._fresh.clear()
        self._waiting.sort()
        self._horizon = max(
            (lane.tap.since(lane.low) for lane in self._lanes if lane.begun and lane.low > 0),
            default=float("-inf"),
        )
        if not self._waiting or self._waiting[-1].at <= self._horizon:
            self._horizon = just_before(self._horizon)
        if self._waiting:
            self._backlog = self._waiting[-1][:2]
            self._arrivals.append((now, self._backlog))

    def _release(self, now: float) -> None:
        """Give the runs that have waited long enough their place."""
        fresh, waiting = self._fresh, self._waiting
        if fresh:
            fresh.sort()
            newest = fresh[-1]
            self._arrivals.append((now, newest[:2]))
            ordered = not waiting or waiting[-1] < fresh[0]
            waiting.extend(fresh)
            fresh.clear()
            if not ordered:
                waiting.sort()
        if not waiting:
            return
        limit = self._limit(now)
        stop = 0 if limit is None else bisect.bisect_right(waiting, (*limit, _NO_OFFSET))
        if len(waiting) - stop > WAITING:
            stop = len(waiting) // 2
        self._append(stop)

    def _limit(self, now: float) -> Key | None:
        """Runs up to this one may be given out; None: none."""
        arrivals, settled = self._arrivals, self._settled
        while arrivals and arrivals[0][0] <= now - SETTLE:
            key = arrivals.popleft()[1]
            settled = key if settled is None or key > settled else settled
        self._settled = settled
        if settled is None:
            return None
        for lane in self._active:
            if lane.begun and lane.behind and now - lane.progress <= PATIENCE:
                settled = min(settled, (lane.scanner.last, lane.order))
        return settled

    def _append(self, stop: int) -> None:
        """Put the first `stop` waiting runs into the table, as far as time allows."""
        waiting, append, lanes = self._waiting, self._table.append, self._lanes
        horizon = self._horizon
        deadline = self._clock() + BUDGET
        taken = 0
        for at, _, start, number, size, lines in waiting[:stop]:
            lane = lanes[number]
            if lane.floor is None:
                if at > horizon:
                    lane.floor = start
                    append(number, start, size, lines, at)
            else:
                append(number, start, size, lines, at)
            taken += 1
            if not taken % STRIDE and self._clock() >= deadline:
                break
        if taken:
            self._newest = max(self._newest, waiting[taken - 1].at)
        del waiting[:taken]
        if self._backlog is not None and not (waiting and waiting[0][:2] <= self._backlog):
            self._backlog = None

    # -- reading -------------------------------------------------------------------------------

    def lines(self, start: int, stop: int) -> Sequence[RawLine]:
        lines = self._reader.lines(start, stop)
        if self._mask.empty:
            return lines
        return [line._replace(data=self._mask.data(line.data)) for line in lines]

    def at_time(self, at: float) -> int:
        return self._reader.at_time(at)

    def search(self, finder: Finder, start: int, stop: int) -> list[int]:
        return self._reader.search(finder, start, stop)

    # -- earlier lines -------------------------------------------------------------------------

    def older(self) -> None:
        if self._past is not None or self._opening is not None or self._closed:
            return
        horizon = self._horizon
        if horizon == float("-inf") and not any(lane.low > 0 for lane in self._lanes):
            return
        self._set_floors(set())
        reaches = [
            Reach(lane.number, lane.tap, lane.low, lane.floor, lane.scanner.position)
            for lane in self._lanes
            if lane.begun and lane.floor is not None
        ]
        newest = max((lane.scanner.last for lane in self._lanes), default=0.0)
        self._past = Past(reaches, horizon, newest, RunTable(self._spill), self._clock)
        self._tell(self._clock())

    def _set_floors(self, but: Set[Lane]) -> None:
        """Where lanes that show nothing yet would begin."""
        first: dict[int, int] = {}
        for stretch in itertools.chain(self._waiting, self._fresh):
            if stretch.at > self._horizon:
                first.setdefault(stretch.lane, stretch.start)
        for lane in self._lanes:
            if lane.begun and lane.floor is None and lane not in but:
                scanner = lane.scanner
                # An unfinished line that was withheld, or whose beginning was never there, counts.
                passed = scanner.aligning or scanner.shown
                behind = scanner.position if passed else scanner.line
                lane.floor = first.get(lane.number, behind)

    def _advance_past(self, now: float) -> None:
        past = self._past
        assert past is not None
        if not past.step(now, BUDGET):
            return
        self._past = None
        if self._horizon == past.began:  # else a node answered meanwhile: what it has is left
            self._horizon = past.horizon
        for reach in past.reaches:
            lane = self._lanes[reach.lane]
            if lane.floor == reach.began:
                lane.low, lane.floor = reach.low, reach.floor
        self._reader.prepend(past.table)

    # -- others --------------------------------------------------------------------------------

    def select(self, origins: frozenset[Origin] | None) -> LogDoc:
        return LogDoc(self._supply, origins, clock=self._clock, mask=self._mask)

    async def save(self, path: Path) -> int:
        taps = [lane.tap for lane in self._lanes]
        missing = await self._supply.whole(taps)
        written = await self._supply.off_loop(save([tap.source for tap in taps], path, self._mask))
        self._unsaved = [f"saved without {what}" for what in missing]
        return written

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for lane in self._lanes:
            lane.leave()
        self._spill.close()
        self._supply.leave()


def _bytes(number: int) -> str:
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number //= 1000
    return f"{number:.3g} GB"
