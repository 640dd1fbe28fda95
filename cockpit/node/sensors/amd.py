"""GPU figures of AMD's driver: from the kernel's files, and from AMD's tools what those lack.

Used by `gpus`. The files cost no process and are read with each sample; a tool (`amdtools`) takes
seconds, so it is run at most every five, in a thread, and only where something is missing.
"""

from __future__ import annotations

import glob
import os
import re

from cockpit.node.sensors import amdtools
from cockpit.node.sensors.gpusample import GpuSample, Json, blank
from cockpit.node.sensors.gpuusers import GpuUsers
from cockpit.node.sensors.tiers import Tier

SYSFS = "/sys"
TOOL_PERIOD = 5.0
PATIENCE = 2.0
"""Seconds that the first sample waits for a tool."""
_VENDOR = "0x1002"
_WANTED = ("name", "utilization", "memory_used", "memory_total", "power", "temperature")
"""What a GPU should tell; where the files lack one of them, a tool is asked."""
_CLOCK = re.compile(r"(\d+) ?mhz", re.IGNORECASE)
_CARD = re.compile(r"card\d+")
_UNCORRECTED = re.compile(r"^ue: *(\d+)", re.MULTILINE)
_SPEEDS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
"""GT/s of a PCIe lane -> generation."""


def find(sysfs: str = SYSFS) -> AmdSource | None:
    """A source where AMD's driver or one of its tools is there, else None."""
    cards = _cards(sysfs)
    tool = amdtools.find()
    return AmdSource(sysfs, cards, tool) if cards or tool else None


class AmdSource:
    """`cards`: device folders, by PCI address. `tool`: argv of the tool to ask, or None."""

    simulated = False

    def __init__(self, sysfs: str, cards: list[str], tool: list[str] | None) -> None:
        self._cards = cards
        self._users = GpuUsers()
        self._ids = [_kfd_id(sysfs, card) for card in cards]
        self._kfd = f"{sysfs}/class/kfd/kfd/proc"
        self._driver = _text(f"{sysfs}/module/amdgpu/version") or ""
        self._tool = Tier(lambda: amdtools.read(tool), TOOL_PERIOD, "amd-tool") if tool else None

    def sample(self) -> GpuSample:
        gpus = [_card(index, card) for index, card in enumerate(self._cards)]
        for gpu, kfd in zip(gpus, self._ids):
            gpu["processes"] = self._processes(kfd)
        error = ""
        if not gpus or not all(_is_known(gpu[name]) for gpu in gpus for name in _WANTED):
            error = self._ask_tool(gpus)
        return GpuSample(gpus, "" if gpus else error, self._driver)

    def close(self) -> None:
        """A tool that runs ends by itself."""

    def _ask_tool(self, gpus: list[Json]) -> str:
        """Fill what the files did not have; why nothing came, or ""."""
        if self._tool is None:
            return "neither amd-smi nor rocm-smi is on this node"
        try:
            known = self._tool.latest(PATIENCE)
        except (OSError, ValueError) as error:
            return str(error)
        if known is None:
            return "the tool has not answered yet"
        alone = not gpus
        for index, figures in sorted(known.items()):
            if alone:
                gpus.append(blank(index))
            if index >= len(gpus):
                break
            gpu = gpus[index]
            missing = {name: value for name, value in figures.items() if not _is_known(gpu[name])}
            gpu.update(missing, slow_age=self._tool.age)
        return "" if gpus else "the tool names no GPU"

    def _processes(self, kfd: str | None) -> list[Json]:
        """By the driver's own list, which anybody may read."""
        if kfd is None:
            return []
        found = []
        for path in glob.glob(f"{self._kfd}/*/vram_{kfd}"):
            pid, used = os.path.basename(os.path.dirname(path)), _number(path)
            if pid.isdigit() and used:
                found.append(self._users.describe(int(pid), int(used)))
        return found


def _is_known(value: object) -> bool:
    return value is not None and value != ""


def _cards(sysfs: str) -> list[str]:
    found = []
    for path in glob.glob(f"{sysfs}/class/drm/card*"):
        device = f"{path}/device"
        if _CARD.fullmatch(os.path.basename(path)) and _text(f"{device}/vendor") == _VENDOR:
            found.append((os.path.basename(os.path.realpath(device)), device))
    return [device for _, device in sorted(found)]


def _kfd_id(sysfs: str, card: str) -> str | None:
    """What the compute driver calls this GPU."""
    minors = [os.path.basename(path)[7:] for path in glob.glob(f"{card}/drm/renderD*")]
    for node in glob.glob(f"{sysfs}/class/kfd/kfd/topology/nodes/*"):
        properties = (_text(f"{node}/properties") or "").split("\n")
        if any(f"drm_render_minor {minor}" in properties for minor in minors):
            return _text(f"{node}/gpu_id")
    return None


def _card(index: int, card: str) -> Json:
    gpu = blank(index, _text(f"{card}/product_name"), _text(f"{card}/unique_id"))
    power = _sensor(card, "power", "_average") or _sensor(card, "power", "_input")
    limit = _sensor(card, "power", "_cap")
    edge, hot = (_temperature(card, label) for label in ("edge", "junction"))
    gpu.update(
        utilization=_number(f"{card}/gpu_busy_percent"),
        memory_utilization=_number(f"{card}/mem_busy_percent"),
        memory_used=_whole(f"{card}/mem_info_vram_used"),
        memory_total=_whole(f"{card}/mem_info_vram_total"),
        power=None if power is None else power / 1e6,
        power_limit=None if limit is None else limit / 1e6,
        temperature=edge if hot is None else hot,
        memory_temperature=_temperature(card, "mem"),
        sm_clock=_clock(card),
        sm_clock_max=_highest_clock(card),
        ecc_uncorrected=_uncorrected(card),
        pcie=_pcie(card),
    )
    return gpu


def _sensor(card: str, kind: str, suffix: str) -> float | None:
    for path in sorted(glob.glob(f"{card}/hwmon/hwmon*/{kind}1{suffix}")):
        value = _number(path)
        if value is not None:
            return value
    return None


def _temperature(card: str, label: str) -> float | None:
    for path in sorted(glob.glob(f"{card}/hwmon/hwmon*/temp*_label")):
        if _text(path) == label:
            value = _number(path.replace("_label", "_input"))
            return None if value is None else value / 1000
    return None


def _clock(card: str) -> int | None:
    hertz = _sensor(card, "freq", "_input")
    return None if hertz is None else round(hertz / 1e6)


def _highest_clock(card: str) -> int | None:
    clocks = _CLOCK.findall(_text(f"{card}/pp_dpm_sclk") or "")
    return max((int(clock) for clock in clocks), default=None)


def _uncorrected(card: str) -> int | None:
    counts = [
        int(match.group(1))
        for path in glob.glob(f"{card}/ras/*_err_count")
        if (match := _UNCORRECTED.search(_text(path) or ""))
    ]
    return sum(counts) if counts else None


def _pcie(card: str) -> Json | None:
    speed = (_text(f"{card}/current_link_speed") or "").partition(" ")[0]
    width = _whole(f"{card}/current_link_width")
    if not speed and width is None:
        return None
    return {"gen": _SPEEDS.get(speed), "width": width}


def _text(path: str) -> str | None:
    """None for what is not there, not ours to read, or refused by the driver."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _number(path: str) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None


def _whole(path: str) -> int | None:
    value = _number(path)
    return None if value is None else int(value)
