"""The simulated nodes' figures. Only nodes whose figures are new become new objects.

The source asks for all of them many times a second, so a node costs as little as can be.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from cockpit.model.health import assess
from cockpit.model.types import Gpu, GpuProcess, Host, Link, LinkState, Node
from cockpit.tui.simulated.story import CLUSTER, Story

GPU_NAME = "simulated GPU 80GB"
SLOW_GPU, SLOW_LEVEL = 3, 4
_GIB = 1 << 30
_MEMORY = 80 * _GIB
_HZ = 10
"""Looks at the fleet in a second in which some node may have new figures."""


class Load(NamedTuple):
    """What a job does to a node. `job`: its id; `level`: utilisation in percent."""

    job: str = ""
    first_pid: int = 0
    level: int = 0
    memory: int = 0


IDLE = Load()


class SimulatedNodes:
    """`rate`: new figures of each node a second. `load` says what a node (by index) does now.

    `wall` and `mono`: both clocks at the moment of the opening.
    """

    def __init__(
        self,
        story: Story,
        gpus: int,
        rate: float,
        load: Callable[[int, float], Load],
        *,
        wall: float,
        mono: float,
    ) -> None:
        self._story = story
        self._gpus = gpus
        self._load = load
        self._wall = wall
        self._mono = mono
        self._hz = max(rate, _HZ)
        self._groups = max(round(self._hz / rate), 1)
        self._tick: int | None = None
        self._keys: list[object] = [None] * story.count
        self._nodes: tuple[Node, ...] = ()
        self._links: dict[tuple[int, float | None, int], Link] = {}

    def link(self, index: int, now: float) -> Link:
        """The connection to a node at this moment."""
        since = self._story.away_since(index, now)
        tries = 0 if since is None else 1 + int(now - since) // 15
        key = (index, since, tries)
        known = self._links.get(key)
        if known is None:
            known = self._links[key] = self._make_link(index, since, tries)
        return known

    def _make_link(self, index: int, since: float | None, tries: int) -> Link:
        if since is None:
            return Link(state=LinkState.ONLINE, since=self._wall - 600, rtt=0.0012, clock_offset=0)
        return Link(
            state=LinkState.UNREACHABLE,
            since=self._wall + since,
            why=f"ssh {self._story.name(index)}: Connection timed out (simulated)",
            hint="a simulated node; it may come back",
            attempts=tries,
        )

    def at(self, now: float) -> tuple[Node, ...]:
        """All nodes; the same tuple while nothing changed."""
        tick = int(now * self._hz)
        if tick == self._tick:
            return self._nodes
        self._tick = tick
        nodes: list[Node | None] = list(self._nodes) or [None] * self._story.count
        changed = False
        for index in range(self._story.count):
            late = (tick + index) % self._groups
            sampled = self._story.last_sample(index, (tick - late) / self._hz)
            link = self.link(index, now)
            key = (sampled, link)
            if key != self._keys[index]:
                self._keys[index] = key
                nodes[index] = self._node(index, link, sampled)
                changed = True
        if changed:
            self._nodes = tuple(node for node in nodes if node is not None)
        return self._nodes

    def _node(self, index: int, link: Link, sampled: float | None) -> Node:
        name = self._story.name(index)
        if sampled is None:
            return Node(name=name, cluster=CLUSTER, link=link, simulated=True)
        load = self._load(index, sampled)
        slow = index == self._story.slow and self._story.is_slow(sampled)
        host = self._host(index, sampled, load)
        gpus = self._gpus_of(index, sampled, load, slow=slow)
        health, reasons = assess(host, gpus, "") if slow else ("ok", ())
        return Node(
            name=name,
            cluster=CLUSTER,
            link=link,
            host=host,
            gpus=gpus,
            driver="simulated",
            user="demo",
            health=health,
            health_reasons=reasons,
            simulated=True,
            sampled_at=self._mono + sampled,
        )

    def _host(self, index: int, at: float, load: Load) -> Host:
        change = self._story.wave[(int(at) + index * 7) & 255]
        busy = 38.0 if load.level else 3.0
        return Host(
            cpus=96,
            cpu_percent=busy + change / 2,
            load1=busy / 2 + change / 4,
            memory_used=(180 if load.level else 24) * _GIB,
            memory_total=1024 * _GIB,
            swap_used=0,
            swap_total=0,
            disk_free=(900 + index) * _GIB,
            disk_total=3500 * _GIB,
            disk_read=4e6 if load.level else 0.0,
            disk_written=1.5e6 if load.level else 0.0,
            network_in=load.level * 1.6e8,
            network_out=load.level * 1.6e8,
            temperature=41.0 + change,
            blocked=0,
            uptime=1.2e6 + at,
        )

    def _gpus_of(self, index: int, at: float, load: Load, *, slow: bool) -> tuple[Gpu, ...]:
        wave = self._story.wave
        start = int(at * self._hz) * 5 + index * 31
        found = []
        for gpu in range(self._gpus):
            level = load.level
            if level:
                level = min(max(level + wave[(start + gpu * 17) & 255], 0), 100)
            held = slow and gpu == SLOW_GPU and level > 0
            found.append(_gpu(load, gpu, SLOW_LEVEL if held else level, held))
        return tuple(found)


@functools.lru_cache(maxsize=4096)
def _gpu(load: Load, index: int, level: int, held: bool) -> Gpu:
    """A GPU at `level` percent. Those that show the same are the same."""
    processes: tuple[GpuProcess, ...] = ()
    if load.job:
        processes = (
            GpuProcess(
                pid=load.first_pid + index,
                user="demo",
                memory=load.memory,
                command="python train.py (simulated)",
                job=load.job,
            ),
        )
    return Gpu(
        index=index,
        name=GPU_NAME,
        utilization=level,
        memory_utilization=level * 0.6,
        memory_used=load.memory,
        memory_total=_MEMORY,
        power=72.0 + 6.1 * level,
        power_limit=700.0,
        temperature=31.0 + level * 0.38 + (16.0 if held else 0.0),
        sm_clock=1900 if level and not held else 345,
        sm_clock_max=1980,
        throttle=("hw_thermal",) if held else (),
        ecc_uncorrected=0,
        processes=processes,
    )
