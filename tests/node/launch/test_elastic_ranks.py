"""Deaths of real child processes, told apart as the journal needs them."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from cockpit.node.launch.ranks import Deaths, Rank, describe, read_record
from tests.node.torchrun_nodes import is_gone, until


class Group:
    """Child processes that stand for ranks 0, 1, …"""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.asked: list[int] = []

    def start(self, *programs: str) -> Deaths:
        self.processes = [subprocess.Popen([sys.executable, "-c", p]) for p in programs]
        ranks = [
            Rank(10 + n, n, process.pid, str(self.error_file(n)))
            for n, process in enumerate(self.processes)
        ]
        return Deaths(ranks, self._oom)

    def error_file(self, local_rank: int) -> pathlib.Path:
        return self.folder / f"{local_rank}.json"

    def until_gone(self, local_rank: int) -> None:
        until(lambda: is_gone(self.processes[local_rank].pid), f"the end of {local_rank}")

    def _oom(self, pid: int) -> str:
        self.asked.append(pid)
        return "kernel log: Killed process" if pid == self.processes[0].pid else ""


@pytest.fixture
def group(tmp_path: pathlib.Path) -> Iterator[Group]:
    group = Group(tmp_path)
    yield group
    for process in group.processes:
        process.kill()
        process.wait()


SLEEP = "import time; time.sleep(60)"


def test_a_rank_that_torch_ended_because_of_another_is_no_failure(group: Group) -> None:
    deaths = group.start("raise SystemExit(7)", SLEEP, SLEEP)
    group.until_gone(0)
    deaths.look()
    for process in group.processes[1:]:
        process.terminate()
    failures = deaths.failures({10: 7, 11: -signal.SIGTERM, 12: -signal.SIGKILL})
    assert [(f["rank"], f["local_rank"], f["exit_code"]) for f in failures] == [(10, 0, 7)]
    assert group.processes[0].wait() == 7, "looking does not reap"


def test_a_rank_that_torch_has_reaped_before_is_a_failure_too(group: Group) -> None:
    deaths = group.start(SLEEP, SLEEP)
    group.processes[1].kill()
    group.processes[1].wait()
    deaths.look()
    failures = deaths.failures({11: -signal.SIGKILL, 10: -signal.SIGTERM})
    assert [(f["rank"], f["signal"], f["message"]) for f in failures] == [
        (11, 9, "killed by SIGKILL")
    ]


def test_a_rank_that_hangs_after_its_exception_is_a_failure_although_torch_ended_it(
    group: Group,
) -> None:
    deaths = group.start("raise SystemExit(1)", SLEEP)
    group.until_gone(0)
    deaths.look()
    ours = {"type": "RuntimeError", "message": "RuntimeError: boom", "at": 5.0, "status": 1}
    group.error_file(1).write_text(json.dumps({"message": {}, "cockpit": ours}))
    failures = deaths.failures({10: 1, 11: -signal.SIGTERM})
    assert [f["rank"] for f in failures] == [11, 10], "the first one first"
    first = failures[0]
    assert (first["at"], first["message"]) == (5.0, "RuntimeError: boom")
    assert (first["exit_code"], first["signal"]) == (1, None), "torch's SIGTERM was not its own"


def test_a_rank_that_raised_keeps_its_code_although_a_library_aborted_it_on_its_way_out(
    group: Group,
) -> None:
    deaths = group.start("import os; os.abort()", SLEEP)
    group.until_gone(0)
    ours = {"type": "RuntimeError", "message": "RuntimeError: boom", "at": 5.0, "status": 1}
    group.error_file(0).write_text(json.dumps({"message": {}, "cockpit": ours}))
    deaths.look()
    (failure,) = deaths.failures({10: -signal.SIGABRT})
    assert (failure["exit_code"], failure["signal"]) == (1, None)
    assert failure["message"] == "RuntimeError: boom"


def test_when_all_were_ended_by_signals_unseen_all_are_named(group: Group) -> None:
    deaths = group.start(SLEEP)
    assert [f["rank"] for f in deaths.failures({10: -signal.SIGKILL})] == [10]


def test_only_an_own_death_by_sigkill_is_asked_for_oom_evidence(group: Group) -> None:
    deaths = group.start(SLEEP, SLEEP, "raise SystemExit(137)")
    for process in group.processes[:2]:
        process.kill()
    for local_rank in range(3):
        group.until_gone(local_rank)
    deaths.look()
    failures = {f["local_rank"]: f for f in deaths.failures({})}
    assert failures[0]["oom"]
    assert failures[0]["evidence"] == "kernel log: Killed process"
    assert not failures[1]["oom"]
    assert not failures[2]["oom"]
    assert group.asked == [process.pid for process in group.processes[:2]]


def test_what_torch_did_not_report_is_told_once(group: Group) -> None:
    deaths = group.start("raise SystemExit(3)", SLEEP)
    group.until_gone(0)
    deaths.look()
    assert [f["exit_code"] for f in deaths.unreported({})] == [3]
    assert deaths.unreported({}) == []


def test_whole_seconds_of_torchs_own_record_never_make_a_victim_the_first() -> None:
    record = {"message": {"message": "OSError: x\ny", "extraInfo": {"timestamp": "100"}}}
    rank = Rank(0, 0, 1)
    late = describe(rank, 1, 105.0, record)
    assert (late["at"], late["message"], late["exception"]) == (101.0, "OSError: x", "OSError")
    assert describe(rank, 1, 100.5, record)["at"] == 100.5


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"message": nul', "\x00\xff"])
def test_a_damaged_record_is_no_record(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "error.json"
    path.write_text(text)
    assert read_record(str(path)) == {}
    assert read_record("") == {}


@pytest.mark.parametrize(
    "record",
    [{"cockpit": "x"}, {"message": 5}, {"message": "plain"}, {"message": {"extraInfo": 1}}],
)
def test_a_strange_record_is_still_described(record: dict[str, object]) -> None:
    failure = describe(Rank(0, 0, os.getpid()), 3, time.time(), record)
    assert failure["exit_code"] == 3
    assert isinstance(failure["message"], str)
