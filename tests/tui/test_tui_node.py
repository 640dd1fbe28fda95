"""The Node view: one machine in full, and the doctor that looks at it."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec
import pytest
from tui_screen import Opener, Screen
from tui_world import WALL, gpus, healthy, job, job_node, node, troubled

from cockpit.model.doctor import Finding, Level, Report
from cockpit.model.types import (
    Fleet,
    GpuProcess,
    GpuXid,
    Host,
    MigInstance,
    NvLink,
    PcieLink,
    RemappedRows,
)
from cockpit.tui.actions import View
from cockpit.tui.fleet.node import NodeView
from cockpit.tui.house.happenings import Happening

replace = msgspec.structs.replace
EVIL = "[/data/x]\x1b[31m[rank0]"


def _row(screen: Screen, name: str) -> str:
    return next(line for line in screen.text.splitlines() if name in line)


def full() -> Fleet:
    """One node of which everything is known, and its job."""
    first, second, *rest = gpus(8, 97)
    first = replace(
        first,
        uuid="GPU-0123",
        sm_clock=1410,
        sm_clock_max=1980,
        throttle=("sw_thermal", "power_cap"),
        ecc_uncorrected=2,
        remapped_rows=RemappedRows(correctable=3, uncorrectable=0, pending=True),
        nvlink=NvLink(active=17, total=18, tx=2e9, rx=1e9, errors=4),
        pcie=PcieLink(gen=5, width=16),
        xids=(GpuXid(number=79, at=WALL - 60),),
        memory_temperature=91,
        processes=(
            GpuProcess(
                pid=4200, user="ada", memory=71 << 30, command=f"python {EVIL}", job="llama-1a2b"
            ),
            GpuProcess(pid=99, user="bob", memory=1 << 30, command="jupyter"),
        ),
    )
    mig = MigInstance(index=0, name="1g.10gb", memory_used=3 << 30, memory_total=10 << 30)
    second = replace(second, throttle=(), mig=(mig,), state="lost", error="fell off the bus")
    host = Host(
        cpus=64, cpu_percent=41, load1=3.2, memory_used=120 << 30, memory_total=512 << 30,
        swap_used=1 << 30, swap_total=8 << 30, disk_free=900 << 30, disk_total=1800 << 30,
        disk_read=1e6, disk_written=2e6, network_in=3e9, network_out=4e9, temperature=44,
        blocked=3, uptime=86_400 * 12,
    )  # fmt: skip
    made = replace(
        node("gpu01"), gpus=(first, second, *rest), host=host, driver="570.1", cuda="12.8",
        user="ada", health="crit", health_reasons=("gpu 0: Xid 79", "gpu 1: lost"),
    )  # fmt: skip
    return Fleet(revision=1, nodes=(made,), jobs=(job(nodes=(job_node(0, count=8),)),))


async def test_every_figure_of_a_gpu_and_all_its_users_are_there(opened: Opener) -> None:
    async with opened(full(), size=(140, 40)) as screen:
        await screen.press("enter")
        assert screen.app.view is View.NODE
        row = _row(screen, "gpu 0 ")
        for part in (
            "● ok", "97%", "72G/75G", "679/700W", "64°C", "1410/1980", "sw thermal power cap",
            "✖ 2", "▲ 3 +1", "17/18 ✖4", "5x16",
        ):  # fmt: skip
            assert part in row
        assert "llama  python [/data/x][rank0]" in _row(screen, "4200")
        assert "not ours" in _row(screen, "bob")
        assert "✖ lost" in _row(screen, "gpu 1 ")
        assert "3.0G/10G" in _row(screen, "MIG 0 1g.10gb")
        assert "\x1b" not in screen.text


async def test_the_host_its_health_and_its_jobs_are_there(opened: Opener) -> None:
    async with opened(full()) as screen:
        await screen.press("enter")
        for part in (
            "Node gpu01 of lab", "driver 570.1", "CUDA 12.8", "cpu 41% of 64 cores", "load 3.2",
            "memory 120G/512G", "swap 1.0G/8.0G", "3 blocked processes", "900G free of 1.8T",
            "host at 44°C", "up 12d00h", "✖ gpu 0: Xid 79; gpu 1: lost",
        ):  # fmt: skip
            assert part in screen.text
        row = _row(screen, "ada@laptop")
        assert "● running" in row
        assert "0–7" in row


async def test_what_a_narrow_screen_leaves_out_stands_below(opened: Opener) -> None:
    async with opened(full(), size=(80, 24)) as screen:
        await screen.press("enter")
        assert "Xid 79 at 08:52:20" in screen.text
        assert "memory at 91°C" in screen.text
        await screen.press("j")
        assert "pid 4200 of ada" in screen.text


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15)])
async def test_every_part_is_reached_by_tab_and_grows_where_there_is_little_room(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(full(), size=size) as screen:
        await screen.press("enter")
        view = screen.app.query_one(NodeView)
        assert all(len(line) == size[0] for line in screen.text.splitlines())
        for pane in (*view.panes[1:], view.panes[0]):
            await screen.press("tab")
            assert screen.app.focused is pane
            assert pane.size.height >= 2


async def test_an_unreachable_node_says_why_and_what_its_link_went_through(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = (
        Happening(WALL - 50, "node", "warn", f"reconnecting {EVIL}", "lab", "gpu02"),
        Happening(WALL - 41, "node", "bad", "was lost", "lab", "gpu02"),
        Happening(WALL - 40, "node", "bad", "another one", "lab", "gpu01"),
    )
    async with opened(troubled()) as screen:
        monkeypatch.setattr(
            screen.app.house,
            "observe",
            lambda frame: dataclasses.replace(frame, happenings=events),
        )
        await screen.press("enter")
        text = screen.text
        assert "✖ unreachable 41s" in text
        assert "unreachable for 41s, 3 failed attempts" in text
        assert "Connection refused [port 22]" in _row(screen, "last error")
        assert "is the machine up?" in _row(screen, "hint")
        assert text.index("was lost") < text.index("reconnecting [/data/x][rank0]")
        assert "another one" not in text
        await screen.press("r")
        assert screen.source.retried == ["gpu02"]


async def test_old_figures_stay_and_say_how_old_they_are(opened: Opener) -> None:
    async with opened(troubled()) as screen:
        await screen.press("j", "enter")
        assert "? last sample 9s ago" in screen.text
        assert "? old" in _row(screen, "gpu 0")
        assert "80%" in _row(screen, "gpu 0")


async def test_enter_opens_the_job_and_escape_goes_back_to_the_fleet(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("enter", "tab", "enter")
        assert screen.app.view is View.JOB
        assert " llama" in screen.text.splitlines()[1]
        await screen.press("escape", "escape")
        assert screen.app.view is View.FLEET


async def test_a_process_leads_to_its_job(opened: Opener) -> None:
    async with opened(full()) as screen:
        await screen.press("enter", "j", "enter")
        assert screen.app.view is View.JOB
        await screen.press("escape", "l")
        assert screen.app.view is View.LOGS


async def test_a_node_without_a_job_says_so_on_enter(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("G", "enter", "enter")
        assert screen.app.view is View.NODE
        assert "no job runs here" in screen.said[-1]


async def test_a_node_that_is_gone_is_told(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("enter")
        screen.source.change(nodes=())
        await screen.pulse()
        assert "not known any more" in screen.text
        await screen.press("D")
        assert screen.source.asked == []


# ----------------------------------------------------------------------- doctor


def _finding(level: Level, check: str, message: str, node: str = "gpu01") -> Finding:
    return Finding(node=node, cluster="lab", check=check, level=level, message=message, hint="fix")


async def test_the_doctor_tells_the_worst_first_and_of_this_node_only(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.findings = Report(
            findings=(
                _finding(Level.OK, "disk", "900 GB free"),
                _finding(Level.CRIT, "clock", f"3 s off {EVIL}"),
                _finding(Level.WARN, "torch", "2.6.0, but 2.7.0 on gpu02"),
                _finding(Level.CRIT, "torch", "not here", node="gpu02"),
            )
        )
        await screen.press("enter", "D")
        await screen.app.workers.wait_for_complete()
        await screen.pulse()
        text = screen.text
        assert screen.source.asked == [("doctor", "gpu01")]
        assert "✖ clock      3 s off [/data/x][rank0] — fix" in text
        assert text.index("✖ clock") < text.index("▲ torch") < text.index("✔ disk")
        assert "not here" not in text


async def test_a_doctor_that_works_or_failed_is_seen(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(healthy()) as screen:
        release = asyncio.Event()
        usual = screen.source.doctor

        async def slow(cluster: str, name: str) -> Report:
            await release.wait()
            return await usual(cluster, name)

        monkeypatch.setattr(screen.source, "doctor", slow)
        await screen.press("enter", "D")
        screen.frozen.passed = 3
        await screen.pulse()
        assert "◔ running    the doctor looks at it for 3s" in screen.text
        await screen.press("D")
        assert "looks at it already" in screen.said[-1]
        release.set()
        await screen.pulse()
        assert "✖ failed     none were made up" in screen.text


async def test_a_doctor_that_breaks_is_told_and_breaks_nothing_else(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(cluster: str, name: str) -> Report:
        raise ValueError("oh [no]")

    async with opened(healthy()) as screen:
        monkeypatch.setattr(screen.source, "doctor", broken)
        await screen.press("enter", "D")
        await screen.pulse()
        assert "✖ failed     ValueError: oh [no]" in screen.text
        assert screen.app.is_running
