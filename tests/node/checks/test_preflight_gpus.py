"""The preflight's word on GPUs: real pynvml, a stand-in library, and looks made by hand."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.node.checks import checkgpus, gpulook
from cockpit.node.checks.gpulook import Look
from cockpit.node.sensors.gpusample import GpuSample, blank, failed
from tests.node.agent_client import AgentClient
from tests.node.agent_fixtures import StartAgent
from tests.node.gpu_stub import Nvml

ME = pwd.getpwuid(os.getuid()).pw_name
SOUND = "util=0 power=90 temp=40 ecc=0/0 remap=0/0/0/0 recovery=0 reasons=0x1 links=18/18"

Checks = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Nvml:
    return Nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(library: Nvml) -> Iterator[Nvml]:
    yield library
    library.state.unlink(missing_ok=True)


def preflight(agent: AgentClient, **more: Any) -> tuple[list[dict[str, str]], dict[str, Any]]:
    answer = agent.call("preflight", python=sys.executable, **more)
    return answer["checks"], answer["versions"]


def worst(checks: list[dict[str, str]]) -> Checks:
    order = ("ok", "unknown", "warn", "crit")
    found: Checks = {}
    for item in sorted(checks, key=lambda item: order.index(item["level"])):
        found[item["check"]] = item
    return found


def gpu(index: int = 0, **figures: Any) -> dict[str, Any]:
    sound = {
        "ecc_uncorrected": 0,
        "remapped_rows": {"correctable": 0, "uncorrectable": 0, "pending": False, "failed": False},
        "recovery_action": "none",
        "throttle": [],
        "nvlink": {"active": 18, "total": 18},
    }
    return {**blank(index, "NVIDIA H100"), **sound, **figures}


def judged(*gpus: dict[str, Any], expected: int | None = None) -> Checks:
    return worst(checkgpus.health(Look(GpuSample(list(gpus)), False), expected))


def test_sound_and_idle_gpus_are_well_and_counted(nvml: Nvml, start_agent: StartAgent) -> None:
    agent = start_agent(env=nvml.say(f"0 name=H100_80GB {SOUND}", f"1 name=H100_80GB {SOUND}"))
    checks, versions = preflight(agent, full=True)
    found = worst(checks)
    assert (found["gpu"]["level"], found["gpu"]["message"]) == ("ok", "2 × H100 80GB")
    assert found["gpu_health"]["level"] == "ok"
    assert (versions["gpus"], versions["gpu"]) == (2, "H100 80GB")
    assert versions["driver"] == "570.86.15"
    # This stand-in does not know of persistence mode: that is not taken for a good sign.
    assert found["persistence"]["level"] == "unknown"
    assert found["xid"]["level"] in ("ok", "unknown", "warn")


def test_what_ails_gpus_is_told_by_level_with_a_hint(nvml: Nvml, start_agent: StartAgent) -> None:
    agent = start_agent(
        env=nvml.say(
            f"0 name=H100 {SOUND}",
            "1 name=H100 ecc=2/5 remap=1/2/1/1 recovery=1 reasons=0x48 links=17/18",
            "2 lost",
            "3 refused",
        )
    )
    checks, versions = preflight(agent)
    found = worst(checks)
    assert versions["gpus"] == 4
    assert (found["gpu"]["level"], found["gpu"]["message"]) == (
        "crit", "GPU 2 lost: fallen off the bus",
    )  # fmt: skip
    assert [item["level"] for item in checks if item["message"].startswith("GPU 3: ")] == ["warn"]
    assert "gpu reset" in found["recovery"]["message"]
    assert found["recovery"]["level"] == found["remapped_rows"]["level"] == "crit"
    assert found["ecc"]["message"].startswith("GPU 1: 2 uncorrected")
    assert found["nvlink"]["message"] == "GPU 1: 17 of 18 NVLinks are active"
    slowed = {item["message"] for item in checks if item["check"] == "throttle"}
    assert slowed == {
        "GPU 1: clocks are held down (hw slowdown)",
        "GPU 1: clocks are held down (hw thermal)",
    }
    assert all(item["hint"] for item in checks if item["level"] in ("warn", "crit"))


def test_gpus_in_use_are_told_with_user_and_memory(nvml: Nvml, start_agent: StartAgent) -> None:
    agent = start_agent(
        env=nvml.say(
            f"0 name=H100 {SOUND} pid={os.getpid()}:60000",
            f"1 name=H100 {SOUND} pid={os.getpid()}:2000",
        )
    )
    found = worst(preflight(agent)[0])["gpu_users"]
    assert found["level"] == "warn"
    assert found["message"].startswith("GPUs 0-1 in use by you: 1 process, 65.0 GB")


def test_a_wedged_driver_is_critical_and_asked_once(
    nvml: Nvml, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start_agent(env=nvml.say("hang"))
    checks, versions = preflight(agent)
    found = worst(checks)["gpu"]
    assert found["level"] == "crit"
    assert "has not answered" in found["message"]
    assert [versions[name] for name in ("driver", "gpu", "gpus")] == [None, None, None]


def test_others_and_jobs_are_named() -> None:
    bob = {"pid": 7, "user": "bob", "memory": 30_000_000_000, "command": "python x.py", "job": ""}
    hidden = {"pid": 8, "user": None, "memory": None, "command": "", "job": ""}
    mine = {"pid": 9, "user": ME, "memory": 10**9, "command": "python", "job": "0123456789ab"}
    using = [gpu(i, processes=[{**bob, "pid": i}]) for i in range(3)]
    look = Look(GpuSample([*using, gpu(5, processes=[hidden, mine])]), False)
    messages = {
        item["message"] for item in checkgpus.health(look, None) if item["check"] == "gpu_users"
    }
    assert messages == {
        "GPUs 0-2 in use by bob: 3 processes, 90.0 GB (python x.py)",
        "GPU 5 in use by somebody who cannot be seen from here: 1 process, 0.0 GB (?)",
        "GPU 5 in use by you: 1 process, 1.0 GB (job 0123456789ab)",
    }


def test_being_capped_in_power_and_cards_without_bridges_are_no_fault() -> None:
    links = {"active": 0, "total": 18}
    found = judged(gpu(0, throttle=["power_cap"], nvlink=links), gpu(1, nvlink=links))
    assert {item["level"] for item in found.values()} == {"ok"}


def test_a_gpu_whose_links_are_all_down_among_linked_ones_is_told() -> None:
    found = judged(gpu(0), gpu(1, nvlink={"active": 0, "total": 18}))
    assert found["nvlink"]["message"] == "GPU 1: 0 of 18 NVLinks are active"


def test_links_are_compared_with_the_other_gpus_and_told_in_one_line() -> None:
    def linked(*active: int) -> list[dict[str, str]]:
        links = ({"active": count, "total": 36} for count in active)
        gpus = [gpu(index, nvlink=link) for index, link in enumerate(links)]
        found = checkgpus.health(Look(GpuSample(gpus), False), None)
        return [item for item in found if item["check"] == "nvlink"]

    # Some drivers tell of links that the GPU does not have: they are off on all of them.
    assert linked(18, 18) == linked(17, 17) == linked(17) == []
    (told,) = linked(17, 18, 17, 17)
    assert told["message"] == "GPUs 0, 2-3: 17 of 18 NVLinks are active each"


def test_what_is_not_known_of_gpus_is_not_taken_for_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(*gpus: dict[str, Any], driver: str = "", simulated: bool = False) -> list[Any]:
        found = checkgpus.versions(Look(GpuSample(list(gpus), driver=driver), simulated))
        return [found[name] for name in ("driver", "gpu", "gpus")]

    lost = failed(blank(1), "lost", "GPU is lost")
    assert told(gpu(0), lost, driver="570.86") == ["570.86", "NVIDIA H100", 2]
    assert told(lost) == [None, None, 1]
    assert told(gpu(0), simulated=True) == ["", "", 0]
    monkeypatch.setattr(checkgpus.gpus, "count_from_driver", lambda: 0)
    assert told() == ["", "", 0]
    monkeypatch.setattr(checkgpus.gpus, "count_from_driver", lambda: 8)
    assert told() == [None, None, None]
    wedged = checkgpus.versions(Look(None, False))
    assert set(wedged.values()) == {None}
    found = judged(lost, gpu(0))
    assert "lost" in found["gpu"]["message"]
    monkeypatch.setattr(checkgpus.gpus, "count_from_driver", lambda: 2)
    counts = checkgpus.health(Look(GpuSample([lost, gpu(0)]), False), None)
    assert counts[0]["message"] == "2 × NVIDIA H100"


def test_what_cannot_be_read_is_not_taken_for_well() -> None:
    nothing = {"ecc_uncorrected": None, "remapped_rows": None, "recovery_action": None,
               "throttle": None}  # fmt: skip
    assert judged(gpu(0, **nothing))["gpu_health"]["level"] == "unknown"
    found = judged(gpu(0), gpu(1, ecc_uncorrected=None))["gpu_health"]
    assert (found["level"], found["message"]) == ("unknown", "GPU 1 does not tell ecc uncorrected")
    # A card for games tells less, and that is well.
    assert judged(gpu(0, ecc_uncorrected=None))["gpu_health"]["level"] == "ok"


def test_gpus_that_should_be_there_and_are_not_are_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = judged(gpu(0), expected=2)["gpu"]
    assert (found["level"], found["message"]) == ("warn", "1 GPUs answer, and there should be 2")
    monkeypatch.setattr(checkgpus.gpus, "count_from_driver", lambda: 8)
    none = checkgpus.health(Look(GpuSample([], "NVML: version mismatch"), False), None)[0]
    assert none["level"] == "crit"
    assert "announces 8 GPUs: NVML: version mismatch" in none["message"]


def test_simulated_gpus_are_not_examined() -> None:
    look = Look(GpuSample([failed(gpu(0), "lost", "")]), True)
    assert [item["level"] for item in checkgpus.health(look, 4)] == ["ok"]
    assert checkgpus.slow(look) == []
    assert look.real == 0


def test_fatal_xids_of_the_kernel_log_are_told_once_with_their_newest_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "kmsg"
    log.write_text("")
    xid = {"gpu": "0000:3b:00", "message": "GPU has fallen off the bus."}
    logged = [(100.0, {**xid, "number": 79}), (200.0, {**xid, "number": 79}),
              (300.0, {**xid, "number": 31})]  # fmt: skip
    monkeypatch.setattr(checkgpus, "KERNEL_LOG", str(log))
    monkeypatch.setattr(checkgpus.XidWatch, "logged", lambda self: logged)
    look = Look(GpuSample([gpu(0)]), False, (True,))
    found = worst(checkgpus.slow(look))
    assert found["xid"]["level"] == "warn"
    assert "Xid 79 of GPU 0000:3b:00 at " in found["xid"]["message"]
    assert found["persistence"]["level"] == "ok"
    monkeypatch.setattr(checkgpus, "KERNEL_LOG", str(tmp_path / "gone"))
    assert worst(checkgpus.slow(look))["xid"]["level"] == "unknown"
    off = Look(GpuSample([gpu(0), gpu(1)]), False, (True, False))
    assert worst(checkgpus.slow(off))["persistence"]["message"].startswith("GPU 1: persistence")


@pytest.mark.parametrize(
    ("indices", "words"),
    [([3], "GPU 3"), ([0, 1, 2, 3, 7], "GPUs 0-3, 7"), ([5, 1, 1, 2], "GPUs 1-2, 5")],
)
def test_numbers_of_gpus_are_written_short(indices: list[int], words: str) -> None:
    assert checkgpus.numbers(indices) == words


def test_one_look_serves_all_who_ask_in_the_same_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[str] = []

    class Source:
        simulated = True

        def sample(self) -> GpuSample:
            return GpuSample([gpu(0)])

        def close(self) -> None:
            made.append("closed")

    def make(state_dir: str) -> Source:
        made.append("made")
        return Source()

    monkeypatch.setattr(gpulook.gpus, "make_source", make)
    for _ in range(3):
        assert len(gpulook.look(str(tmp_path)).sample or ()) > 0
    assert made.count("made") == 1
    monkeypatch.setattr(gpulook, "REMEMBER", 0.0)
    gpulook.look(str(tmp_path))
    assert made.count("made") == 2
