"""What every check of the preflight says: a name, a level, a message and how to repair it.

Made by the groups of checks (`checkdisk`, `checkgpus`, …) and sent as they are. What hangs (a file
server, a resolver) keeps its thread and holds up nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

Check = dict[str, str]
"""{check, level: "ok" | "warn" | "crit" | "unknown", message, hint}"""


def check(name: str, level: str, message: str, hint: str = "") -> Check:
    return {"check": name, "level": level, "message": message, "hint": hint}


def within(seconds: float, work: Callable[[], T]) -> T | None:
    """What `work` returns, or None when it has not within `seconds`; its thread is left behind.

    Raises what `work` raises.
    """
    asked = _Asked(work)
    asked.thread.join(seconds)
    if asked.error is not None:
        raise asked.error
    return asked.result


def all_within(seconds: float, groups: dict[str, Callable[[], list[Check]]]) -> list[Check]:
    """The checks of all groups, which run at the same time. One that hangs or breaks is unknown."""
    deadline = time.monotonic() + seconds
    running = {name: _Asked(work) for name, work in groups.items()}
    checks: list[Check] = []
    for name, asked in running.items():
        asked.thread.join(max(deadline - time.monotonic(), 0.0))
        if asked.error is not None:
            message = f"could not be checked: {type(asked.error).__name__}: {asked.error}"
            checks.append(check(name, "unknown", message))
        elif asked.result is None:
            message = f"no answer in {seconds:.0f} s; something under it hangs"
            checks.append(check(name, "unknown", message))
        else:
            checks.extend(asked.result)
    return checks


class _Asked(Generic[T]):
    """Work in a thread of its own."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.result: T | None = None
        self.error: Exception | None = None
        self._work = work
        self.thread = threading.Thread(target=self._run, name="check", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:  # noqa: BLE001 - carried to whoever waits
            self.error = error
