"""A node without a machine: speaks as an agent does, with figures and log lines made beforehand.

Run by a real sshd in place of whatever command was asked for (ForceCommand), so that the cockpit
reaches it over real SSH and cannot tell the difference, while 64 of them leave the processors to
what is measured. COCKPIT_PLAYER holds JSON: name, rank, nodes, job (a JobRecord as JSON), lines
(log lines a second on this node) and writers (ranks that write them).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cockpit.node.agent.connection import PATIENCE
from cockpit.node.agent.tails import BURST, LONG_BURST, MUCH
from cockpit.protocol import frames, layout
from cockpit.protocol.frames import INDEX_ENTRY, OFFSET, Kind

GPUS = 8
VARIANTS = 32
BLOCK = 4096
"""Lines that a log is made of, again and again."""


def bootstrap() -> None:
    """Answer what the controller's bootstrap asks on stdin, and be ready."""

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = os.read(0, size - len(data))
            if not part:
                raise SystemExit(1)
            data += part
        return data

    exactly(int(exactly(4)))
    sizes = [int(exactly(8)) for _ in range(3)]
    *_, settings = [exactly(size) for size in sizes]
    nonce = json.loads(settings)["nonce"]
    os.write(1, f'\n{nonce} {{"ready": true}}\n'.encode())


def sample(name: str, variant: int) -> dict[str, Any]:
    """A telemetry sample of eight GPUs, all figures of a real one."""
    gib = 1 << 30
    gpus = []
    for gpu in range(GPUS):
        level = 88 + (variant * 7 + gpu * 13) % 12
        gpus.append(
            {
                "index": gpu, "name": "simulated GPU 80GB", "uuid": f"GPU-{name}-{gpu}",
                "state": "ok", "error": "", "utilization": level,
                "memory_utilization": 55 + level % 7, "memory_used": 71 * gib + level,
                "memory_total": 80 * gib, "power": 560.5 + level, "power_limit": 700.0,
                "temperature": 60 + level % 9, "memory_temperature": 70 + level % 9,
                "sm_clock": 1900 + level, "sm_clock_max": 1980, "throttle": [],
                "ecc_uncorrected": 0, "ecc_uncorrected_total": 0,
                "remapped_rows": {"correctable": 0, "uncorrectable": 0, "pending": False,
                                  "failed": False},
                "recovery_action": "none",
                "nvlink": {"active": 18, "total": 18, "tx": 1.2e11 + level, "rx": 1.2e11,
                           "errors": 0},
                "pcie": {"gen": 5, "width": 16}, "slow_age": None,
                "processes": [{"pid": 4000 + gpu, "user": "ada", "memory": 71 * gib,
                               "command": "python train.py", "job": "0123456789ab"}],
                "xids": [], "mig": [],
            }
        )  # fmt: skip
    host = {
        "cpus": 96, "load1": 20.5 + variant, "cpu_percent": 30.0 + variant,
        "memory_used": 200 * gib, "memory_total": 1024 * gib, "swap_used": 0, "swap_total": 0,
        "disk_free": 900 * gib, "disk_total": 3500 * gib, "disk_read": 4e6, "disk_written": 1e6,
        "network_in": 1e10, "network_out": 1e10, "temperature": 41.0, "blocked": 0,
        "uptime": 1.2e6 + variant,
    }  # fmt: skip
    return {
        "at": time.time(), "mono": time.monotonic(), "user": "ada", "simulated": True,
        "host": host, "gpus": gpus, "gpu_error": "", "gpu_stalled": None, "driver": "550.54",
        "cuda": "12.4",
    }  # fmt: skip


class Log:
    """A followed log file that grows at a steady rate."""

    def __init__(self, rank: int, rate: float) -> None:
        lines = [
            b"\x1b[32mINFO\x1b[0m [rank%d] step=%07d loss=%.6f lr=3.0e-04 tok/s=%d grad_norm=%.3f"
            b" it=%.1f ms\n" % (rank, n, 4 / (1 + n), 51_000 + n % 977, n % 50 / 31, 900 + n % 99)
            for n in range(BLOCK)
        ]
        self._text = b"".join(lines)
        self._ends = [0]
        for line in lines:
            self._ends.append(self._ends[-1] + len(line))
        self._rate = rate
        self._began = time.monotonic()
        self._sent = 0
        self.position = 0
        self.credit = 0

    def burst(self, now: float) -> tuple[bytes, bytes] | None:
        """(INDEX payload, DATA payload) of what was written since the last one."""
        due = int((now - self._began) * self._rate)
        if due <= self._sent or self.credit <= 0:
            return None
        first, count = self._sent % BLOCK, min(due - self._sent, BLOCK - self._sent % BLOCK)
        data = self._text[self._ends[first] : self._ends[first + count]]
        index = INDEX_ENTRY.pack(self.position, time.time())
        payload = OFFSET.pack(self.position) + data
        self._sent += count
        self.position += len(data)
        self.credit -= len(data)
        return index, payload


class Player:
    """Answers requests; `tick` sends what is due."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked
        self._out: list[bytes] = []
        self._samples = [
            json.dumps(sample(asked["name"], n), separators=(",", ":")).encode()
            for n in range(VARIANTS)
        ]
        self._telemetry: tuple[int, float, float] | None = None
        """Stream, interval, when the next one is due."""
        self._count = asked["rank"]
        self._logs: dict[int, Log] = {}
        self._beats: int | None = None
        self._beat_at = 0.0
        self._burst_at = 0.0
        self._pause = BURST
        self._impatient_at: float | None = None
        """When a sample goes out that nothing came along for."""
        self._seq = 0
        self._offset = 0

    def hello(self) -> None:
        asked = self._asked
        self._json(
            Kind.HELLO,
            0,
            {
                "protocol": frames.PROTOCOL_VERSION, "version": "bench", "host": asked["name"],
                "user": "ada", "uid": os.getuid(), "boot_id": "bench", "python": "3.11",
                "executable": sys.executable, "state_dir": "/nowhere", "runtime": "0" * 64,
                "pid": os.getpid(), "address": "127.0.0.1", "wall": time.time(),
                "mono": time.monotonic(),
            },
        )  # fmt: skip

    def _json(self, kind: int, stream: int, value: Any) -> None:
        self._out.append(frames.encode_json(kind, stream, value))

    def take(self, kind: int, stream: int, payload: bytes) -> None:
        if kind == Kind.CREDIT and stream in self._logs:
            self._logs[stream].credit += OFFSET.unpack(payload)[0]
        elif kind == Kind.CLOSE:
            self._logs.pop(stream, None)
            if self._telemetry is not None and self._telemetry[0] == stream:
                self._telemetry = None
        elif kind == Kind.REQUEST:
            self._request(stream, json.loads(payload))

    def _request(self, stream: int, asked: dict[str, Any]) -> None:
        self._impatient_at = None  # an answer takes along what waits
        op = asked["op"]
        if op == "clock":
            self._json(Kind.REPLY, stream, {"wall": time.time(), "mono": time.monotonic()})
        elif op == "telemetry":
            self._json(Kind.REPLY, stream, {})
            self._telemetry = (stream, asked.get("interval", 1.0), time.monotonic())
        elif op == "watch_jobs":
            self._json(Kind.REPLY, stream, {})
            self._json(Kind.EVENT, stream, {"jobs": [self._listing()]})
        elif op == "follow":
            self._follow(stream, asked["path"], asked["credit"])
        else:
            failure = {"code": "unknown_op", "message": f"a played node knows no {op}"}
            self._json(Kind.FAIL, stream, failure)

    def _listing(self) -> dict[str, Any]:
        asked, job = self._asked, self._asked["job"]
        members = [
            {"node_rank": n, "name": f"n{n:02d}", "host": f"n{n:02d}", "addr": "127.0.0.1"}
            for n in range(asked["nodes"])
        ]
        plan = {
            "job": job["id"], "attempt": 0, "node_rank": asked["rank"], "members": members,
            "macros": {}, "created_at": job["created_at"], "created_by": "ada@bench",
            "nproc_per_node": GPUS, "schema": 1,
        }  # fmt: skip
        attempt = {
            "attempt": 0, "node_rank": asked["rank"], "plan": plan, "events": {"kind": "started"},
            "supervised": True,
        }  # fmt: skip
        return {"id": job["id"], "job": job, "attempts": [attempt]}

    def _follow(self, stream: int, path: str, credit: int) -> None:
        name = path.rpartition("/")[2]
        files = {layout.EVENTS: self._events, layout.LAUNCHER_EVENTS: self._launcher}
        data = b""
        if name in files:
            data = b"".join(json.dumps(event).encode() + b"\n" for event in files[name]())
        self._json(Kind.REPLY, stream, {"offset": 0, "size": len(data), "inode": 1})
        if data:
            self._out.append(frames.encode(Kind.DATA, stream, OFFSET.pack(0) + data))
        elif name == layout.BEATS:
            self._beats = stream
        else:
            local, _, kind = name.partition(".")
            writers = self._asked["writers"]
            if kind == "out" and local.isdigit() and int(local) < writers:
                rank = self._asked["rank"] * GPUS + int(local)
                log = Log(rank, self._asked["lines"] / writers)
                log.credit = credit
                self._logs[stream] = log

    def _stamp(self, seq: int, kind: str, **fields: Any) -> dict[str, Any]:
        at = self._asked["job"]["created_at"] + seq
        return {"seq": seq, "at": at, "mono": at, "kind": kind, **fields}

    def _events(self) -> list[dict[str, Any]]:
        process = {"pid": 4000, "start_ticks": 1, "boot_id": "bench"}
        return [
            self._stamp(0, "claimed", job=self._asked["job"]["id"], by="ada@bench"),
            self._stamp(1, "started", process=process, argv=[], cwd="/"),
        ]

    def _launcher(self) -> list[dict[str, Any]]:
        first = self._asked["rank"] * GPUS
        process = {"pid": 4000, "start_ticks": 1, "boot_id": "bench"}
        ranks = [
            {
                "rank": first + n, "local_rank": n, "process": {**process, "pid": 4001 + n},
                "out": layout.rank_log(0, n, "out"), "err": layout.rank_log(0, n, "err"),
            }
            for n in range(GPUS)
        ]  # fmt: skip
        return [
            self._stamp(0, "launcher", process=process, argv=[], python="3.11", torch="2.6"),
            self._stamp(
                1, "generation", generation=0, restart_count=0, max_restarts=3,
                group_rank=self._asked["rank"], group_world_size=self._asked["nodes"],
                world_size=self._asked["nodes"] * GPUS, ranks=ranks,
            ),
        ]  # fmt: skip

    def _digest(self) -> bytes:
        """One digest of the beats of all ranks, as supervisors write one a second."""
        now, first = time.time(), self._asked["rank"] * GPUS
        step = int(now - self._asked["job"]["created_at"])
        ranks = [
            {
                "local_rank": n, "rank": first + n, "pid": 4001 + n, "stage": "training",
                "beats": step, "step": step, "age": 0.3, "limit": 120.0, "interval": 1.0,
                "own": 0.9, "metrics": {"loss": 4 / (1 + step % 977)}, "note": "", "ft": None,
            }
            for n in range(GPUS)
        ]  # fmt: skip
        self._seq += 1
        event = {"seq": self._seq, "at": now, "mono": time.monotonic(), "kind": "beats",
                 "generation": 0, "ranks": ranks}  # fmt: skip
        return json.dumps(event).encode() + b"\n"

    def tick(self) -> float:
        """Send what is due; seconds until the next thing is."""
        now = time.monotonic()
        self._sample(now)
        if now >= self._burst_at:
            self._burst_at = max(self._burst_at + self._pause, now)
            self._burst(now)
        if self._out and (self._impatient_at is None or now >= self._impatient_at):
            data, self._out, self._impatient_at = b"".join(self._out), [], None
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
        dues = [self._burst_at] if self._logs or self._beats else [now + 0.5]
        if self._telemetry is not None:
            dues.append(self._telemetry[2])
        if self._impatient_at is not None:
            dues.append(self._impatient_at)
        return max(min(dues) - time.monotonic(), 0.001)

    def _sample(self, now: float) -> None:
        """Telemetry waits a moment for something to go with, as an agent's does."""
        if self._telemetry is not None and now >= self._telemetry[2]:
            stream, interval, due = self._telemetry
            self._telemetry = (stream, interval, max(due + interval, now))
            self._count += 1
            payload = self._samples[self._count % VARIANTS]
            if not self._out:
                self._impatient_at = now + PATIENCE
            self._out.append(frames.encode(Kind.EVENT, stream, payload))

    def _burst(self, now: float) -> None:
        """What all files got since the last burst."""
        before, sent = len(self._out), 0
        for stream, log in self._logs.items():
            burst = log.burst(now)
            if burst is not None:
                self._out.append(frames.encode(Kind.INDEX, stream, burst[0]))
                self._out.append(frames.encode(Kind.DATA, stream, burst[1]))
                sent += len(burst[1])
        self._pause = LONG_BURST if sent >= MUCH * self._pause else BURST
        if self._beats is not None and now >= self._beat_at:
            self._beat_at = now + 1.0
            data = self._digest()
            payload = OFFSET.pack(self._offset) + data
            self._out.append(frames.encode(Kind.DATA, self._beats, payload))
            self._offset += len(data)
        if len(self._out) > before:
            self._impatient_at = None


def stand_back(nice: int = 19) -> None:
    """Let what is measured go first: a node's work is not done on the machine of its cockpit.

    Linux shares a processor among sessions before it looks at the niceness of processes, and this
    process and the sshd that serves it each have one.
    """
    os.nice(nice)
    for pid in (os.getpid(), os.getppid()):
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def main() -> None:
    asked = json.loads(os.environ["COCKPIT_PLAYER"].replace("'", '"'))
    stand_back()
    bootstrap()
    player = Player(asked)
    player.hello()
    decoder = frames.Decoder()
    wait = 0.0
    while True:
        ready = select.select([0], [], [], wait)[0]
        if ready:
            data = os.read(0, 1 << 16)
            if not data:
                return
            for kind, stream, payload in decoder.feed(data):
                player.take(kind, stream, payload)
        wait = player.tick()


if __name__ == "__main__":
    main()
