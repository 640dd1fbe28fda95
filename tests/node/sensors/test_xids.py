"""Xids in the kernel log: found by their line, told once, and absent without the right to look."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cockpit.node.sensors.nvmlevents import XidEvents
from cockpit.node.sensors.xids import XidWatch

OLD = "6,900,1000000,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=python, MMU Fault\n"
NEW = (
    "6,901,2000000,-;usb 1-1: new device\n"
    " SUBSYSTEM=usb\n"
    "3,902,3000000,-;NVRM: Xid (PCI:0000:AF:00): 79, GPU has fallen off the bus.\n"
    "3,903,3000001,-;NVRM: Xid (0000:17:00): 48, pid='<unknown>', An uncorrectable double bit\n"
    "3,904,3000002,-;NVRM: Xid (PCI:0000:17:00): many, nothing\n"
    "4,905,3000003,-;NVRM: Xid (PCI:0000:17:00): 94\n"
)


def test_what_is_written_after_the_start_is_told_once(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(OLD)
    watch = XidWatch(str(log))
    assert watch.poll() == []
    with log.open("a") as file:
        file.write(NEW)
    assert watch.poll() == [
        {"gpu": "0000:AF:00", "number": 79, "message": "GPU has fallen off the bus."},
        {
            "gpu": "0000:17:00",
            "number": 48,
            "message": "pid='<unknown>', An uncorrectable double bit",
        },
        {"gpu": "0000:17:00", "number": 94, "message": ""},
    ]
    assert watch.poll() == []
    watch.close()
    assert watch.poll() == []


def test_what_the_log_still_holds_comes_with_its_time(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(OLD)
    ((at, xid),) = XidWatch(str(log), history=True).logged()
    assert xid["number"] == 31
    booted = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    assert abs(at - (booted + 1.0)) < 5.0


def test_without_a_kernel_log_there_is_nothing_to_tell(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        watch = XidWatch(str(path))
        assert watch.poll() == []
        watch.close()


def test_the_real_kernel_log_never_raises_and_keeps_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    watch = XidWatch(history=True)
    assert isinstance(watch.poll(), list)
    assert watch.poll() == []
    watch.close()
    watch.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_records_that_were_overwritten_are_stepped_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "kmsg"
    log.write_text(NEW)
    watch = XidWatch(str(log), history=True)
    read, refused = os.read, []

    def once(fd: int, size: int) -> bytes:
        if not refused:
            refused.append(fd)
            raise BrokenPipeError(errno.EPIPE, "overwritten")
        return read(fd, size)

    monkeypatch.setattr("os.read", once)
    assert [xid["number"] for xid in watch.poll()] == [79, 48, 94]
    assert len(refused) == 1


class FakeCalls:
    """Two GPUs that tell where they are, and no events."""

    nvml = None

    def value(self, name: str, *arguments: object) -> object:
        if name == "DeviceGetPciInfo":
            bus = {17: b"00000000:AF:00.0", 18: "0000:17:00.0"}[arguments[0]]  # type: ignore[index]
            return SimpleNamespace(busId=bus)
        return None


def test_xids_of_before_are_found_with_the_gpu_that_they_are_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "kmsg"
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
    log.write_text(NEW.replace("3000000,", f"{now},"))
    monkeypatch.setattr(
        "cockpit.node.sensors.nvmlevents.XidWatch",
        lambda history: XidWatch(str(log), history=history),
    )
    events = XidEvents(FakeCalls(), [(0, 17), (1, 18)])  # type: ignore[arg-type]
    (xid,) = events.recent(0)
    assert xid["number"] == 79
    assert abs(xid["at"] - time.time()) < 60.0
    monkeypatch.setattr("cockpit.node.sensors.nvmlevents.KEEP", -60.0)
    assert events.recent(0) == [], "what is too long ago is not told"
    events.close()
