"""How soon what happens inside of a job is seen and mended: dead ranks, and ranks that hang.

python benchmarks/bench_insight.py [cause] [silence] [hang]

Every node is an sshd of its own on loopback; torchrun, gloo and the ranks are real.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from common import REPO, ms, note, report, wall
from lab import Lab, lab, until

from cockpit.controller.core import Controller
from cockpit.launchers.plan import Request
from cockpit.model.types import Generation, Stage
from cockpit.profiles.types import Config, Launcher

KILLS = 8
STATUS = [sys.executable, "-m", "cockpit", "status"]
RUN = """
import time, torch, torch.distributed as dist
dist.init_process_group("gloo")
while True:
    dist.all_reduce(torch.ones(1))
    time.sleep(0.05)
"""
HANG = """
import os, re, signal, time, torch, torch.distributed as dist
dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(100000):
    if step == 40 and os.environ["RANK"] == "3" and os.environ["COCKPIT_GENERATION"] == "0":
        if {stubborn}:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        re.match("(a+)+$", "a" * 60 + "b")  # in C, with the GIL, for years
    model(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    time.sleep(0.02)
"""
SILENT = """
import os, time, torch, torch.distributed as dist
dist.init_process_group("gloo")
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
for step in range(100000):
    optimizer.step()
    if step == 40 and os.environ["RANK"] == "3":
        with open("since", "w") as file:
            file.write(str(time.time()))
        time.sleep(3600)
    dist.all_reduce(torch.ones(1))
    time.sleep(0.02)
"""
LIMIT = 3.0
"""Seconds of silence that are a stall."""
HANGS = 3


class Job:
    """A 2 × 2 job of the launcher "ddp"."""

    def __init__(self, controller: Controller, config: Config) -> None:
        self.controller = controller
        self._launcher = config.launchers["ddp"]
        self._cluster = config.clusters["lab"]
        self.id = ""

    async def start(self, script: Path) -> None:
        request = Request(
            name="victim",
            cluster=self._cluster,
            launcher=self._launcher,
            nodes=self._cluster.nodes,
            min_nodes=2,
            max_nodes=2,
            nproc_per_node=2,
            script=str(script),
            working_dir=str(script.parent),
            max_restarts=self._launcher.max_restarts,
        )
        self.id = await self.controller.launch(request, archive=None)

    def pid(self, rank: int) -> int:
        """Of a rank that runs; 0 while it does not."""
        nodes = self.controller.job(self.id).nodes
        return next((r.pid or 0 for n in nodes for r in n.ranks if r.rank == rank), 0)

    def generation(self, number: int) -> Generation | None:
        history = self.controller.job(self.id).history
        return next((item for item in history if item.generation == number), None)

    async def trains(self, number: int) -> None:
        await until(lambda: self.generation(number) is not None, f"generation {number}")
        await asyncio.sleep(4.0)  # torch is imported, gloo connected

    async def stalls(self) -> tuple[float, float]:
        """When a node has declared the first stall, and when it was seen here."""
        await until(lambda: bool(self.controller.job(self.id).stalls), "a stall", 120.0)
        return self.controller.job(self.id).stalls[-1].at, time.time()

    def kept_stacks(self) -> bool:
        """Whether the stacks of a stall of the hanging rank are known here."""
        stalls = self.controller.job(self.id).stalls
        return any(stall.stacks for stall in stalls if 3 in stall.ranks)

    async def trains_all(self, number: int) -> float:
        """Seconds from the start of the ranks of a generation to steps of them all."""

        def all_do() -> bool:
            ranks = [rank for node in self.controller.job(self.id).nodes for rank in node.ranks]
            training = sum(rank.stage is Stage.TRAINING for rank in ranks)
            return self.generation(number) is not None and training == 4

        await until(all_do, f"training in generation {number}", 120.0)
        known = self.generation(number)
        assert known is not None
        return time.time() - known.started_at

    async def named(self, number: int, rank: int) -> None:
        """Return as soon as the cause of generation `number` is known, and it is `rank`."""
        while True:
            known = self.generation(number)
            if known is not None and known.cause is not None and known.cause.rank == rank:
                return
            await self.controller.changed(5.0)


async def cause() -> None:
    """SIGKILL of a rank, until an open controller and a fresh `cockpit status` name it."""
    live, journal, fresh, calm = [], [], [], []
    with lab(2) as host:
        launcher = Launcher(name="ddp", max_restarts=3 * KILLS, grace=5.0)
        cluster = msgspec.structs.replace(host.cluster, python=sys.executable)
        config = Config(clusters={"lab": cluster}, launchers={"ddp": launcher}, jobs={})
        script = host.root / "code" / "train.py"
        script.parent.mkdir()
        script.write_text(RUN)
        environ = _environ(host)
        async with Controller(config, state_root=host.root / "controller") as controller:
            controller.open(["lab"])
            job = Job(controller, config)
            await job.start(script)
            try:
                for number in range(KILLS):
                    rank = 1 + number % 3
                    await job.trains(number)
                    if number % 2:
                        calm.append(await asyncio.to_thread(wall, [*STATUS, job.id], env=environ))
                    begin = time.time()
                    os.kill(job.pid(rank), signal.SIGKILL)
                    if number % 2:
                        fresh.append(await asyncio.to_thread(_status, job.id, environ, rank, begin))
                        continue
                    await asyncio.wait_for(job.named(number, rank), 60.0)
                    live.append(time.time() - begin)
                    known = job.generation(number)
                    assert known is not None
                    assert known.cause is not None
                    journal.append((known.cause.at or begin) - begin)
            finally:
                await controller.cancel(job.id)
    _tell("from SIGKILL of a rank to an open controller that names it, s", live)
    note(f"of which until its launcher process has seen it: {ms(journal)}")
    _tell("from SIGKILL of a rank to the end of `cockpit status` that names it, s", fresh)
    note(f"`cockpit status`, with all it starts and connects, when nothing happens: {ms(calm)}")


async def silence() -> None:
    """A rank falls silent, nobody acts on it: until the stall is shown together with its stacks."""
    shown: list[float] = []
    with lab(2) as host:
        launcher = Launcher(name="ddp", rank_heartbeat_timeout=LIMIT)
        config, script = _prepare(host, launcher, SILENT)
        since = script.parent / "since"
        async with Controller(config, state_root=host.root / "controller") as controller:
            controller.open(["lab"])
            for _ in range(HANGS):
                since.unlink(missing_ok=True)
                job = Job(controller, config)
                await job.start(script)
                try:
                    await until(job.kept_stacks, "stacks of a stall", 120.0)
                    shown.append(time.time() - float(since.read_text()) - LIMIT)
                    await controller.kept_stacks(job.id)
                finally:
                    await controller.cancel(job.id, grace=1.0)
    what = "from a rank's silence passing its limit to its stall shown with stacks, s"
    figure = statistics.median(shown)
    report(what, figure, "≤ 3", figure <= 3.0, ms(shown))


def _prepare(host: Lab, launcher: Launcher, text: str) -> tuple[Config, Path]:
    """Profiles with that launcher as "ddp", and the script in a folder of its own."""
    cluster = msgspec.structs.replace(host.cluster, python=sys.executable)
    config = Config(clusters={"lab": cluster}, launchers={"ddp": launcher}, jobs={})
    script = host.root / "code" / "train.py"
    script.parent.mkdir()
    script.write_text(text)
    return config, script


async def hang() -> None:
    """A rank hangs in C and holds the GIL: until all ranks train again.

    Once more with a rank that ignores SIGTERM besides, as a note.
    """
    again, spawned, first, late = await _hangs(HANGS, stubborn=False)
    figure = statistics.median(again)
    what = "from the detection of a hang to training of all ranks, s"
    report(what, figure, "≤ 8", figure <= 8.0, ms(again))
    note(f"of which until all ranks have been ended and started: {ms(spawned)}")
    note(f"the first time, from their start to training: {ms(first)}")
    note(f"from the detection to an open controller: {ms(late)}")
    stubborn, *_ = await _hangs(1, stubborn=True)
    note(f"where the rank ignores SIGTERM besides: {ms(stubborn)}")


async def _hangs(times: int, *, stubborn: bool) -> tuple[list[float], ...]:
    late, spawned, again, first = [], [], [], []
    with lab(2) as host:
        launcher = Launcher(name="ddp", grace=30.0, rank_heartbeat_timeout=3.0, on_stall="restart")
        config, script = _prepare(host, launcher, HANG.replace("{stubborn}", str(stubborn)))
        async with Controller(config, state_root=host.root / "controller") as controller:
            controller.open(["lab"])
            for _ in range(times):
                job = Job(controller, config)
                await job.start(script)
                try:
                    first.append(await job.trains_all(0))
                    detected, seen = await job.stalls()
                    late.append(seen - detected)
                    took = await job.trains_all(1)
                    again.append(time.time() - detected)
                    spawned.append(again[-1] - took)
                finally:
                    await controller.cancel(job.id, grace=1.0)
    return again, spawned, first, late


def _tell(what: str, values: list[float]) -> None:
    figure = statistics.median(values)
    report(what, figure, "≤ 1.0", figure <= 1.0, ms(values))


def _environ(host: Lab) -> dict[str, str]:
    """What lets a `cockpit` of its own reach the nodes."""
    entries = ", ".join(
        f'{{ name = "{n.name}", host = "{n.address}", addr = "{n.address}", port = {n.port} }}'
        for n in host.nodes
    )
    config = host.root / "cockpit.toml"
    config.write_text(
        f"""
[clusters.lab]
executor = "ssh"
nodes = [{entries}]
identity_file = ["{host.nodes[0].client_key}"]
ssh_config = []
known_hosts = ["{host.root / "known_hosts"}"]
python = "{sys.executable}"
"""
    )
    return {
        **os.environ,
        "PYTHONPATH": str(REPO),
        "COCKPIT_CONFIG": str(config),
        "COCKPIT_CONTROLLER_DIR": str(host.root / "second"),
    }


def _status(job: str, environ: dict[str, str], rank: int, begin: float) -> float:
    """Seconds from `begin` to the end of the first `cockpit status` that names the rank."""
    for _ in range(10):
        done = subprocess.run(
            [*STATUS, job],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"cockpit status: {done.stderr}")
        if f"rank {rank}" in done.stdout and "SIGKILL" in done.stdout:
            return time.time() - begin
    raise RuntimeError(f"cockpit status does not name rank {rank}:\n{done.stdout}")


if __name__ == "__main__":
    for topic in (cause, silence, hang):
        if not sys.argv[1:] or topic.__name__ in sys.argv[1:]:
            asyncio.run(topic())
