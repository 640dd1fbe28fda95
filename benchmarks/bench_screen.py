"""The screen on a real terminal: start, views, keys, and everything at once.

python benchmarks/bench_screen.py [first] [switch] [all]

first: the first frame of `cockpit` on 16 nodes that do not answer, against an empty Textual app.
switch: from the key of a view to its first frame, where it is shown for the first time and later.
all: 64 nodes behind real sshds, telemetry at 10 Hz, 60,000 log lines a second in all, the log on
the screen. The nodes are played (node_player) so that they leave the processors to the cockpit; the
figures are those of its one process, and what arrived there is counted. The heat wall by itself is
measured by bench_fleet. Key → repaint is the time from the write of a key to the
terminal until the frame with its effect was written; its yardstick is the same screen idle.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import REPO, cpu_seconds, ms, note, percentile, report, resident_mb
from terminal import Terminal

from cockpit.protocol import records
from cockpit.protocol.records import JobRecord
from tests.harness.sshd import Sshd

CHILD = str(REPO / "benchmarks" / "screen_child.py")
PLAYER = REPO / "benchmarks" / "node_player.py"
RUNS = 7
SECONDS = 20.0
WARM = 5.0
NODES = 64
LINES = 60_000


def environment(root: Path) -> dict[str, str]:
    """Nothing of the user's is read or written. Modules are compiled once, as those of an installed
    program are."""
    return {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(root / "bytecode"),
        "HOME": str(root),
        "XDG_CONFIG_HOME": str(root / "config"),
        "XDG_STATE_HOME": str(root / "state"),
    }


def compile_all(root: Path) -> None:
    """Compile every module that the screen imports: what that leaves in memory is no program's."""
    subprocess.run(
        [sys.executable, "-c", IMPORTS],
        env={**os.environ, "PYTHONPATH": str(REPO), **environment(root)},
        check=True,
    )


IMPORTS = """
import asyncssh, cockpit.cli.screen, cockpit.controller, cockpit.tui.live, cockpit.tui.simulated
import cockpit.tui.parts, cockpit.tui.session, cockpit.transport.ssh
cockpit.tui.parts.import_all()
"""


@contextmanager
def running(root: Path, *argv: str) -> Iterator[Terminal]:
    terminal = Terminal([sys.executable, CHILD, *argv], environment(root))
    try:
        yield terminal
    finally:
        terminal.close()


def quit_it(terminal: Terminal) -> None:
    terminal.press(b"q")
    terminal.process.wait(30.0)


# ------------------------------------------------------------------------------------ first frame


def first(root: Path) -> None:
    config = root / "cockpit.toml"
    config.write_text('[clusters.lab]\nnodes = ["n[00-15].invalid"]\n')
    result = str(root / "result")

    def start(mode: str, text: bytes) -> tuple[float, float]:
        with running(root, mode, result, str(config)) as terminal:
            took = terminal.wait_for(text)
            return took, cpu_seconds(terminal.pid)

    empty, ours = [], []
    for number in range(1 + RUNS):
        a, b = start("empty", b"EMPTY-APP"), start("first", b"online")
        if number:
            empty.append(a)
            ours.append(b)
    pairs = list(zip(ours, empty, strict=True))
    ratio = statistics.median([mine[0] / other[0] for mine, other in pairs])
    detail = f"{ms([x for x, _ in ours])} against {ms([x for x, _ in empty])}"
    report("first frame / that of an empty Textual app", ratio, "≤ 1.4", ratio <= 1.4, detail)
    cpu = statistics.median([mine[1] / other[1] for mine, other in pairs])
    note(f"the same in processor time until then: {cpu:.2f}")


# ------------------------------------------------------------------------------------------ views


def switch(root: Path) -> None:
    """Each view's word that no other view draws, by its key."""
    compile_all(root)
    cold: dict[str, list[float]] = {}
    warm: dict[str, list[float]] = {}
    for _ in range(3):
        with running(root, "simulated", str(root / "result"), "1") as terminal:
            terminal.wait_for(b"n000")
            time.sleep(2.0)
            for found in (cold, warm):
                for key, seen in VIEWS.items():
                    terminal.forget()
                    began = time.perf_counter()
                    terminal.press(key.encode())
                    terminal.wait_for(seen)
                    found.setdefault(key, []).append(time.perf_counter() - began)
                    time.sleep(0.4)
            quit_it(terminal)
    for name, found in (("first time", cold), ("later", warm)):
        worst = max(found.values(), key=statistics.median)
        took = statistics.median(worst) * 1e3
        each = ", ".join(f"{k}: {statistics.median(v) * 1e3:.0f}" for k, v in found.items())
        report(f"view switch, {name}, ms", took, "≤ 100", took <= 100, each)


VIEWS = {"2": b"RUNTIME", "3": b"restarts", "4": b"follow", "5": b"clusters", "1": b"heat wall"}


# ------------------------------------------------------------------------------------- under load


@dataclasses.dataclass(frozen=True)
class Load:
    """Figures of one process under load."""

    calm: float
    """Share of one core while nobody presses a key."""
    cpu: float
    """The same with ten keys a second."""
    keys: list[float]
    """Seconds from key to repaint."""
    lost: int
    lag: float
    """99th percentile of the loop's lateness, seconds."""
    frames: float
    """A second."""
    output: float
    """KB/s to the terminal."""
    resident: tuple[float, float]
    """MB at the beginning and the end."""
    samples: float
    """Telemetry samples a second that arrived, of all nodes together."""
    lines: float
    """Log lines a second that came into the log on the screen."""

    def tell(self, what: str) -> None:
        p50, p95 = percentile(self.keys, 0.5) * 1e3, percentile(self.keys, 0.95) * 1e3
        note(
            f"{what}: {self.calm * 100:.1f} % of a core, {self.cpu * 100:.1f} % with ten keys a "
            f"second, key → repaint p50 {p50:.1f} p95 {p95:.1f} ms ({len(self.keys)} keys, "
            f"{self.lost} without a frame), loop lag p99 "
            f"{self.lag * 1e3:.1f} ms, {self.frames:.0f} frames/s, {self.output:.0f} kB/s, "
            f"{self.resident[0]:.0f} → {self.resident[1]:.0f} MB; arrived: "
            f"{self.samples:.0f} samples/s, {self.lines:,.0f} lines/s"
        )


def watch(
    terminal: Terminal, finish: Callable[[], dict[str, Any]], seconds: float = SECONDS
) -> Load:
    """Look on, then press keys at random moments, then end it and read its gauges."""
    chance = random.Random(1)
    began, cpu = time.monotonic(), cpu_seconds(terminal.pid)
    time.sleep(seconds / 2)
    calm = (cpu_seconds(terminal.pid) - cpu) / (time.monotonic() - began)
    terminal.process.send_signal(signal.SIGUSR1)
    time.sleep(0.2)
    began, cpu, drawn = time.monotonic(), cpu_seconds(terminal.pid), terminal.bytes
    before = resident_mb(terminal.pid)
    pressed: list[float] = []
    down = True
    while time.monotonic() - began < seconds:
        time.sleep(chance.uniform(0.05, 0.15))
        pressed.append(terminal.press(b"j" if down else b"k"))
        down = not down
    time.sleep(0.3)
    passed = time.monotonic() - began
    cpu = (cpu_seconds(terminal.pid) - cpu) / passed
    drawn = terminal.bytes - drawn
    after = resident_mb(terminal.pid)
    found = finish()
    shown = found["keys"][: len(pressed)]
    keys = [at - then for then, at in zip(pressed, shown, strict=False) if at is not None]
    lost = len(pressed) - len(keys)
    lag = percentile(found["lags"], 0.99)
    return Load(
        calm, cpu, keys, lost, lag, found["frames"] / passed, drawn / passed / 1e3,
        (before, after), found["samples"], found["lines"],
    )  # fmt: skip


def finishing(terminal: Terminal, result: Path) -> Callable[[], dict[str, Any]]:
    def finish() -> dict[str, Any]:
        quit_it(terminal)
        found: dict[str, Any] = json.loads(result.read_text())
        return found

    return finish


# ------------------------------------------------------------------------------ everything at once


def job(created: float) -> JobRecord:
    return JobRecord(
        id="0123456789ab", name="bench", created_at=created, created_by="ada@bench",
        cluster="bench", launcher="torchrun", kind="torchrun", min_nodes=NODES, max_nodes=NODES,
        nproc_per_node=8, command=("train.py",), argv=(), env={}, secrets={}, working_dir="/",
        code=None, max_restarts=3, grace=30.0,
    )  # fmt: skip


@contextmanager
def played(root: Path, lines: int, writers: int) -> Iterator[Path]:
    """A cockpit.toml with 64 nodes behind as many sshds."""
    record = records.to_builtins(job(time.time() - 3600))
    nodes = []
    try:
        for number in range(NODES):
            asked = {
                "name": f"n{number:02d}", "rank": number, "nodes": NODES, "job": record,
                "lines": lines / NODES, "writers": writers,
            }  # fmt: skip
            player = json.dumps(asked).replace('"', "'")
            node = Sshd(
                root,
                f"n{number:02d}",
                config_lines=[f"ForceCommand {sys.executable} -S {PLAYER}"],
                env={"COCKPIT_PLAYER": player},
            )
            nodes.append(node)
            node.start()
        (root / "known_hosts").write_text("".join(node.known_hosts_line for node in nodes))
        tables = ", ".join(
            f'{{ name = "{n.name}", host = "{n.address}", port = {n.port} }}' for n in nodes
        )
        config = root / "cockpit.toml"
        config.write_text(
            f'[clusters.bench]\nnodes = [{tables}]\nidentity_file = ["{nodes[0].client_key}"]\n'
            f'known_hosts = ["{root}/known_hosts"]\nssh_config = []\n'
        )
        yield config
    finally:
        for node in nodes:
            node.stop()


def everything(root: Path, writers: int = 1, seconds: float = SECONDS) -> None:
    result = root / "result"
    compile_all(root)
    loads: dict[str, Load] = {}
    for name, lines in (("idle", 0), ("load", LINES)):
        place = root / name
        place.mkdir()
        (place / "bytecode").symlink_to(root / "bytecode")
        with played(place, lines, writers) as config:
            state = str(place / "controller")
            with running(place, "live", str(result), str(config), state) as terminal:
                terminal.wait_for(f"{NODES}/{NODES} online".encode(), 120.0)
                if lines:
                    terminal.press(b"4")  # else the fleet, where a key always shows an effect
                    terminal.wait_for(b"loss=", 120.0)  # all streams of the job are open
                time.sleep(WARM)
                loads[name] = watch(terminal, finishing(terminal, result), seconds)
    loads["idle"].tell("64 nodes at 10 Hz, no log lines, Fleet")
    load = loads["load"]
    load.tell(f"64 nodes at 10 Hz, {LINES:,} log lines/s of {NODES * writers} ranks, Logs")
    cpu, p95 = load.cpu * 100, percentile(load.keys, 0.95) * 1e3
    report("everything at once, % of a core", cpu, "≤ 20", cpu <= 20)
    report("key → repaint p95, ms", p95, "≤ 15", p95 <= 15)
    lag = load.lag * 1e3
    report("loop lag p99, ms", lag, "≤ 20", lag <= 20)
    begin, end = load.resident
    report("resident, MB", end, "≤ 120 and flat", end <= 120 and end - begin <= 5,
           f"{end - begin:+.1f} in {seconds:.0f} s")  # fmt: skip


def main(*parts: str) -> None:
    known: dict[str, Callable[[Path], None]] = {
        "first": first,
        "switch": switch,
        "all": everything,
    }
    for part in parts or known:
        with tempfile.TemporaryDirectory(prefix="cockpit-bench-") as folder:
            known[part](Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
