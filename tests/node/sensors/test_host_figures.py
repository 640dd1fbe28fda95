"""Figures of the machine from the kernel's files: each one right, and null where it is not told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cockpit.node.sensors.host import FIGURES, LEAST_SPAN, Host, _blocked
from cockpit.node.sensors.tiers import Tier
from cockpit.node.sensors.traffic import Traffic, temperature, traffic

LIMIT = 30.0


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


NET = """Inter-|   Receive                            |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo
    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0
  eth0: 1000 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0
   ib0: 50 1 0 0 0 0 0 0 60 1 0 0 0 0 0 0
docker0: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0"""


def test_physical_devices_are_counted_and_infiniband_by_its_ports(tmp_path: Path) -> None:
    port = "sys/class/infiniband/mlx5_0/ports/1/counters"
    disks = ("259 0 nvme0n1 1 0 100 0 1 0 10 0 0 0 0", "259 1 nvme0n1p1 1 0 99 0 1 0 9 0 0 0 0")
    write(
        tmp_path,
        {
            "proc/net/dev": NET,
            "sys/class/net/eth0/device/vendor": "0x15b3",
            "sys/class/net/ib0/device/vendor": "0x15b3",
            "sys/class/net/ib0/type": "32",
            f"{port}/port_rcv_data": "100",
            f"{port}/port_xmit_data": "25",
            "proc/diskstats": "\n".join([*disks, "7 0 loop0 1 0 50 0 1 0 50 0 0 0 0"]),
            "sys/block/nvme0n1/device/model": "disk",
        },
    )
    found = traffic(str(tmp_path))
    assert found == Traffic(
        network_in=1000 + 400, network_out=200 + 100, disk_read=51200, disk_written=5120
    )


def test_in_a_container_its_one_way_out_counts(tmp_path: Path) -> None:
    write(tmp_path, {"proc/net/dev": NET.replace("   ib0", "vethab")})
    assert traffic(str(tmp_path)) == Traffic(1000, 200, None, None)


def test_what_is_not_there_is_null(tmp_path: Path) -> None:
    assert traffic(str(tmp_path)) == Traffic(None, None, None, None)
    assert temperature(str(tmp_path)) is None


def test_the_warmest_sensor_counts_and_absurd_ones_and_gpus_do_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/temp": "45000",
            "sys/class/hwmon/hwmon0/name": "coretemp",
            "sys/class/hwmon/hwmon0/temp1_input": "67500",
            "sys/class/hwmon/hwmon0/temp2_input": "255000",
            "sys/class/hwmon/hwmon1/name": "amdgpu",
            "sys/class/hwmon/hwmon1/temp1_input": "90000",
        },
    )
    assert temperature(str(tmp_path)) == 67.5


def test_a_sample_has_every_figure_that_a_sample_without_answer_names(tmp_path: Path) -> None:
    assert sorted(Host(str(tmp_path)).sample()) == sorted(FIGURES)


def test_traffic_is_told_per_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [Traffic(0, 1000, None, 500), Traffic(10**9, 0, 7, 500)]
    monkeypatch.setattr("cockpit.node.sensors.host.traffic", lambda: counts.pop(0))
    sample = Host(str(tmp_path)).sample()
    assert 10**9 / LIMIT < sample["network_in"] < 10**9 / LEAST_SPAN
    assert sample["network_out"] is None, "a counter that went back tells nothing"
    assert (sample["disk_read"], sample["disk_written"]) == (None, 0)


def test_a_file_server_that_hangs_costs_only_the_figures_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    monkeypatch.setattr(os, "statvfs", lambda path: hang.wait(LIMIT))
    host = Host(str(tmp_path))
    for _ in range(2):
        sample = host.sample()
        assert (sample["disk_free"], sample["disk_total"]) == (None, None)
        assert sample["memory_used"] > 0
    hang.set()


VFORK = "import ctypes; c = ctypes.CDLL(None); c.vfork() == 0 and c.sleep(600)"


def test_a_process_that_waits_in_the_kernel_is_counted() -> None:
    """A child in vfork waits for its grandchild in state D."""
    child = subprocess.Popen([sys.executable, "-c", VFORK], start_new_session=True)
    try:
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            stat = Path(f"/proc/{child.pid}/stat").read_text()
            if stat.rpartition(")")[2].startswith(" D"):
                break
            time.sleep(0.02)
        assert _blocked() >= 1
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


# -- tiers -------------------------------------------------------------------------------------


def test_a_tier_reads_at_its_own_pace_and_never_twice_at_once() -> None:
    runs: list[float] = []
    go = threading.Semaphore(0)

    def read() -> int:
        go.acquire(timeout=LIMIT)
        runs.append(time.monotonic())
        return len(runs)

    tier = Tier(read, 0.0, "test")
    began = time.monotonic()
    assert tier.latest(0.01) is None
    assert tier.latest(LIMIT) is None
    assert time.monotonic() - began < LIMIT / 2, "only the first call waits"
    go.release()
    end = time.monotonic() + LIMIT
    while tier.latest() is None and time.monotonic() < end:
        time.sleep(0.01)
    for _ in range(3):
        assert tier.latest() == 1
    assert len(runs) == 1
    go.release()


def test_figures_that_are_too_old_tell_their_age() -> None:
    block = threading.Event()
    block.set()

    def read() -> int:
        block.wait(LIMIT)
        return 7

    tier = Tier(read, 0.1, "test")
    assert tier.age is None
    assert tier.latest(LIMIT) == 7
    block.clear()
    end = time.monotonic() + LIMIT
    while tier.age is None and time.monotonic() < end:
        assert tier.latest() == 7
        time.sleep(0.02)
    assert tier.age is not None
    assert tier.age >= 0.3
    block.set()


def test_what_a_tier_raises_is_raised_to_whoever_asks() -> None:
    def read() -> int:
        raise ValueError("no")

    tier = Tier(read, 60.0, "test")
    with pytest.raises(ValueError, match="no"):
        tier.latest(LIMIT)
