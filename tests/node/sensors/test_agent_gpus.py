"""GPU figures through the real pynvml against a stand-in library: true, null, or a reason."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.protocol import layout
from tests.node.agent_client import LIMIT, PYTHONS, AgentClient
from tests.node.agent_fixtures import StartAgent
from tests.node.gpu_stub import Nvml

ME = pwd.getpwuid(os.getuid()).pw_name
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Nvml:
    return Nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(library: Nvml) -> Iterator[Nvml]:
    yield library
    library.state.unlink(missing_ok=True)


class Watching:
    """A subscription to telemetry."""

    def __init__(self, agent: AgentClient, interval: float = 0.2) -> None:
        self._agent = agent
        self._stream = agent.request("telemetry", interval=interval)
        assert agent.answer(self._stream) == {}

    def sample(self) -> dict[str, Any]:
        found: dict[str, Any] = self._agent.event(self._stream)
        return found

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            sample = self.sample()
            if wanted(sample):
                return sample
        raise AssertionError(f"never came; the last sample: {sample}")


FULL = (
    "0 name=H100_80GB util=97 memutil=41 used=70000 total=81559 power=655 limit=700 temp=64"
    " memtemp=78 clock=1755 maxclock=1980 reasons=0x65 ecc=2/5 remap=1/2/1/0 recovery=4"
    " links=17/18 tx=1000 rx=500 crc=3 pcie=5/16"
)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_figure_of_a_gpu_arrives(start_agent: StartAgent, nvml: Nvml, python: str) -> None:
    env = nvml.say(f"{FULL} pid={os.getpid()}:350")
    sample = Watching(start_agent(python, env=env)).sample()
    assert (sample["gpu_error"], sample["gpu_stalled"], sample["simulated"]) == ("", None, False)
    assert (sample["driver"], sample["cuda"]) == ("570.86.15", "12.8")
    (gpu,) = sample["gpus"]
    (process,) = gpu.pop("processes")
    command = process.pop("command")
    assert process == {"pid": os.getpid(), "user": ME, "memory": 350 * MIB, "job": ""}
    assert 0 < len(command) <= 60
    assert Path("/proc/self/cmdline").read_text().replace("\0", " ").startswith(command)
    assert gpu == {
        "index": 0,
        "name": "H100 80GB",
        "uuid": "GPU-stub-0",
        "state": "ok",
        "error": "",
        "utilization": 97,
        "memory_utilization": 41,
        "memory_used": 70000 * MIB,
        "memory_total": 81559 * MIB,
        "power": 655,
        "power_limit": 700,
        "temperature": 64,
        "memory_temperature": 78,
        "sm_clock": 1755,
        "sm_clock_max": 1980,
        "throttle": ["power_cap", "sw_thermal", "hw_thermal"],
        "ecc_uncorrected": 2,
        "ecc_uncorrected_total": 5,
        "remapped_rows": {
            "correctable": 1,
            "uncorrectable": 2,
            "pending": True,
            "failed": False,
        },
        "recovery_action": "drain_and_reset",
        "nvlink": {"active": 17, "total": 18, "tx": None, "rx": None, "errors": 3},
        "pcie": {"gen": 5, "width": 16},
        "xids": [],
        "mig": [],
        "slow_age": None,
    }


UNKNOWN = (
    "utilization", "memory_utilization", "memory_used", "memory_total", "power", "power_limit",
    "temperature", "memory_temperature", "sm_clock", "sm_clock_max", "throttle",
    "ecc_uncorrected", "ecc_uncorrected_total", "remapped_rows", "recovery_action", "nvlink",
    "pcie",
)  # fmt: skip


def test_what_a_gpu_or_a_user_does_not_get_is_null_and_costs_nothing_else(
    start_agent: StartAgent, nvml: Nvml
) -> None:
    env = nvml.say(
        "0 bare name=\x1b[31mOld",
        "1 refused",
        f"{FULL.replace('0', '2', 1)} fail=nvmlDeviceGetPowerUsage:4 fail=nvmlDeviceGetMemoryInfo:3"
        " fail=nvmlDeviceGetMemoryInfo_v2:25 fail=nvmlDeviceGetNvLinkState:999",
        "3 fail=nvmlDeviceGetClockInfo:16",
    )
    bare, refused, partial, sick = Watching(start_agent(env=env)).sample()["gpus"]
    assert (bare["state"], bare["name"]) == ("ok", "\x1b[31mOld")
    assert {bare[name] for name in UNKNOWN} == {None}
    assert (bare["processes"], bare["mig"], bare["xids"]) == ([], [], [])
    assert (refused["state"], refused["error"]) == ("error", "Insufficient Permissions")
    assert {refused[name] for name in UNKNOWN} == {None}
    assert (partial["power"], partial["memory_used"], partial["nvlink"]) == (None, None, None)
    assert (partial["utilization"], partial["ecc_uncorrected"]) == (97, 2)
    assert (sick["state"], sick["error"]) == ("error", "GPU requires restart")


def test_functions_that_an_old_driver_lacks_are_done_without(
    start_agent: StartAgent, tmp_path: Path
) -> None:
    old = Nvml(tmp_path / "old", "-DOLD_DRIVER")
    env = old.say(f"{FULL} pid={os.getpid()}:350")
    (gpu,) = Watching(start_agent(env=env)).sample()["gpus"]
    assert (gpu["memory_used"], gpu["temperature"]) == (70000 * MIB, 64)
    assert gpu["throttle"] == ["power_cap", "sw_thermal", "hw_thermal"]
    assert [process["pid"] for process in gpu["processes"]] == [os.getpid()]
    for name in ("memory_temperature", "remapped_rows", "recovery_action"):
        assert gpu[name] is None
    assert gpu["nvlink"] == {"active": 17, "total": 18, "tx": None, "rx": None, "errors": None}


def test_a_gpu_that_falls_off_the_bus_is_lost_with_its_xid_and_others_go_on(
    start_agent: StartAgent, nvml: Nvml
) -> None:
    env = nvml.say("0 util=50 name=A", "1 util=60 name=B", "2 lost")
    watching = Watching(start_agent(env=env))
    _, second, third = watching.sample()["gpus"]
    assert (second["state"], second["utilization"]) == ("ok", 60)
    assert (third["state"], third["error"], third["utilization"]) == ("lost", "GPU is lost", None)
    before = time.time()
    nvml.say("0 util=51 name=A", "1 util=60 name=B lost", "2 lost")
    sample = watching.until(lambda sample: bool(sample["gpus"][1]["xids"]))
    first, second, _ = sample["gpus"]
    assert (first["state"], first["utilization"], first["xids"]) == ("ok", 51, [])
    assert (second["state"], second["name"], second["power"]) == ("lost", "B", None)
    (xid,) = second["xids"]
    assert xid["number"] == 79
    assert abs(xid["at"] - before) < LIMIT


def test_an_xid_is_told_as_it_happens_and_stays_told(start_agent: StartAgent, nvml: Nvml) -> None:
    env = nvml.say("0 util=1", "1 util=2")
    watching = Watching(start_agent(env=env))
    assert [gpu["xids"] for gpu in watching.sample()["gpus"]] == [[], []]
    nvml.say("0 util=1", "1 util=2 xid=63")
    watching.until(lambda sample: bool(sample["gpus"][1]["xids"]))
    nvml.say("0 util=1", "1 util=2 xid=31")
    sample = watching.until(lambda sample: len(sample["gpus"][1]["xids"]) > 1)
    assert [xid["number"] for xid in sample["gpus"][1]["xids"]] == [63, 31]
    assert sample["gpus"][0]["xids"] == []
    assert sample["gpus"][1]["state"] == "ok"


def test_instances_of_a_gpu_are_listed_beside_the_power_of_the_whole(
    start_agent: StartAgent, nvml: Nvml
) -> None:
    env = nvml.say(
        "0 name=A100 power=210 temp=50 mig=MIG_1g.10gb:4000:9856 mig=MIG_3g.40gb:1:40448",
    )
    (gpu,) = Watching(start_agent(env=env)).sample()["gpus"]
    assert (gpu["utilization"], gpu["power"], gpu["temperature"]) == (None, 210, 50)
    assert gpu["mig"] == [
        {
            "index": 0,
            "name": "MIG 1g.10gb",
            "uuid": "MIG-stub-0-1",
            "memory_used": 4000 * MIB,
            "memory_total": 9856 * MIB,
        },
        {
            "index": 1,
            "name": "MIG 3g.40gb",
            "uuid": "MIG-stub-0-2",
            "memory_used": 1 * MIB,
            "memory_total": 40448 * MIB,
        },
    ]


def test_a_process_of_one_of_our_jobs_is_told_with_its_job(
    start_agent: StartAgent, nvml: Nvml
) -> None:
    rank = subprocess.Popen(
        ["sleep", "100", *(["7" * 200])],
        env={layout.MARKER: "0123456789ab/2/0", "PATH": os.environ["PATH"]},
        stderr=subprocess.DEVNULL,
    )
    try:
        gone = 2**22 + 7
        env = nvml.say(f"0 pid={rank.pid}:100 pid={gone}:5")
        (gpu,) = Watching(start_agent(env=env)).sample()["gpus"]
    finally:
        rank.kill()
        rank.wait()
    ours, hidden = gpu["processes"]
    assert (ours["job"], ours["user"], len(ours["command"])) == ("0123456789ab", ME, 60)
    assert hidden == {"pid": gone, "user": "", "memory": 5 * MIB, "command": "", "job": ""}


def test_links_tell_their_traffic_as_bytes_a_second(
    start_agent: StartAgent, nvml: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Watching(start_agent(env=nvml.say("0 links=2/2 tx=1000 rx=0")))
    assert watching.sample()["gpus"][0]["nvlink"]["tx"] is None
    nvml.say("0 links=2/2 tx=1001000 rx=0")
    sample = watching.until(lambda sample: sample["gpus"][0]["nvlink"]["tx"] is not None)
    links = sample["gpus"][0]["nvlink"]
    assert 0 < links["tx"] <= 1_000_000 * 1024 / 4.0
    assert links["rx"] == 0


def test_a_slow_call_that_hangs_leaves_the_quick_figures_alone(
    start_agent: StartAgent, nvml: Nvml
) -> None:
    env = nvml.say("0 util=50 hang=nvmlDeviceGetNvLinkState")
    watching = Watching(start_agent(env=env))
    for _ in range(4):
        (gpu,) = watching.sample()["gpus"]
        assert (gpu["utilization"], gpu["nvlink"], gpu["processes"]) == (50, None, [])
    nvml.say("0 util=51 links=4/4")
    sample = watching.until(lambda sample: sample["gpus"][0]["nvlink"] is not None)
    assert sample["gpus"][0]["nvlink"]["active"] == 4
    assert sample["gpus"][0]["slow_age"] is None


@pytest.mark.parametrize("early", [True, False], ids=["from the start", "later"])
def test_a_wedged_driver_is_told_and_stops_nothing_else(
    state_dir: Path, start_agent: StartAgent, nvml: Nvml, early: bool
) -> None:
    env = nvml.say("0 util=50", *(["hang"] if early else []))
    agent = start_agent(env=env)
    watching = Watching(agent)
    if not early:
        assert watching.sample()["gpus"][0]["utilization"] == 50
        nvml.say("0 util=50", "hang")
        watching.until(lambda sample: sample["gpu_stalled"] is not None)
    last = 0.0
    for _ in range(3):
        sample = watching.sample()
        assert sample["gpus"] == []
        assert "telemetry stalled for" in sample["gpu_error"]
        assert sample["gpu_stalled"] > last
        last = sample["gpu_stalled"]
        assert sample["host"]["memory_total"] > 0
    (state_dir / "log").write_bytes(b"goes on")
    assert agent.follow("log").until(7) == b"goes on"
    assert agent.call("facts", python=sys.executable)["gpus"] == 0
    nvml.say("0 util=52")
    sample = watching.until(lambda sample: sample["gpus"] != [])
    assert (sample["gpus"][0]["utilization"], sample["gpu_stalled"]) == (52, None)
    assert agent.hang_up() == 0


def test_a_driver_that_is_loaded_later_is_found(start_agent: StartAgent, nvml: Nvml) -> None:
    watching = Watching(start_agent(env=nvml.env))
    sample = watching.sample()
    assert (sample["gpus"], sample["gpu_error"]) == ([], "no NVIDIA driver on this node")
    nvml.say("0 util=5")
    sample = watching.until(lambda sample: sample["gpus"] != [])
    assert (sample["gpus"][0]["utilization"], sample["gpu_error"]) == (5, "")
