"""Run on a pseudo-terminal by the terminal tests: every figure of 128 nodes always changes."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
from tui_world import FakeSource, job, node

from cockpit.model.types import Fleet
from cockpit.tui import run_async


class BusySource(FakeSource):
    """A new fleet at every look."""

    def __init__(self) -> None:
        self._looks = itertools.count(1)
        self._levels = [
            tuple(
                node(f"n{index:03d}", level=(index * 7 + 31 * turn) % 100) for index in range(128)
            )
            for turn in range(4)
        ]
        super().__init__(Fleet(revision=0, jobs=(job(),)))

    def snapshot(self) -> Fleet:
        look = next(self._looks)
        nodes = self._levels[look % len(self._levels)]
        return msgspec.structs.replace(self.fleet, revision=look, nodes=nodes)


if __name__ == "__main__":
    asyncio.run(run_async(BusySource()))
