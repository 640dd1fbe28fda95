"""Taking the stacks of all local ranks beside the supervisor's loop, and keeping them on disk.

Used at a stall. Looking into ranks that hang may itself take its time, so it happens in a thread
that nobody waits for; the file is whole or absent.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from typing import Any

from cockpit.node import durable
from cockpit.node.probing import stacks
from cockpit.protocol import layout

KEPT_FIRST = 4
KEPT_NEWEST = 12
"""Of the files of one attempt, these stay: how it began, and how it is."""


FRAMES = 24
"""Innermost frames of a main thread that are told in the journal: down to the user's own code, as
a rule."""
MAX_TEXT = 200


@dataclasses.dataclass(frozen=True)
class Taken:
    path: str = ""
    """Below the attempt's folder; "" where there is an error."""
    ranks: tuple[dict[str, Any], ...] = ()
    """Where the main threads of the ranks were, as the event `stacks` has it."""
    error: str = ""


class StackKeeper:
    """One taking at a time. `attempt` is the attempt's folder."""

    def __init__(self, attempt: str) -> None:
        self._attempt = attempt
        self._thread: threading.Thread | None = None
        self._taken = Taken()

    @property
    def busy(self) -> bool:
        """Whether a taking is under way, or its result has not been fetched."""
        return self._thread is not None

    def begin(self) -> None:
        """Start taking; does nothing while `busy`."""
        if self._thread is None:
            self._taken = Taken()
            self._thread = threading.Thread(target=self._take, name="stacks", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                self._taken = Taken(error=f"taking stacks failed: {error}")

    def result(self) -> Taken | None:
        """What has become of it, once; None until then."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        return self._taken

    def _take(self) -> None:
        try:
            answer = stacks.take(self._attempt)
            folder = os.path.join(self._attempt, layout.STACKS)
            durable.make_folder(folder)
            numbers = _numbers(folder)
            path = layout.kept_stacks(numbers[-1] + 1 if numbers else 0)
            durable.write(os.path.join(self._attempt, path), durable.to_json(answer))
            for number in numbers[KEPT_FIRST : 1 - KEPT_NEWEST]:
                os.unlink(os.path.join(self._attempt, layout.kept_stacks(number)))
        except Exception as error:  # noqa: BLE001 - told in the journal; a stall is judged without
            why = f"taking stacks failed: {type(error).__name__}: {error}"
            self._taken = Taken(error=why)
        else:
            self._taken = Taken(path, _innermost(answer["ranks"]))


def _innermost(ranks: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    found = []
    for rank in ranks:
        main = next((thread for thread in rank["threads"] if thread["main"]), None)
        if rank["rank"] is not None and main is not None:
            frames = [
                {
                    "file": frame["file"][-MAX_TEXT:],
                    "line": frame["line"],
                    "function": frame["function"][:MAX_TEXT],
                }
                for frame in main["frames"][:FRAMES]
            ]
            found.append({"rank": rank["rank"], "frames": frames})
    return tuple(found)


def _numbers(folder: str) -> list[int]:
    names = (name.partition(".")[0] for name in os.listdir(folder) if name.endswith(".json"))
    return sorted(int(name) for name in names if name.isdecimal())
