"""What AMD's tools print, as figures: `amd-smi metric --json`, or `rocm-smi … --json`.

Used by `amd`. Both print other shapes in other versions: a list or an object of GPUs, a number or
an object with value and unit, "N/A" for what is not there. What is not understood is unknown.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from cockpit.node.sensors.gpusample import Json
from cockpit.node.tether import tethered

TIMEOUT = 20.0
_UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def find() -> list[str] | None:
    """The command to run: amd-smi, else rocm-smi, else None."""
    tool = shutil.which("amd-smi")
    if tool is not None:
        return [tool, "metric", "--json"]
    tool = shutil.which("rocm-smi") or shutil.which("/opt/rocm/bin/rocm-smi")
    if tool is None:
        return None
    shown = ("productname", "uniqueid", "use", "memuse", "temp", "power", "clocks")
    return [tool, *(f"--show{what}" for what in shown), "--showmeminfo", "vram", "--json"]


def read(argv: list[str]) -> dict[int, Json]:
    """Index -> figures that are known. Raises OSError or ValueError with a reason for people."""
    name = argv[0].rpartition("/")[2]
    try:
        done = subprocess.run(
            tethered(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{name} did not end in {TIMEOUT:.0f} s") from None
    text = done.stdout.decode("utf-8", "replace")
    # Both tools may print a warning before the document.
    begin = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    try:
        document = json.loads(text[begin:]) if begin >= 0 else None
    except ValueError:
        document = None
    if document is None:
        said = done.stderr.decode("utf-8", "replace").strip() or text.strip()
        raise ValueError(f"{name}: {said.rpartition(chr(10))[2] or 'no output'}")
    return amd_smi(document) if name == "amd-smi" else rocm_smi(document)


def amd_smi(document: Any) -> dict[int, Json]:
    """The figures in what `amd-smi metric --json` printed."""
    if isinstance(document, dict):
        document = document.get("gpu_data", [])
    found = {}
    for item in document if isinstance(document, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("gpu"), int):
            continue
        figures = {
            "utilization": _first(item, "usage.gfx_activity", "usage.gfx_usage"),
            "memory_utilization": _first(item, "usage.umc_activity", "usage.mem_usage"),
            "memory_used": _memory(item, "mem_usage.used_vram", "fb_usage.fb_used"),
            "memory_total": _memory(item, "mem_usage.total_vram", "fb_usage.fb_total"),
            "power": _first(item, "power.socket_power", "power.average_socket_power"),
            "power_limit": _first(item, "power.power_limit", "power.current_power_limit"),
            "temperature": _first(item, "temperature.hotspot", "temperature.edge"),
            "memory_temperature": _first(item, "temperature.mem"),
            "sm_clock": _whole(_first(item, "clock.gfx_0.clk", "clock.gfx.clk")),
            "sm_clock_max": _whole(_first(item, "clock.gfx_0.max_clk", "clock.gfx.max_clk")),
            "ecc_uncorrected": _whole(_first(item, "ecc.total_uncorrectable_count")),
        }
        found[item["gpu"]] = _known(figures)
    return found


def rocm_smi(document: Any) -> dict[int, Json]:
    """The figures in what `rocm-smi … --json` printed."""
    found = {}
    for card, values in document.items() if isinstance(document, dict) else ():
        if not card.startswith("card") or not card[4:].isdigit() or not isinstance(values, dict):
            continue
        names = {name.lower(): value for name, value in values.items()}

        def first(*wanted: str, names: dict[str, Any] = names) -> Any:
            known = (names.get(name) for name in wanted)
            return next((v for v in known if isinstance(v, str) and v not in ("", "N/A")), None)

        figures = {
            "name": first("card series", "device name", "card model"),
            "uuid": first("unique id"),
            "utilization": _number(first("gpu use (%)")),
            "memory_used": _whole(_number(first("vram total used memory (b)"))),
            "memory_total": _whole(_number(first("vram total memory (b)"))),
            "power": _number(
                first(
                    "average graphics package power (w)",
                    "current socket graphics package power (w)",
                )
            ),
            "power_limit": _number(first("max graphics package power (w)")),
            "temperature": _number(
                first("temperature (sensor junction) (c)", "temperature (sensor edge) (c)")
            ),
            "memory_temperature": _number(first("temperature (sensor memory) (c)")),
            "sm_clock": _whole(_number(first("sclk clock speed:"))),
        }
        found[int(card[4:])] = _known(figures)
    return found


def _known(figures: Json) -> Json:
    return {name: value for name, value in figures.items() if value is not None}


def _first(item: Json, *paths: str) -> float | None:
    """The first of these that is a number."""
    return next((number for number, _ in _numbers(item, paths)), None)


def _memory(item: Json, *paths: str) -> int | None:
    """The first of these that is a number, in bytes; some versions leave the unit MB away."""
    sizes = (int(number * _UNITS.get(unit, 1)) for number, unit in _numbers(item, paths))
    return next(sizes, None)


def _numbers(item: Json, paths: tuple[str, ...]) -> Iterator[tuple[float, str]]:
    for path in paths:
        value: Any = item
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        unit = "MB"
        if isinstance(value, dict):
            value, unit = value.get("value"), str(value.get("unit", unit)).upper()
        number = _number(value)
        if number is not None:
            yield number, unit


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    match = _NUMBER.search(value) if isinstance(value, str) else None
    return None if match is None else float(match.group())


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
