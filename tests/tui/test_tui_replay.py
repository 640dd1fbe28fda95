"""Replays: what a job left, found in many forms, and played at any speed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tui_hands import running
from tui_screen import LOADED, Screen

from cockpit.errors import UsageError
from cockpit.model.types import JobState
from cockpit.protocol import records
from cockpit.protocol.frames import INDEX_ENTRY
from cockpit.protocol.records import AttemptRecord, JobRecord, Member
from cockpit.tui.app import CockpitApp
from cockpit.tui.replay import ReplaySource, read
from cockpit.tui.replay.player import Player
from cockpit.tui.settings import Settings

T0 = 1_760_000_000.0
JOB = "0123456789ab"
PROCESS = {"pid": 7, "start_ticks": 1, "boot_id": "b"}


class Hand:
    """The clock that drives a replay."""

    def __init__(self) -> None:
        self.mono = 100.0

    def __call__(self) -> float:
        return self.mono


def record() -> JobRecord:
    return JobRecord(
        id=JOB, name="tiny", created_at=T0, created_by="ada@laptop", cluster="lab", launcher="ddp",
        kind="torchrun", min_nodes=2, max_nodes=2, nproc_per_node=1, command=("train.py",), argv=(),
        env={}, secrets={}, working_dir="/", code=None, max_restarts=1, grace=5.0,
    )  # fmt: skip


def events(rank: int) -> dict[str, list[dict[str, Any]]]:
    """A node's journals: started at 1 s, ranks at 3 s, failed at 60 s (node 1 only), ended."""

    def told(*items: tuple[float, str, dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"seq": n, "at": T0 + at, "mono": at, "kind": kind, **fields}
            for n, (at, kind, fields) in enumerate(items)
        ]

    failure = {
        "rank": 1, "local_rank": 0, "pid": 8, "exit_code": 1, "signal": None, "at": T0 + 60,
        "message": "RuntimeError: boom", "exception": "RuntimeError", "oom": False,
        "evidence": "", "tail": ["RuntimeError: boom"],
    }  # fmt: skip
    group = {"generation": 0, "state": "FAILED", "remaining_restarts": 0}
    ranks = [{"rank": rank, "local_rank": 0, "process": {**PROCESS, "pid": 8},
              "out": "logs/0/0.out", "err": "logs/0/0.err"}]  # fmt: skip
    return {
        "events": told(
            (0.0, "claimed", {"job": JOB, "attempt": 0, "node_rank": rank, "host": f"gpu0{rank}"}),
            (1.0, "started", {"process": PROCESS, "argv": [], "cwd": "/"}),
            (61.0, "launcher_exited", {"code": 1, "signal": None, "oom": False}),
            (62.0, "ended", {"outcome": "failed", "code": 1, "signal": None, "left": [],
                             "swept": 0, "message": "", "launcher_size": None}),
        ),
        "launcher": told(
            (2.0, "launcher", {"process": PROCESS}),
            (3.0, "generation", {"generation": 0, "group_rank": rank, "group_world_size": 2,
                                 "world_size": 2, "ranks": ranks}),
            (60.5, "group", {**group, "failures": [failure] if rank else []}),
            (60.9, "launcher_exit", {"code": 1}),
        ),
        "beats": told(
            *(
                (5.0 + n, "beats", {"generation": 0, "ranks": [
                    {"local_rank": 0, "rank": rank, "pid": 8, "stage": "training", "beats": n,
                     "step": n, "age": 0.1, "limit": 60.0, "interval": 1.0, "own": 1.0,
                     "metrics": {"loss": 2.0}, "note": "", "ft": None}]})
                for n in range(50)
            )
        ),
    }  # fmt: skip


def plan(rank: int) -> AttemptRecord:
    members = tuple(Member(n, f"gpu0{n}", f"gpu0{n}.lab", f"10.0.0.{n}") for n in (0, 1))
    return AttemptRecord(
        job=JOB, attempt=0, node_rank=rank, members=members, macros={}, created_at=T0,
        created_by="ada@laptop", nproc_per_node=1,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's folder, as `cockpit record` writes it."""
    job = tmp_path / "tiny"
    job.mkdir()
    (job / "job.json").write_text(json.dumps(records.to_builtins(record())))
    for rank in (0, 1):
        seat = job / "attempts" / "0" / "nodes" / str(rank)
        logs = seat / "logs" / "0"
        logs.mkdir(parents=True)
        (seat / "plan.json").write_text(json.dumps(dataclasses.asdict(plan(rank))))
        for name, told in events(rank).items():
            text = "".join(json.dumps(event) + "\n" for event in told)
            (seat / f"{name}.jsonl").write_text(text)
        lines, index = b"", b""
        for second in range(4, 60):
            index += INDEX_ENTRY.pack(len(lines), T0 + second + rank / 2)
            lines += b"second %d of rank %d\n" % (second, rank)
        (logs / "0.out").write_bytes(lines + b"no newline")
        (logs / "0.out.idx").write_bytes(index)
    return job


def opened(path: Path, speed: float = 1.0) -> tuple[ReplaySource, Hand]:
    hand = Hand()
    return ReplaySource(read(path), speed=speed, mono=hand), hand


@pytest.fixture
def playing(folder: Path) -> tuple[ReplaySource, Hand]:
    """That folder as a source; made before a loop runs, since it reads the disk."""
    return opened(folder)


def test_a_job_is_played_from_its_first_event_to_its_cause(folder: Path) -> None:
    source, hand = opened(folder)
    seen = []
    for second in (0.0, 3.0, 20.0, 70.0):
        hand.mono = 100.0 + second
        seen.append(source.snapshot().jobs[0])
    assert [job.state for job in seen] == [
        JobState.STAGING, JobState.STARTING, JobState.RUNNING, JobState.FAILED,
    ]  # fmt: skip
    assert seen[2].steps == (14, 14)
    assert seen[3].cause is not None
    assert (seen[3].cause.node, seen[3].cause.rank) == ("gpu01", 1)
    assert source.banner == "REPLAY ended"
    assert [node.name for node in source.snapshot().nodes] == ["gpu00", "gpu01"]


def test_the_end_is_the_same_as_that_of_a_slow_replay(folder: Path) -> None:
    slow, hand = opened(folder)
    for second in range(80):
        hand.mono = 100.0 + second
        slow.snapshot()
    fast, other = opened(folder, speed=1000.0)
    other.mono += 80.0
    assert fast.snapshot().jobs == slow.snapshot().jobs


@pytest.mark.parametrize(
    ("inside", "nodes", "ranks"),
    [
        ("attempts/0/nodes/1", 2, [1]),
        ("attempts/0/nodes/1/events.jsonl", 2, [1]),
        ("attempts/0/nodes/0/beats.jsonl", 2, [0]),
    ],
)
def test_one_nodes_part_is_a_recording_too(
    folder: Path, inside: str, nodes: int, ranks: list[int]
) -> None:
    source, hand = opened(folder / inside)
    hand.mono += 30.0
    job = source.snapshot().jobs[0]
    assert job.name == "tiny"
    assert len(job.nodes) == nodes
    assert [rank.rank for node in job.nodes for rank in node.ranks] == ranks


def test_a_journal_that_lies_alone_under_another_name_is_played(
    folder: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "kept.jsonl"
    shutil.copy(folder / "attempts/0/nodes/1/events.jsonl", alone)
    source, hand = opened(alone)
    hand.mono += 70.0
    job = source.snapshot().jobs[0]
    assert job.id == JOB
    assert [node.name for node in job.nodes] == ["gpu01"] or job.nodes[0].host == "gpu01"
    assert source.log(JOB).notice == "no logs lie beside the journals"


def test_what_is_no_recording_is_refused_in_words(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n")
    empty = tmp_path / "events.jsonl"
    empty.write_text("")
    bare = tmp_path / "bare"
    bare.mkdir()
    for path, words in (
        (tmp_path / "nowhere", "there is nothing to replay"),
        (text, "is no journal"),
        (empty, "no journal in it has an event"),
        (bare, "holds no journal"),
    ):
        with pytest.raises(UsageError, match=words):
            read(path)


def test_a_torn_journal_costs_only_what_is_torn(folder: Path) -> None:
    path = folder / "attempts/0/nodes/1/launcher.jsonl"
    path.write_bytes(b"\xff{torn\n\n" + path.read_bytes() + b'{"seq": 9, "at"')
    source, hand = opened(folder)
    hand.mono += 70.0
    assert source.snapshot().jobs[0].cause is not None


def test_a_damaged_job_file_is_named(folder: Path) -> None:
    (folder / "job.json").write_text("{")
    with pytest.raises(UsageError, match=r"job\.json is damaged"):
        read(folder)


def test_log_lines_come_when_their_time_has_come(folder: Path) -> None:
    source, hand = opened(folder)
    log = source.log(JOB)
    assert log.end == 0
    hand.mono += 1.0 + 10.0
    assert log.poll()
    lines = log.lines(0, log.end)
    assert [line.data for line in lines[:3]] == [
        b"second 4 of rank 0", b"second 4 of rank 1", b"second 5 of rank 0",
    ]  # fmt: skip
    assert lines[-1].at == T0 + 10.0
    assert log.at_time(T0 + 9.0) == 10
    hand.mono += 100.0
    log.poll()
    assert log.end == 2 * 56 + 2
    assert log.lines(log.end - 1, log.end)[0].data == b"no newline"
    one = log.select(frozenset((log.origins[0],)))
    assert {line.origin.rank for line in one.lines(0, one.end)} == {0}
    assert one.end == 57


def test_order_holds_when_a_leap_passes_over_more_than_is_read_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cockpit.tui.replay.log.BATCH", 100)
    monkeypatch.setattr("cockpit.tui.replay.log.LEAST", 10)
    monkeypatch.setattr("cockpit.tui.replay.log.BUDGET", 0.0)
    source, hand = opened(folder)
    log = source.log(JOB)
    hand.mono += 100.0
    while log.poll():
        pass
    times = [line.at for line in log.lines(0, log.end)]
    assert times == sorted(times, key=lambda at: at or 0.0)
    assert log.end == 2 * 56 + 2


def test_a_time_is_found_among_all_lines_and_among_chosen_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What has no time index stands at the beginning, however much of it there is.
    unknown = folder / "attempts" / "0" / "nodes" / "0" / "logs" / "0" / "0.err"
    unknown.write_bytes(b"a line of nobody knows when, and longer than is read at once\n" * 50)
    monkeypatch.setattr("cockpit.tui.replay.log.BATCH", 60)
    monkeypatch.setattr("cockpit.tui.replay.log.LEAST", 20)
    source, hand = opened(folder)
    log = source.log(JOB)
    hand.mono += 100.0
    while log.poll():
        pass
    for document in (log, log.select(frozenset(log.origins[1:]))):
        lines = document.lines(0, document.end)
        times = [line.at or 0.0 for line in lines]
        assert times == sorted(times)
        for at in (0.0, T0, T0 + 4.25, T0 + 30.0, T0 + 1000.0):
            found = next((n for n, time in enumerate(times) if time >= at), len(times))
            assert document.at_time(at) == (found if at else times.count(0.0))
    lines = log.lines(0, log.end)
    assert len(lines) == 50 + 2 * 56 + 2
    assert log.size == sum(len(line.data) + 1 for line in lines)


def test_one_look_takes_in_a_bounded_part_of_a_long_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = folder / "attempts" / "0" / "nodes" / "0" / "logs" / "0" / "0.out"
    long.write_bytes(b"x" * 99 + b"\n" + b"y\n" * 300_000)
    source, hand = opened(folder)
    hand.mono += 100.0
    monkeypatch.setattr("cockpit.tui.replay.log.BUDGET", 0.0)
    log = source.log(JOB)
    assert 0 < log.size < 200_000
    while log.poll():
        pass
    assert log.end > 300_000


async def test_a_log_can_be_saved(playing: tuple[ReplaySource, Hand], tmp_path: Path) -> None:
    source, hand = playing
    hand.mono += 100.0
    target = tmp_path / "out"
    assert await source.log(JOB).save(target) > 2_000
    assert b"gpu01 rank 1 second 59 of rank 1" in target.read_bytes()


def test_the_clock_obeys_pause_speed_and_leaps() -> None:
    hand = Hand()
    player = Player(T0, T0 + 1000.0, 10.0, hand)
    assert player.now() == T0 - 1.0
    hand.mono += 2.0
    assert player.now() == T0 + 19.0
    player.pause()
    hand.mono += 50.0
    assert player.now() == T0 + 19.0
    assert player.words == "REPLAY paused"
    player.pause()
    player.scale(2.0)
    hand.mono += 1.0
    assert player.now() == T0 + 39.0
    assert player.words == "REPLAY ×20"
    for _ in range(20):
        player.scale(2.0)
    assert player.speed == 1000.0
    for _ in range(20):
        player.scale(0.5)
    assert player.words == "REPLAY ×0.25"
    with pytest.raises(UsageError):
        player.rate(0.0)
    player.leap(T0 + 5000.0)
    assert player.over


def test_the_next_event_is_one_that_is_worth_a_look(folder: Path) -> None:
    source, hand = opened(folder)
    hand.mono += 10.0
    source.next_event()
    assert source.clock.wall() == T0 + 60.5
    for _ in range(10):
        source.next_event()
    assert source.snapshot().jobs[0].state is JobState.FAILED
    source.begin_again()
    assert source.snapshot().jobs[0].state is JobState.STAGING


async def test_the_screen_is_led_by_keys_and_by_the_command_line(
    playing: tuple[ReplaySource, Hand],
) -> None:
    source, hand = playing
    settings = Settings(loaded=LOADED)
    app = CockpitApp(source, settings, focus_job=JOB, clock=source.clock, pulsing=False)
    async with running(app, (120, 36)):
        screen = Screen(app, source, hand)  # type: ignore[arg-type]
        assert "REPLAY ×1" in screen.text
        await screen.press("greater_than_sign")
        assert "REPLAY ×2" in screen.text
        await screen.press("less_than_sign", "less_than_sign")
        assert "REPLAY ×0.5" in screen.text
        await screen.press("p")
        assert "REPLAY paused" in screen.text
        for _ in range(8):
            await screen.press("ctrl+n")
        assert "boom" in screen.text
        await screen.press("4")
        assert "second 59 of rank 1" in screen.text
        await screen.press("ctrl+a")
        assert "second 59 of rank 1" not in screen.text
        await screen.press("colon", *"speed", "space", *"100", "enter")
        await screen.press("p")
        assert "REPLAY ×100" in screen.text
        for order in ("job.cancel", "job.restart"):
            app.perform(order)
        assert all("replay" in said for said in screen.said[-2:])
