"""Taking the stacks of all local ranks beside the supervisor's loop, and keeping them on disk.

Used at a stall. Looking into ranks that hang may itself take its time, so it happens in a thread
that nobody waits for; the file is whole or absent.
"""

from __future__ import annotations

import os
import threading

from cockpit.node import durable
from cockpit.node.probing import stacks
from cockpit.protocol import layout

KEPT_FIRST = 4
KEPT_NEWEST = 12
"""Of the files of one attempt, these stay: how it began, and how it is."""


class StackKeeper:
    """One taking at a time. `attempt` is the attempt's folder."""

    def __init__(self, attempt: str) -> None:
        self._attempt = attempt
        self._thread: threading.Thread | None = None
        self._path = ""
        self._error = ""

    @property
    def busy(self) -> bool:
        """Whether a taking is under way, or its result has not been fetched."""
        return self._thread is not None

    def begin(self) -> None:
        """Start taking; does nothing while `busy`."""
        if self._thread is None:
            self._path = self._error = ""
            self._thread = threading.Thread(target=self._take, name="stacks", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                self._error = f"taking stacks failed: {error}"

    def result(self) -> tuple[str, str] | None:
        """(path below the attempt's folder, "") or ("", why not), once; None until then."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        return self._path, self._error

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
            self._error = f"taking stacks failed: {type(error).__name__}: {error}"
        else:
            self._path = path


def _numbers(folder: str) -> list[int]:
    names = (name.partition(".")[0] for name in os.listdir(folder) if name.endswith(".json"))
    return sorted(int(name) for name in names if name.isdecimal())
