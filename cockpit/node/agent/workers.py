"""Slow work off the agent's loop: threads whose results come back to it.

`Workers` runs one function per request. `Probe` runs one function again and again, never twice at
once, in a thread of its own: a driver or file server that hangs costs that one probe and nothing
else. All methods are called on the loop's thread; threads are daemons, so none can keep the agent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cockpit.node.agent.loop import Loop

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any, Optional

    Done = Callable[[Any, Optional[Exception]], None]
    """Gets the result, or None and the exception."""

LIMIT = 16
"""Requests that are worked on at the same time; further ones wait."""


def _attempt(function: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001 - carried to the loop, which answers with it
        return None, error


class Workers:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Callable[[], Any], Done, bool]] = deque()
        self._running = 0
        self._vital = 0

    def submit(self, function: Callable[[], Any], done: Done, *, vital: bool = False) -> None:
        """Run `function` in a thread, then `done` on the loop.

        `vital` work changes the node; the agent waits for it a while before it ends.
        """
        self._waiting.append((function, done, vital))
        self._vital += vital
        self._start()

    @property
    def idle(self) -> bool:
        """No vital work is under way."""
        return self._vital == 0

    def _start(self) -> None:
        import threading  # by now the first log lines are on their way

        while self._waiting and self._running < LIMIT:
            function, done, vital = self._waiting.popleft()
            self._running += 1
            threading.Thread(
                target=self._run, args=(function, done, vital), name="worker", daemon=True
            ).start()

    def _run(self, function: Callable[[], Any], done: Done, vital: bool) -> None:
        result, error = _attempt(function)
        self._loop.from_thread(lambda: self._finished(result, error, done, vital))

    def _finished(self, result: Any, error: Exception | None, done: Done, vital: bool) -> None:
        self._running -= 1
        self._vital -= vital
        self._start()
        done(result, error)


class Probe:
    """One slow function. Who asks while it runs gets the result of the next run."""

    def __init__(self, loop: Loop, function: Callable[[], Any], name: str) -> None:
        self._loop = loop
        self._function = function
        self._name = name
        self._asked: list[Done] = []
        self._busy = False

    def ask(self, done: Done) -> None:
        """Run the function soon, then `done` on the loop."""
        self._asked.append(done)
        if not self._busy:
            self._start()

    def _start(self) -> None:
        import threading

        asked, self._asked = self._asked, []
        self._busy = True
        threading.Thread(target=self._run, args=(asked,), name=self._name, daemon=True).start()

    def _run(self, asked: list[Done]) -> None:
        result, error = _attempt(self._function)
        self._loop.from_thread(lambda: self._finished(asked, result, error))

    def _finished(self, asked: list[Done], result: Any, error: Exception | None) -> None:
        self._busy = False
        if self._asked:
            self._start()
        for done in asked:
            done(result, error)
