"""The agent's event loop: descriptors, timers and results of threads, on one thread.

Used by the agent only. It waits in poll(2), runs what became due, then calls one hook that moves
output. It catches nothing: whoever registers a callback guards it.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import deque
from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT
BROKEN = 0
"""Interest in nothing but errors: the callback runs when the other side is gone."""


class Timer:
    """A callback that is due later. `cancel` may be called at any time, more than once."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    def __init__(self) -> None:
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._counter = 0
        self._results: deque[Callable[[], None]] = deque()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._exit_code: int | None = None
        self.watch(self._wake_in, self._woken)

    def watch(self, fd: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call `callback` whenever `fd` has `events` or an error; replaces an earlier watch."""
        self._poll.register(fd, events)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; harmless if it is not watched. To be called before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `delay` seconds from now."""
        timer = Timer(callback)
        self._counter += 1
        heapq.heappush(self._timers, (time.monotonic() + delay, self._counter, timer))
        return timer

    def from_thread(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop's thread soon. The only method that any thread may call."""
        self._results.append(callback)
        try:
            os.write(self._wake_out, b"\0")
        except BlockingIOError:
            return  # a full pipe wakes the loop as well

    def stop(self, code: int) -> None:
        """Make `run` return `code`; the first call wins."""
        if self._exit_code is None:
            self._exit_code = code

    def run(self, after: Callable[[], bool]) -> int:
        """Serve until `stop`. `after` runs in each round; True asks for another one at once."""
        while self._exit_code is None:
            busy = after()
            self._wait(0.0 if busy else self._until_next_timer())
            self._run_timers()
        return self._exit_code

    def run_for(self, seconds: float, done: Callable[[], bool]) -> None:
        """Serve only threads' results, at most `seconds`, until `done`. For the way out."""
        deadline = time.monotonic() + seconds
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            select.select([self._wake_in], [], [], left)
            self._woken()

    def _until_next_timer(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _wait(self, timeout: float | None) -> None:
        # poll(2) counts milliseconds; rounding up keeps a timer from spinning just before it is due
        for fd, _ in self._poll.poll(None if timeout is None else int(timeout * 1000 + 0.999)):
            callback = self._callbacks.get(fd)  # an earlier callback may have dropped it
            if callback is not None:
                callback()

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()

    def _woken(self) -> None:
        try:
            os.read(self._wake_in, 4096)
        except BlockingIOError:
            return
        while self._results:
            self._results.popleft()()
