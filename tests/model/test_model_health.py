"""How well a node is: by what its sample says, worst first, and nothing made of the unknown."""

from __future__ import annotations

import pytest

from cockpit.model.fleet import FleetModel
from cockpit.model.health import FATAL_XIDS, assess
from cockpit.model.types import Gpu, GpuXid, Host, NvLink, RemappedRows
from tests.model.scenarios import ONLINE

WELL = Gpu(
    index=0,
    ecc_uncorrected=0,
    ecc_uncorrected_total=3,
    throttle=("power_cap", "sync_boost"),
    recovery_action="none",
    remapped_rows=RemappedRows(correctable=2, uncorrectable=1, pending=False, failed=False),
    nvlink=NvLink(active=18, total=18),
    xids=(GpuXid(number=13), GpuXid(number=31), GpuXid(number=43)),
)


def test_a_gpu_that_works_at_its_power_limit_is_well() -> None:
    host = Host(disk_free=10**12, memory_used=1, memory_total=100)
    assert assess(host, [WELL]) == ("ok", ())


def test_what_is_unknown_is_no_finding() -> None:
    assert assess(None, [Gpu(index=0)]) == ("ok", ())
    assert assess(Host(), [Gpu(index=0, nvlink=NvLink(), remapped_rows=RemappedRows())]) == (
        "ok",
        (),
    )


@pytest.mark.parametrize(
    ("gpu", "level", "reason"),
    [
        (Gpu(index=1, state="lost"), "crit", "gpu 1: lost"),
        (Gpu(index=1, state="error", error="no right"), "crit", "gpu 1: no right"),
        (Gpu(index=1, xids=(GpuXid(number=79), GpuXid(number=48))), "crit", "gpu 1: Xid 48, 79"),
        (Gpu(index=1, ecc_uncorrected=2), "crit", "gpu 1: 2 uncorrected ECC errors"),
        (
            Gpu(index=1, remapped_rows=RemappedRows(failed=True)),
            "crit",
            "gpu 1: remapping memory rows failed",
        ),
        (
            Gpu(index=1, remapped_rows=RemappedRows(pending=True)),
            "warn",
            "gpu 1: a memory row waits for a reset to be remapped",
        ),
        (
            Gpu(index=1, recovery_action="node_reboot"),
            "crit",
            "gpu 1: the driver asks for node reboot",
        ),
        (
            Gpu(index=1, throttle=("hw_thermal",)),
            "warn",
            "gpu 1: clocks held down: too hot (hardware)",
        ),
        (Gpu(index=1, nvlink=NvLink(active=17, total=18)), "warn", "gpu 1: 1 of 18 NVLinks down"),
    ],
)
def test_trouble_of_a_gpu_is_named(gpu: Gpu, level: str, reason: str) -> None:
    assert assess(None, [WELL, gpu]) == (level, (reason,))


@pytest.mark.parametrize("number", sorted(FATAL_XIDS))
def test_an_xid_after_which_a_gpu_is_not_to_be_trusted_is_critical(number: int) -> None:
    assert assess(None, [Gpu(index=0, xids=(GpuXid(number=number),))])[0] == "crit"


def test_links_that_were_never_there_are_no_trouble() -> None:
    assert assess(None, [Gpu(index=0, nvlink=NvLink(active=0, total=12))])[0] == "ok"


def test_links_count_against_those_of_the_other_gpus_in_one_line() -> None:
    def linked(*active: int) -> list[Gpu]:
        links = (NvLink(active=count, total=36) for count in active)
        return [Gpu(index=index, nvlink=link) for index, link in enumerate(links)]

    # Some drivers tell of links that the GPU does not have: they are off on all of them.
    assert assess(None, linked(18, 18, 18)) == ("ok", ())
    assert assess(None, linked(17, 17, 17)) == ("ok", ())
    assert assess(None, linked(17)) == ("ok", ())
    assert assess(None, linked(18, 17, 17, 16)) == (
        "warn", ("gpus 1-3: 1 or 2 of 18 NVLinks down each",),
    )  # fmt: skip
    assert assess(None, linked(18, 0)) == ("warn", ("gpu 1: 18 of 18 NVLinks down",))


def test_the_worst_comes_first() -> None:
    host = Host(disk_free=10**8, memory_used=99, memory_total=100)
    gpus = [Gpu(index=0, throttle=("sw_thermal",)), Gpu(index=1, state="lost")]
    level, reasons = assess(host, gpus, "telemetry stalled for 9 s")
    assert level == "crit"
    assert reasons == (
        "telemetry stalled for 9 s",
        "gpu 1: lost",
        "0.1 GB of disk left",
        "0.0 GB of memory left",
        "gpu 0: clocks held down: too hot",
    )


def test_a_node_is_unknown_until_it_has_told_of_itself_and_gets_well_again() -> None:
    model = FleetModel()
    model.node("gpu01", "lab", ONLINE)
    assert model.snapshot().nodes[0].health == "unknown"
    stalled = {"gpu_error": "telemetry stalled for 3 s: …", "gpu_stalled": 3.0, "gpus": []}
    model.sample("gpu01", "lab", stalled, 1.0)
    node = model.snapshot().nodes[0]
    assert (node.health, node.health_reasons) == ("crit", ("telemetry stalled for 3 s: …",))
    assert node.gpu_stalled == 3.0
    model.sample("gpu01", "lab", {"gpus": [{"index": 0}], "user": "ada", "cuda": "12.8"}, 2.0)
    node = model.snapshot().nodes[0]
    assert (node.health, node.health_reasons, node.gpu_stalled) == ("ok", (), None)
    assert (node.user, node.cuda) == ("ada", "12.8")
