"""What `bench_fleet.py` runs on a pty: the screen, or a DataTable, with figures made beforehand.

python benchmarks/fleet_child.py wall|calm|table|datatable HERTZ
"""

from __future__ import annotations

import gc
import random
import sys
import time

from common import REPO

from cockpit.model.types import Fleet, Gpu, Host, Link, LinkState, Node
from cockpit.profiles import builtin
from cockpit.tui.app import CockpitApp
from cockpit.tui.draw import themes
from cockpit.tui.settings import Settings

NODES, GPUS, MADE = 128, 8, 20

assert REPO


def fleets(low: float, high: float) -> list[Fleet]:
    """`MADE` moments of a fleet in which every figure differs from the moment before."""
    luck = random.Random(1)
    link = Link(state=LinkState.ONLINE, since=time.time())
    made = []
    for moment in range(MADE):
        nodes = []
        for number in range(NODES):
            gpus = []
            for index in range(GPUS):
                busy = luck.uniform(low, high)
                gpus.append(
                    Gpu(
                        index=index,
                        name="NVIDIA H100",
                        utilization=busy,
                        memory_used=int(luck.uniform(low, high) * 8e8),
                        memory_total=int(8e10),
                        power=busy * 7,
                        power_limit=700,
                        temperature=30 + busy / 2,
                    )
                )
            nodes.append(
                Node(
                    name=f"n{number:03d}",
                    cluster="lab",
                    link=link,
                    host=Host(cpus=64, load1=luck.uniform(0, 64), memory_used=1, memory_total=2),
                    gpus=tuple(gpus),
                    health="ok",
                    sampled_at=1e15,  # never old
                )
            )
        made.append(Fleet(revision=moment, nodes=tuple(nodes)))
    return made


class Made:
    """A Source that goes through made fleets, one after the other."""

    absent = banner = "this is a benchmark"
    orders = launchpad = profiles = shells = None

    def __init__(self, kind: str, hertz: float) -> None:
        self.config = builtin()
        self._fleets = fleets(85, 100) if kind == "calm" else fleets(0, 100)
        self._hertz = hertz
        self._begin = time.monotonic()
        self._shown = -1
        self._snapshot = self._fleets[0]

    def snapshot(self) -> Fleet:
        turn = int((time.monotonic() - self._begin) * self._hertz)
        if turn != self._shown:
            self._shown = turn
            nodes = self._fleets[turn % MADE].nodes
            self._snapshot = Fleet(revision=turn, nodes=nodes)
        return self._snapshot

    def calls(self) -> list[object]:
        return []

    async def close(self) -> None:
        pass


def screen(kind: str, hertz: float) -> None:
    loaded = themes.load([themes.shipped_folder()])
    app = CockpitApp(Made(kind, hertz), Settings(loaded=loaded))  # type: ignore[arg-type]
    if kind == "table":
        app.call_later(lambda: app.perform("fleet.mode"))
    app.run()


def datatable(hertz: float) -> None:
    """The same figures in the widget that Textual has for it: a row per node, a cell per GPU."""
    from textual.app import App, ComposeResult
    from textual.widgets import DataTable

    source = Made("wall", hertz)

    class TableApp(App[None]):
        BINDINGS = [("ctrl+q", "quit", "Quit")]  # noqa: RUF012 - Textual's type

        def compose(self) -> ComposeResult:
            yield DataTable(cursor_type="row")

        def on_mount(self) -> None:
            self.animation_level = "none"
            table = self.query_one(DataTable)
            self._columns = table.add_columns(
                "node", *(f"gpu{i}" for i in range(GPUS)), "util", "load"
            )
            self._rows = [table.add_row(n.name, *self._cells(n)) for n in source.snapshot().nodes]
            if hertz:
                self.set_interval(1 / hertz, self._tick)

        def _cells(self, node: Node) -> list[str]:
            busy = [gpu.utilization or 0.0 for gpu in node.gpus]
            assert node.host is not None
            load = node.host.load1 or 0.0
            return [*(f"{b:.0f}%" for b in busy), f"{sum(busy) / len(busy):.0f}%", f"{load:.1f}"]

        def _tick(self) -> None:
            table = self.query_one(DataTable)
            for row, node in zip(self._rows, source.snapshot().nodes, strict=True):
                for column, cell in zip(self._columns[1:], self._cells(node), strict=True):
                    table.update_cell(row, column, cell)

    TableApp().run()


if __name__ == "__main__":
    gc.freeze()
    if sys.argv[1] == "datatable":
        datatable(float(sys.argv[2]))
    else:
        screen(sys.argv[1], float(sys.argv[2]))
