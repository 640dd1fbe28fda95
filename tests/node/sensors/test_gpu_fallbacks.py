"""GPUs without NVML: nvidia-smi, AMD's kernel files, AMD's tools, in the shapes that they print."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.node.sensors import amd, amdtools, gpus
from cockpit.node.sensors.gpusample import GpuSample, GpuSource
from cockpit.node.sensors.nvidiasmi import NvidiaSmiSource

MIB = 1024 * 1024
LIMIT = 30.0


def tool(folder: Path, name: str, text: str) -> str:
    """An executable Python program of that name."""
    path = folder / name
    path.write_text(f"#!{sys.executable} -S\n{text}")
    path.chmod(0o755)
    return str(path)


def until(source: GpuSource, wanted: Callable[[GpuSample], object]) -> GpuSample:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        sample = source.sample()
        if wanted(sample):
            return sample
        time.sleep(0.05)
    raise AssertionError(f"never came; the last: {sample}")


# -- nvidia-smi --------------------------------------------------------------------------------

SMI = """
import os, sys, time
STARTS = {starts!r}
with open(STARTS, "a") as file:
    file.write("x")
query = next(a for a in sys.argv if a.startswith("--query-"))
fields = query.partition("=")[2].split(",")
assert "--format=csv,noheader,nounits" in sys.argv and "-lms" in sys.argv
KNOWN = {{
    "index": "0", "name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-5a", "utilization.gpu": "97",
    "utilization.memory": "41", "memory.used": "70012", "memory.total": "81559",
    "power.draw": "655.12", "power.limit": "700.00", "temperature.gpu": "64",
    "temperature.memory": "N/A", "clocks.sm": "1755", "clocks.max.sm": "1980",
    "clocks_throttle_reasons.active": "0x0000000000000024",
    "ecc.errors.uncorrected.volatile.total": "0",
    "ecc.errors.uncorrected.aggregate.total": "[N/A]",
    "remapped_rows.correctable": "0", "remapped_rows.uncorrectable": "1",
    "remapped_rows.pending": "Yes", "remapped_rows.failure": "No",
    "pcie.link.gen.current": "5", "pcie.link.width.current": "16", "driver_version": "525.60.13",
}}
BROKEN = dict.fromkeys(KNOWN, "[Unknown Error]") | {{"index": "1", "name": "NVIDIA H100"}}
LOST = dict.fromkeys(KNOWN, "[GPU is lost]") | {{"index": "2", "name": "NVIDIA H100"}}
APP = {{"gpu_uuid": "GPU-5a", "pid": str({pid}), "used_gpu_memory": "350"}}
if "gpu" in query.partition("=")[0]:
    rows = [KNOWN, BROKEN, LOST]
else:
    rows = []
if query.startswith("--query-compute-apps"):
    KNOWN, rows = APP, [APP]
for field in fields:
    if field not in KNOWN:
        print('Field "%s" is not a valid field to query.' % field, flush=True)
        sys.exit(2)
while True:
    for row in rows:
        print(", ".join(row[field] for field in fields), flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def closing() -> Iterator[list[GpuSource]]:
    sources: list[GpuSource] = []
    yield sources
    for source in sources:
        source.close()


def test_one_nvidia_smi_that_goes_on_serves_all_samples(
    tmp_path: Path, closing: list[GpuSource]
) -> None:
    starts = tmp_path / "starts"
    path = tool(tmp_path, "nvidia-smi", SMI.format(starts=str(starts), pid=os.getpid()))
    source = NvidiaSmiSource(path)
    closing.append(source)
    sample = until(source, lambda sample: len(sample.gpus) == 3 and sample.gpus[0]["processes"])
    assert (sample.error, sample.driver) == ("", "525.60.13")
    full, broken, lost = sample.gpus
    (process,) = full["processes"]
    assert (process["pid"], process["memory"]) == (os.getpid(), 350 * MIB)
    assert (full["name"], full["uuid"], full["state"]) == ("NVIDIA H100 80GB HBM3", "GPU-5a", "ok")
    assert (full["utilization"], full["memory_used"]) == (97.0, 70012 * MIB)
    assert (full["power"], full["power_limit"], full["sm_clock"]) == (655.12, 700.0, 1755)
    assert full["throttle"] == ["power_cap", "sw_thermal"]
    assert (full["memory_temperature"], full["ecc_uncorrected_total"]) == (None, None)
    assert full["ecc_uncorrected"] == 0
    assert full["remapped_rows"]["pending"] is True
    assert full["pcie"] == {"gen": 5, "width": 16}
    assert (broken["state"], broken["utilization"], broken["remapped_rows"]) == ("ok", None, None)
    assert (lost["state"], lost["error"], lost["power"]) == ("lost", "GPU is lost", None)
    known = len(starts.read_text())
    for _ in range(50):
        source.sample()
    assert len(starts.read_text()) == known


def test_an_nvidia_smi_that_says_why_it_fails_is_quoted(
    tmp_path: Path, closing: list[GpuSource]
) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    source = NvidiaSmiSource(tool(tmp_path, "nvidia-smi", f"print({said!r}); raise SystemExit(9)"))
    closing.append(source)
    sample = until(source, lambda sample: said in sample.error)
    assert sample.gpus == []


def test_an_nvidia_smi_that_hangs_is_told(
    tmp_path: Path, closing: list[GpuSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cockpit.node.sensors.nvidiasmi.PATIENCE", 0.1)
    source = NvidiaSmiSource(tool(tmp_path, "nvidia-smi", "import time; time.sleep(600)"))
    closing.append(source)
    assert "has printed nothing for" in source.sample().error


def test_a_tool_that_cannot_be_run_is_told(tmp_path: Path, closing: list[GpuSource]) -> None:
    source = NvidiaSmiSource(str(tmp_path / "nothing"))
    closing.append(source)
    assert "cannot be run: No such file" in source.sample().error


def test_without_nvml_the_tool_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: list[GpuSource]
) -> None:
    pytest.importorskip("pynvml")
    monkeypatch.setattr("cockpit.node.sensors.gpus._has_library", lambda nvml: False)
    monkeypatch.setattr("cockpit.node.sensors.amd.SYSFS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    tool(tmp_path, "nvidia-smi", "import time; time.sleep(600)")
    source = gpus.make_source(str(tmp_path), {})
    closing.append(source)
    assert isinstance(source, NvidiaSmiSource)
    tool(tmp_path, "rocm-smi", "")
    assert isinstance(gpus.make_source(str(tmp_path), {}), amd.AmdSource)


# -- AMD ---------------------------------------------------------------------------------------


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Two AMD GPUs as their driver shows them, one of them without sensors, and one of another."""
    root = tmp_path / "sys"
    full, bare, other = (root / "devices" / name for name in ("0000:03:00.0", "0000:43:00.0", "x"))
    write(
        full,
        {
            "vendor": "0x1002",
            "product_name": "AMD Instinct MI250X",
            "unique_id": "0x5cf5fd2e1d8e5c1d",
            "gpu_busy_percent": "99",
            "mem_busy_percent": "31",
            "mem_info_vram_used": "28823961600",
            "mem_info_vram_total": "68702699520",
            "pp_dpm_sclk": "0: 500Mhz\n1: 800Mhz *\n2: 1700Mhz",
            "current_link_speed": "16.0 GT/s PCIe",
            "current_link_width": "16",
            "ras/umc_err_count": "ue: 1\nce: 4",
            "ras/gfx_err_count": "ue: 2\nce: 0",
            "hwmon/hwmon5/power1_average": "412000000",
            "hwmon/hwmon5/power1_cap": "560000000",
            "hwmon/hwmon5/temp1_label": "edge",
            "hwmon/hwmon5/temp1_input": "52000",
            "hwmon/hwmon5/temp2_label": "junction",
            "hwmon/hwmon5/temp2_input": "61000",
            "hwmon/hwmon5/temp3_label": "mem",
            "hwmon/hwmon5/temp3_input": "58000",
            "hwmon/hwmon5/freq1_input": "1700000000",
            "drm/renderD128/dev": "226:128",
        },
    )
    write(bare, {"vendor": "0x1002", "gpu_busy_percent": "3", "product_name": ""})
    write(other, {"vendor": "0x10de", "gpu_busy_percent": "50"})
    drm = root / "class" / "drm"
    drm.mkdir(parents=True)
    for card, device in (("card0", other), ("card1", bare), ("card2", full)):
        (drm / card).mkdir()
        (drm / card / "device").symlink_to(device)
    (drm / "card2-DP-1").mkdir()
    write(
        root / "class" / "kfd" / "kfd",
        {
            "topology/nodes/0/properties": "cpu_cores_count 64\ndrm_render_minor 0",
            "topology/nodes/0/gpu_id": "0",
            "topology/nodes/1/properties": "simd_count 440\ndrm_render_minor 128",
            "topology/nodes/1/gpu_id": "54321",
            f"proc/{os.getpid()}/vram_54321": "1073741824",
            "proc/999999/vram_54321": "0",
        },
    )
    return root


def test_the_files_of_the_amd_driver_are_figures(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amdtools, "find", lambda: None)
    source = amd.find(str(sysfs))
    assert source is not None
    full, bare = source.sample().gpus
    assert (full["name"], full["uuid"]) == ("AMD Instinct MI250X", "0x5cf5fd2e1d8e5c1d")
    assert (full["utilization"], full["memory_utilization"]) == (99.0, 31.0)
    assert (full["memory_used"], full["memory_total"]) == (28823961600, 68702699520)
    assert (full["power"], full["power_limit"]) == (412.0, 560.0)
    assert (full["temperature"], full["memory_temperature"]) == (61.0, 58.0)
    assert (full["sm_clock"], full["sm_clock_max"]) == (1700, 1700)
    assert (full["ecc_uncorrected"], full["pcie"]) == (3, {"gen": 4, "width": 16})
    (process,) = full["processes"]
    assert (process["pid"], process["memory"]) == (os.getpid(), 1073741824)
    assert (bare["index"], bare["name"], bare["utilization"]) == (1, "", 3.0)
    assert {bare[name] for name in ("memory_used", "power", "temperature", "pcie")} == {None}


AMD_SMI = [
    {
        "gpu": 0,
        "usage": {"gfx_activity": {"value": 42, "unit": "%"}, "umc_activity": "N/A"},
        "power": {"socket_power": {"value": 142, "unit": "W"}, "throttle_status": "UNTHROTTLED"},
        "clock": {"gfx_0": {"clk": {"value": 132, "unit": "MHz"}, "max_clk": "N/A"}},
        "temperature": {"edge": "N/A", "hotspot": {"value": 41, "unit": "C"}, "mem": "N/A"},
        "mem_usage": {
            "total_vram": {"value": 196592, "unit": "MB"},
            "used_vram": {"value": 283, "unit": "MB"},
        },
        "ecc": {"total_correctable_count": 0, "total_uncorrectable_count": 0},
    },
    {"gpu": 1, "usage": "N/A", "mem_usage": {"used_vram": 20, "total_vram": {"value": 64}}},
]


@pytest.mark.parametrize("document", [AMD_SMI, {"gpu_data": AMD_SMI}], ids=["list", "object"])
def test_amd_smi_prints_figures_in_several_shapes(document: Any) -> None:
    first, second = amdtools.amd_smi(document).values()
    assert first == {
        "utilization": 42.0,
        "memory_used": 283 * MIB,
        "memory_total": 196592 * MIB,
        "power": 142.0,
        "temperature": 41.0,
        "sm_clock": 132,
        "ecc_uncorrected": 0,
    }
    assert second == {"memory_used": 20 * MIB, "memory_total": 64 * MIB}


ROCM_SMI = {
    "card0": {
        "Card Series": "AMD Instinct MI250X",
        "Unique ID": "0x5cf5",
        "GPU use (%)": "68",
        "GPU Memory Allocated (VRAM%)": "42",
        "VRAM Total Memory (B)": "68719476736",
        "VRAM Total Used Memory (B)": "28823961600",
        "Temperature (Sensor edge) (C)": "52.0",
        "Temperature (Sensor junction) (C)": "61.0",
        "Temperature (Sensor memory) (C)": "N/A",
        "Average Graphics Package Power (W)": "235.5",
        "sclk clock speed:": "(1700Mhz)",
    },
    "card1": {"Current Socket Graphics Package Power (W)": "7.222", "GPU use (%)": "N/A"},
    "system": {"Driver version": "6.7.0"},
}


def test_rocm_smi_prints_figures_under_several_names() -> None:
    first, second = amdtools.rocm_smi(ROCM_SMI).values()
    assert first == {
        "name": "AMD Instinct MI250X",
        "uuid": "0x5cf5",
        "utilization": 68.0,
        "memory_used": 28823961600,
        "memory_total": 68719476736,
        "power": 235.5,
        "temperature": 61.0,
        "sm_clock": 1700,
    }
    assert second == {"power": 7.222}


@pytest.mark.parametrize("document", [3, None, "x", [], {}, [3], {"gpu_data": 3}, {"card0": 1}])
def test_what_a_tool_prints_and_nobody_understands_is_no_figure(document: Any) -> None:
    assert amdtools.amd_smi(document) == {}
    assert amdtools.rocm_smi(document) == {}


def test_a_tool_fills_what_the_files_lack_and_is_not_run_for_each_sample(
    sysfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    warning = "WARNING: User is missing the following required groups: render, video."
    program = (
        f"open({str(starts)!r}, 'a').write('x')\n"
        f"print({warning!r})\nprint({json.dumps(ROCM_SMI | {'card1': ROCM_SMI['card0']})!r})"
    )
    rocm = tool(tmp_path, "rocm-smi", program)
    monkeypatch.setattr(amdtools, "find", lambda: [rocm])
    source = amd.find(str(sysfs))
    assert source is not None
    sample = until(source, lambda sample: sample.gpus[1]["power"] is not None)
    full, bare = sample.gpus
    assert full["power"] == 412.0
    assert (bare["utilization"], bare["power"], bare["name"]) == (3.0, 235.5, "AMD Instinct MI250X")
    for _ in range(50):
        source.sample()
    assert starts.read_text() == "x"


def test_a_tool_alone_is_enough_and_says_why_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = tool(tmp_path, "amd-smi", f"print({json.dumps(AMD_SMI)!r})")
    monkeypatch.setattr(amdtools, "find", lambda: [works])
    source = amd.find(str(tmp_path))
    assert source is not None
    sample = until(source, lambda sample: bool(sample.gpus))
    assert [gpu["memory_used"] for gpu in sample.gpus] == [283 * MIB, 20 * MIB]
    fails = tool(
        tmp_path, "rocm-smi", "import sys; sys.exit('ERROR: ROCm driver is not initialized')"
    )
    monkeypatch.setattr(amdtools, "find", lambda: [fails])
    source = amd.find(str(tmp_path))
    assert source is not None
    sample = until(source, lambda sample: "not initialized" in sample.error)
    assert sample.gpus == []


def test_no_gpu_and_no_tool_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amdtools, "find", lambda: None)
    assert amd.find(str(tmp_path)) is None
