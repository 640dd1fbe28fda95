"""What was asked of the nodes: a ring of the newest calls, and how many bytes came back.

Every `NodeLink` writes here; the debug page reads it. A call is named by its operation and a few
harmless arguments: values of environments and secrets are never kept, nor what came back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cockpit.errors import CockpitError
from cockpit.text import clean

KEPT = 1_000
"""Calls that are remembered."""

LONGEST = 200
"""Characters of a call's name."""

_SHOWN = (
    "job",
    "attempt",
    "generation",
    "path",
    "offset",
    "length",
    "digest",
    "addr",
    "port",
    "python",
    "interval",
)
"""Arguments whose values are named. All others, environments and secrets first, are not."""


@dataclasses.dataclass
class TracedCall:
    """`at`: wall clock; `seconds` is None and `outcome` "" while it is open, else "ok" or the
    error."""

    at: float
    cluster: str
    node: str
    what: str
    seconds: float | None = None
    outcome: str = ""


def named(op: str, arguments: Mapping[str, Any]) -> str:
    """ "follow path=jobs/a/log offset=0": an operation as it is shown."""
    words = [op]
    for key in _SHOWN:
        value = arguments.get(key)
        if value is not None and isinstance(value, (str, int, float)):
            words.append(f"{key}={str(value)[:12] if key == 'digest' else value}")
    return _short(" ".join(words))


def command(argv: Sequence[str]) -> str:
    """A command as it is shown."""
    return _short(f"exec {shlex.join(argv)}")


def _short(text: str) -> str:
    text = clean(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


class Trace:
    """The newest calls to all nodes of one controller."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._calls: deque[TracedCall] = deque(maxlen=KEPT)
        self._clock = clock
        self.received = 0
        """Bytes that came from nodes."""

    def node(self, cluster: str, node: str) -> NodeTrace:
        """Where the link to one node writes."""
        return NodeTrace(self, cluster, node)

    def calls(self) -> list[TracedCall]:
        """The newest calls, oldest first."""
        return list(self._calls)

    def begin(self, cluster: str, node: str, what: str) -> TracedCall:
        """A call was sent."""
        call = TracedCall(self._clock(), cluster, node, what)
        self._calls.append(call)
        return call


class NodeTrace:
    """One node's way into a Trace."""

    def __init__(self, trace: Trace, cluster: str, node: str) -> None:
        self._trace = trace
        self._cluster = cluster
        self._node = node

    def heard(self, amount: int) -> None:
        """So many bytes came from the node."""
        self._trace.received += amount

    @contextlib.contextmanager
    def call(self, what: str) -> Iterator[None]:
        """Around a call; an exception is its outcome."""
        end = self.begin(what)
        try:
            yield
        except CockpitError as error:
            end(error.message)
            raise
        except BaseException as error:
            end(type(error).__name__)
            raise
        end("ok")

    def begin(self, what: str) -> Callable[[str], None]:
        """A call was sent; what is returned ends it with its outcome, the first time."""
        call = self._trace.begin(self._cluster, self._node, what)
        begun = time.monotonic()

        def end(outcome: str) -> None:
            if call.seconds is None:
                call.seconds = time.monotonic() - begun
                call.outcome = _short(outcome)

        return end
