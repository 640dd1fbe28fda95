"""Samples of host and GPUs: true, or null with a reason, and never in the way of anything else."""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cockpit.node.agent.connection import PATIENCE, Connection
from cockpit.node.agent.loop import Loop
from cockpit.node.agent.telemetry import Sensors
from cockpit.node.sensors.gpus import NoSource
from cockpit.node.sensors.host import Host
from cockpit.protocol import frames, layout
from cockpit.protocol.frames import Kind
from tests.node.agent_client import AgentClient
from tests.node.agent_fixtures import StartAgent
from tests.node.torchrun_nodes import until


def samples(agent: AgentClient, count: int, interval: float = 0.3) -> list[dict[str, Any]]:
    stream = agent.request("telemetry", interval=interval)
    assert agent.answer(stream) == {}
    found = [agent.event(stream) for _ in range(count)]
    agent.close_stream(stream)
    agent.end(stream)
    return found


def test_the_figures_of_the_host_are_real(state_dir: Path, agent: AgentClient) -> None:
    first, second = samples(agent, 2)
    host = second["host"]
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert host["cpus"] == os.cpu_count()
    assert host["memory_total"] == total
    assert 0 < host["memory_used"] < total
    assert 0 <= host["cpu_percent"] <= 100
    assert 0 <= host["swap_used"] <= host["swap_total"]
    assert 0 <= host["disk_free"] <= host["disk_total"]
    assert 0 <= host["blocked"] < 10_000
    assert host["uptime"] > 0
    for name in ("network_in", "network_out", "disk_read", "disk_written"):
        assert host[name] is None or 0 <= host[name] < 1e12
    assert host["temperature"] is None or -40 < host["temperature"] < 125
    assert second["user"] == pwd.getpwuid(os.getuid()).pw_name
    assert second["mono"] > first["mono"]
    assert abs(second["at"] - time.time()) < 60


def test_a_node_without_nvidia_driver_says_so(agent: AgentClient) -> None:
    (sample,) = samples(agent, 1)
    assert sample["gpus"] == []
    assert sample["gpu_error"] != ""
    assert sample["simulated"] is False


def test_two_subscriptions_keep_their_own_pace(one_agent: AgentClient) -> None:
    fast = one_agent.request("telemetry", interval=0.1)
    slow = one_agent.request("telemetry", interval=600)
    one_agent.answer(fast)
    one_agent.answer(slow)
    for _ in range(8):
        one_agent.event(fast)
    one_agent.event(slow)
    assert one_agent.waiting(slow, 0.3) is None


def test_what_is_in_no_hurry_goes_with_the_next_frame() -> None:
    loop = Loop()
    incoming, outgoing = os.pipe(), os.pipe()
    connection = Connection(loop, incoming[0], outgoing[1], lambda _: None, lambda _: None)

    def arrived() -> list[frames.Frame]:
        connection.pump()
        if not select.select([outgoing[0]], [], [], 0)[0]:
            return []
        return list(frames.Decoder().feed(os.read(outgoing[0], 1 << 16)))

    connection.send(Kind.EVENT, 1, {}, patient=True)
    assert arrived() == []
    connection.send_data(2, 0, b"x")
    connection.send(Kind.END, 1, {})
    assert [(f.kind, f.stream) for f in arrived()] == [
        (Kind.EVENT, 1), (Kind.END, 1), (Kind.DATA, 2)
    ]  # fmt: skip
    connection.send(Kind.EVENT, 3, {}, patient=True)
    loop.later(PATIENCE * 2, lambda: loop.stop(0))
    loop.run(lambda: False)
    assert [f.stream for f in arrived()] == [3], "it does not wait for ever"
    for fd in (*incoming, *outgoing):
        os.close(fd)


def test_simulated_gpus_say_so_and_are_busy_with_their_ranks(
    state_dir: Path, start_agent: StartAgent
) -> None:
    agent = start_agent(env={"COCKPIT_SIMULATE_GPUS": "2"})
    rank = subprocess.Popen(
        ["sleep", "60"],
        env={
            "LOCAL_RANK": "1",
            layout.MARKER: "0123456789ab/0/0",
            layout.ATTEMPT_DIR_ENV: f"{state_dir}/jobs/x",
            "PATH": os.environ["PATH"],
        },
    )
    try:
        sample = samples(agent, 2, 0.5)[-1]
    finally:
        rank.kill()
        rank.wait()
    idle, busy = sample["gpus"]
    assert sample["simulated"] is True
    assert all("simulated" in gpu["name"] for gpu in sample["gpus"])
    assert (idle["utilization"], idle["processes"]) == (0, [])
    assert busy["utilization"] > 50
    (process,) = busy["processes"]
    assert (process["pid"], process["command"]) == (rank.pid, "sleep 60")
    assert process["job"] == "0123456789ab"
    assert busy["nvlink"]["active"] == 18
    assert idle["throttle"] == []
    assert agent.call("facts", python=sys.executable)["gpus"] == 2
    assert agent.call("facts", python=sys.executable)["simulated"] is True


@pytest.mark.parametrize("value", ["many", "-1", "100000"])
def test_a_simulation_that_makes_no_sense_is_named(start_agent: StartAgent, value: str) -> None:
    (sample,) = samples(start_agent(env={"COCKPIT_SIMULATE_GPUS": value}), 1)
    assert sample["gpus"] == []
    assert value in sample["gpu_error"]


def test_processor_time_is_that_since_the_last_sample(tmp_path: Path) -> None:
    host = Host(str(tmp_path))
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    percent = host.sample()["cpu_percent"]
    assert percent is not None
    assert percent > 100 / os.cpu_count() / 4


def test_disk_figures_of_a_folder_that_is_gone_are_null(tmp_path: Path) -> None:
    sample = Host(str(tmp_path / "gone")).sample()
    assert (sample["disk_free"], sample["disk_total"]) == (None, None)


def test_no_source_gives_its_reason() -> None:
    assert NoSource("because").sample() == ([], "because", "", "")


SILENT_SMI = """#!/bin/sh
echo "$$" >> "$STARTED"
exec sleep 600
"""


def nvidia_smi(folder: Path) -> dict[str, str]:
    """The environment of a node whose nvidia-smi starts, is noted in a file, and says nothing."""
    folder.mkdir()
    tool = folder / "nvidia-smi"
    tool.write_text(SILENT_SMI)
    tool.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "STARTED": str(folder / "started")}


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("way", ["hung up", "killed", "terminated"])
def test_no_nvidia_smi_outlives_its_agent(
    tmp_path: Path, start_agent: StartAgent, way: str
) -> None:
    env = nvidia_smi(tmp_path / "bin")
    agent = start_agent(env=env)
    stream = agent.request("telemetry", interval=0.3)
    assert agent.answer(stream) == {}
    started = Path(env["STARTED"])
    until(lambda: started.exists() and len(started.read_text().split()) == 2, "both tools")
    pids = [int(pid) for pid in started.read_text().split()]
    try:
        assert all(alive(pid) for pid in pids)
        if way == "hung up":
            assert agent.hang_up() == 0
        else:
            agent.process.send_signal(signal.SIGKILL if way == "killed" else signal.SIGTERM)
            agent.process.wait(60)
        until(lambda: not any(alive(pid) for pid in pids), "the end of both tools", 60)
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_what_is_closed_with_the_agent_is_not_waited_for_when_it_hangs(state_dir: Path) -> None:
    class Hangs(NoSource):
        def close(self) -> None:
            closing.set()
            go_on.wait(60)

    closing, go_on = threading.Event(), threading.Event()
    sensors = object.__new__(Sensors)
    sensors._source = Hangs("because")
    begin = time.monotonic()
    sensors.close()
    assert closing.is_set()
    assert time.monotonic() - begin < 30
    go_on.set()
