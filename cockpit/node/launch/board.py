"""What the launcher processes of one generation tell each other, in the rendezvous store.

Calls of torch's stores wait in C++, deaf to signals, for as long as the host of the store is frozen
or out of reach. So all of them happen in one thread over a connection of its own; whoever asks
waits in Python, where a signal ends the wait at once, and never longer than PATIENCE.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from cockpit.node.launch.requests import Request, decode

PATIENCE = 2.0
"""Seconds after which a call that the store has not answered is its last."""
_FAREWELL = 0.5
"""Seconds that the end of the thread is waited for."""

_Question = Callable[[Any], Any]


class _Answer(NamedTuple):
    value: Any
    error: Exception | None


class Line:
    """A thread that puts questions to `store`, one after the other.

    It runs from the first question to `close`. In between, while nothing is asked, it holds no
    lock; it must have been closed before the process forks or ends: a thread that comes back from
    C++ while Python ends aborts the process (measured with torch 2.13). One that a frozen store
    keeps for longer than that cannot be helped.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._questions: queue.SimpleQueue[tuple[_Question, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, question: _Question) -> Any:
        """What `question` makes of the store. Raises TimeoutError, or what the store raises."""
        answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._questions.put((question, answers))
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        try:
            answer = answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise TimeoutError(f"no answer within {PATIENCE:g} s") from None
        if answer.error is not None:
            raise answer.error
        return answer.value

    def close(self, patience: float = _FAREWELL) -> None:
        """End the thread once all is said; one that waits for the store is left behind."""
        thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self.close)
            self._questions.put(None)
            thread.join(patience)

    def _serve(self) -> None:
        # torch >= 2.7 has it; before that the connection is shared, which is safe but may wait.
        with contextlib.suppress(AttributeError, RuntimeError, OSError):
            self._store = self._store.clone()
        while True:
            asked = self._questions.get()
            if asked is None:
                self._store = None
                return
            question, answers = asked
            try:
                answers.put(_Answer(question(self._store), None))
            except Exception as error:  # noqa: BLE001 - raised where it was asked
                answers.put(_Answer(None, error))


class Board:
    """The words of one generation below the key `prefix`; `size` is its number of nodes.

    A store that is lost is no error: nobody can be told anything then, and nobody is waited for.
    A world of one node needs neither store nor thread.
    """

    def __init__(self, store: Any, prefix: str, size: int) -> None:
        self._line = Line(store) if size > 1 else None
        self._prefix = prefix
        self._size = size
        self._page = 0

    def publish(self, request: Request) -> Request:
        """The one request of this page: `request`, or what another node had asked first."""
        mine = json.dumps(request._asdict())
        key = self._key("request")
        stored = self._ask(lambda store: store.compare_set(key, "", mine))
        return (decode(stored) if isinstance(stored, bytes) else None) or request

    def published(self) -> Request | None:
        key = self._key("request")
        stored = self._ask(lambda store: store.get(key) if store.check([key]) else None)
        return decode(stored) if isinstance(stored, bytes) else None

    def turn_page(self) -> None:
        """The request of this page is void, which every node finds out by itself."""
        self._page += 1

    def arm(self) -> None:
        self._add(self._key("armed"), 1)

    def all_armed(self) -> bool:
        return self._add(self._key("armed"), 0, unknown=self._size) >= self._size

    def finish(self) -> None:
        """The ranks of this node have finished well: it will not come to another generation."""
        self._add(f"{self._prefix}/finished", 1)

    def finished(self) -> int:
        """Number of nodes whose ranks have finished well."""
        return self._add(f"{self._prefix}/finished", 0)

    def close(self) -> None:
        """To be called before the process forks or ends. Nobody is told anything afterwards."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{self._page}/{name}"

    def _add(self, key: str, amount: int, unknown: int = 0) -> int:
        count = self._ask(lambda store: store.add(key, amount))
        return unknown if count is None else int(count)

    def _ask(self, question: _Question) -> Any:
        if self._line is None:
            return None
        try:
            return self._line.ask(question)
        except (RuntimeError, OSError) as error:
            line, self._line = self._line, None
            line.close(0.0)
            say(f"the rendezvous store does not answer ({type(error).__name__})")
            return None


def say(message: str) -> None:
    sys.stderr.write(f"cockpit: {message}\n")
    sys.stderr.flush()
