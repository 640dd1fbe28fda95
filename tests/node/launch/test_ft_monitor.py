"""What rank monitors hear: slots, time-outs in words, and nothing that could hurt a monitor."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from cockpit.node import journal
from cockpit.node.journal import Journal
from cockpit.node.launch import ftmonitor
from cockpit.node.launch.ftmonitor import Pipe, generation_of, reason
from cockpit.node.launch.hooks import Guard
from cockpit.node.rank.slot import Reader
from cockpit.protocol import layout


class Server:
    """The shape of a rank monitor of nvidia-resiliency-ext."""

    def __init__(self, pid: int) -> None:
        self.rank_info: Any = types.SimpleNamespace(pid=pid, global_rank="3", local_rank=1)
        self.open_sections: dict[str, float] = {}
        self.start_time: float | None = 0.0
        self.last_hb_time: float | None = None
        self.out_of_section_time: float | None = 0.0
        self.cfg = types.SimpleNamespace(
            initial_rank_heartbeat_timeout=None,
            rank_heartbeat_timeout=None,
            rank_section_timeouts={},
            rank_out_of_section_timeout=None,
        )
        self.calls: list[str] = []

    async def _handle_init_msg(self, msg: Any, writer: Any) -> str:
        self.calls.append("init")
        return "done"

    async def _handle_heartbeat_msg(self, msg: Any, writer: Any) -> None:
        self.calls.append("beat")

    async def _handle_section_msg(self, msg: Any, writer: Any) -> None:
        self.open_sections = {"step": 1.0, "load": 2.0}

    async def _handle_timeout(self) -> None:
        self.calls.append("killed")
        self.rank_info = None

    async def _rank_monitor_loop(self) -> None:
        self.calls.append("loop")


@pytest.fixture
def rank() -> Iterator[int]:
    """A process that was started as a rank of generation 4."""
    environ = {**os.environ, layout.GENERATION_ENV: "4"}
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


class Instrumented:
    def __init__(
        self,
        folder: pathlib.Path,
        pid: int,
        monkeypatch: pytest.MonkeyPatch,
        slots: str | None = None,
    ) -> None:
        monkeypatch.setattr(ftmonitor, "HOLD", 0.0)
        self.journal = Journal(str(folder / "launcher.jsonl"))
        self.pipe = Pipe()
        kind: Any = type("Server", (Server,), {})
        slots = str(folder) if slots is None else slots
        ftmonitor.install(kind, slots, self.pipe, Guard(self.journal))
        self.server: Any = kind(pid)

    def events(self) -> list[dict[str, Any]]:
        self.pipe.drain(self.journal)
        return journal.read(self.journal.path)


@pytest.fixture
def monitor(tmp_path: pathlib.Path, rank: int, monkeypatch: pytest.MonkeyPatch) -> Instrumented:
    return Instrumented(tmp_path, rank, monkeypatch)


def run(coroutine: Any) -> Any:
    """To its end, without an event loop: the one of a real monitor is not cockpit's."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value


def heard(folder: pathlib.Path) -> tuple[int, tuple[str, ...]]:
    """Beats and open sections in the monitor slot of the rank."""
    reader = Reader(str(folder / layout.monitor_slot(4, 1)))
    beat = reader.read()
    reader.close()
    assert beat is not None
    assert beat.local_rank == 1
    return beat.beats, tuple(beat.sections)


def test_the_generation_of_a_rank_is_read_from_its_process(rank: int) -> None:
    assert generation_of(rank) == 4
    assert generation_of(os.getpid()) == -1
    assert generation_of(2**22 + 1) == -1


def test_heartbeats_and_sections_of_a_rank_are_in_its_monitor_slot(
    monitor: Instrumented, tmp_path: pathlib.Path
) -> None:
    server = monitor.server
    assert run(server._handle_init_msg(None, None)) == "done"
    assert heard(tmp_path) == (0, ())
    run(server._handle_heartbeat_msg(None, None))
    run(server._handle_section_msg(None, None))
    assert heard(tmp_path) == (2, ("step", "load"))
    assert server.calls == ["init", "beat"]
    assert monitor.events() == []


def test_a_rank_that_says_again_who_it_is_keeps_its_count(
    monitor: Instrumented, tmp_path: pathlib.Path
) -> None:
    server = monitor.server
    run(server._handle_init_msg(None, None))
    run(server._handle_heartbeat_msg(None, None))
    run(server._handle_init_msg(None, None))
    run(server._handle_heartbeat_msg(None, None))
    assert monitor.events() == []
    assert heard(tmp_path) == (2, ())


def test_a_slot_of_a_monitor_before_this_one_is_replaced(
    monitor: Instrumented, tmp_path: pathlib.Path
) -> None:
    (tmp_path / layout.monitor_slot(4, 1)).write_bytes(b"old")
    run(monitor.server._handle_init_msg(None, None))
    assert monitor.events() == []
    assert (tmp_path / layout.monitor_slot(4, 1)).stat().st_size == 4096


def test_a_time_out_is_told_once_and_before_its_rank_is_ended(
    monitor: Instrumented, rank: int
) -> None:
    server = monitor.server
    server.cfg.rank_heartbeat_timeout = 5.0
    server.last_hb_time = time.monotonic() - 7.0
    run(server._handle_init_msg(None, None))
    before = time.time()
    info = server.rank_info
    run(server._handle_timeout())
    server.rank_info = info
    run(server._handle_timeout())
    (event,) = monitor.events()
    assert (event["kind"], event["generation"], event["rank"]) == ("ft_timeout", 4, 3)
    assert (event["local_rank"], event["pid"]) == (1, rank)
    assert event["message"].startswith("no heartbeat for 7.")
    assert before <= event["at"] <= time.time()
    assert event["seq"] == 0, "the launcher process numbers it"
    assert server.calls == ["init", "killed", "killed"]


def test_a_time_out_of_nobody_goes_its_way(monitor: Instrumented) -> None:
    monitor.server.rank_info = None
    run(monitor.server._handle_timeout())
    assert monitor.events() == []
    assert monitor.server.calls == ["killed"]


def test_what_goes_wrong_here_is_told_once_and_hurts_nobody(
    monitor: Instrumented, tmp_path: pathlib.Path
) -> None:
    (tmp_path / layout.monitor_slot(4, 1)).mkdir()
    assert run(monitor.server._handle_init_msg(None, None)) == "done"
    assert run(monitor.server._handle_init_msg(None, None)) == "done"
    run(monitor.server._handle_heartbeat_msg(None, None))
    (event,) = monitor.events()
    assert (event["kind"], event["where"]) == ("hook_error", "rank monitor: began")


def test_a_missing_handler_is_named_and_the_others_are_wrapped(tmp_path: pathlib.Path) -> None:
    class Older:
        async def _handle_init_msg(self, msg: Any, writer: Any) -> None: ...
        async def _handle_heartbeat_msg(self, msg: Any, writer: Any) -> None: ...
        async def _handle_timeout(self) -> None: ...
        async def _rank_monitor_loop(self) -> None: ...

    log = Journal(str(tmp_path / "launcher.jsonl"))
    ftmonitor.install(Older, "", Pipe(), Guard(log))
    (event,) = journal.read(log.path)
    assert (event["kind"], event["name"]) == ("hook_missing", "Older._handle_section_msg")


def test_without_a_folder_for_slots_time_outs_are_still_told(
    tmp_path: pathlib.Path, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Instrumented(tmp_path, rank, monkeypatch, slots="")
    server = monitor.server
    run(server._handle_init_msg(None, None))
    run(server._handle_heartbeat_msg(None, None))
    run(server._handle_timeout())
    (event,) = monitor.events()
    assert event["kind"] == "ft_timeout"
    assert os.listdir(tmp_path) == ["launcher.jsonl"]


def test_a_full_pipe_stops_no_monitor() -> None:
    pipe = Pipe()
    for _ in range(2000):
        pipe.send("ft_timeout", message="x" * 100)


@pytest.mark.parametrize(
    ("changes", "limits", "words"),
    [
        ({}, {"initial_rank_heartbeat_timeout": 5.0}, "no first heartbeat for 9.0 s, the limit is"),
        ({"last_hb_time": 2.0}, {"rank_heartbeat_timeout": 5.0}, "no heartbeat for 7.0 s"),
        (
            {"open_sections": {"a": 8.0, "step": 1.0}},
            {"rank_section_timeouts": {"a": 5.0, "step": 5.0}},
            "section 'step' open for 8.0 s, the limit is 5 s",
        ),
        ({}, {"rank_out_of_section_timeout": 0.5}, "outside of sections for 9.0 s"),
        ({}, {}, "a limit of ft_launcher"),
    ],
)
def test_a_time_out_says_which_limit_was_passed(
    changes: dict[str, Any], limits: dict[str, Any], words: str
) -> None:
    server = Server(1)
    vars(server).update(changes)
    vars(server.cfg).update(limits)
    assert reason(server, 9.0).startswith(words)
