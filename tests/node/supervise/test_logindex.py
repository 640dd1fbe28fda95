from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from cockpit.node import linux
from cockpit.node.supervise import logindex
from cockpit.node.supervise.logindex import LogIndexer
from cockpit.protocol.frames import INDEX_ENTRY
from tests.node.supervising import Node, eventually


class Logs:
    """A folder of logs under an indexer whose monotonic clock the test moves."""

    def __init__(self, folder: Path, limit: int = 0, gaps: dict[str, int] | None = None) -> None:
        self.folder = folder
        self.gaps: list[tuple[str, int, int]] = []
        self.complaints: list[str] = []
        self.now = 1000.0
        self.indexer = LogIndexer(
            str(folder),
            limit,
            gaps or {},
            lambda path, start, end: self.gaps.append((path, start, end)),
            self.complaints.append,
        )

    def append(self, name: str, data: bytes) -> None:
        path = self.folder / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            file.write(data)

    def tick(self, seconds: float = 2.0) -> None:
        self.now += seconds
        self.indexer.tick(self.now)

    def index(self, name: str) -> list[tuple[int, float]]:
        data = (self.folder / "logs" / f"{name}.idx").read_bytes()
        return list(INDEX_ENTRY.iter_unpack(data))


def test_growth_is_indexed_by_where_it_began(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.tick()
    before = time.time()
    for text in (b"first\n", b"second\n", b"third\n"):
        logs.append("0/1.out", text)
        logs.tick()
    logs.tick()
    offsets = [offset for offset, _ in logs.index("0/1.out")]
    times = [at for _, at in logs.index("0/1.out")]
    assert offsets == [0, 6, 13]
    assert before <= times[0] <= times[1] <= times[2] <= time.time()
    assert logs.complaints == []
    logs.indexer.finish()


def test_an_index_grows_at_most_twenty_times_a_second(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for _ in range(1000):
        logs.append("launcher.out", b"x")
        logs.tick(0.001)
    assert 15 <= len(logs.index("launcher.out")) <= 20
    logs.append("launcher.out", b"x")
    logs.indexer.finish()
    assert logs.index("launcher.out")[-1][0] < 1001


def test_logs_of_new_generations_are_found_and_old_ones_let_go(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for generation in range(12):
        for rank in range(2):
            logs.append(f"{generation}/{rank}.err", b"hello\n")
        logs.tick()
    assert all(logs.index(f"{g}/{r}.err") for g in range(12) for r in range(2))
    for _ in range(3):
        logs.tick(100)
    opened = {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    }
    assert sorted(
        os.path.relpath(path, tmp_path) for path in opened if path.startswith(f"{tmp_path}/")
    ) == [f"logs/11/{rank}.err{suffix}" for rank in range(2) for suffix in ("", ".idx")]
    logs.append("11/0.err", b"more\n")
    logs.tick()
    assert [offset for offset, _ in logs.index("11/0.err")] == [0, 6]
    logs.append("10/0.err", b"late\n")
    logs.tick()
    assert [offset for offset, _ in logs.index("10/0.err")] == [0, 6]
    logs.indexer.finish()


def test_what_is_no_log_is_not_touched(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.append("0/trace.json", b"x")
    logs.append("supervisor.err", b"x")
    os.mkfifo(tmp_path / "logs" / "0" / "pipe.out")
    (tmp_path / "logs" / "0" / "link.out").symlink_to("/etc/passwd")
    (tmp_path / "logs" / "dir.out").mkdir()
    logs.append("0/0.out", b"real\n")
    logs.tick()
    logs.tick()
    assert [path.name for path in (tmp_path / "logs").rglob("*.idx")] == ["0.out.idx"]
    logs.indexer.finish()


def test_a_log_that_was_truncated_is_indexed_anew(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.append("0/0.out", b"a long line\n")
    logs.tick()
    os.truncate(tmp_path / "logs" / "0" / "0.out", 0)
    logs.tick()
    assert logs.index("0/0.out") == []
    logs.append("0/0.out", b"new\n")
    logs.tick()
    assert [offset for offset, _ in logs.index("0/0.out")] == [0]
    logs.indexer.finish()


def test_a_second_indexer_goes_on_behind_a_torn_entry(tmp_path: Path) -> None:
    first = Logs(tmp_path)
    first.append("0/0.out", b"watched\n")
    first.tick()
    first.indexer.finish()
    with open(tmp_path / "logs" / "0" / "0.out.idx", "ab") as file:
        file.write(b"torn")
    written = time.time() + 100
    first.append("0/0.out", b"unwatched\n")
    os.utime(tmp_path / "logs" / "0" / "0.out", (written, written))
    second = Logs(tmp_path)
    second.tick()
    second.append("0/0.out", b"watched again\n")
    second.tick()
    index = second.index("0/0.out")
    assert [offset for offset, _ in index] == [0, 1, 18]
    assert index[1][1] == pytest.approx(written, abs=0.01)
    second.indexer.finish()


def test_a_second_indexer_adds_nothing_where_nothing_was_written(tmp_path: Path) -> None:
    first = Logs(tmp_path)
    first.append("0/0.out", b"watched\n")
    first.tick()
    first.indexer.finish()
    second = Logs(tmp_path)
    second.tick()
    assert second.index("0/0.out") == first.index("0/0.out")
    assert len(second.index("0/0.out")) == 1
    second.indexer.finish()


def test_a_log_over_its_limit_loses_its_head_and_keeps_its_offsets(tmp_path: Path) -> None:
    limit = 256 * 1024
    logs = Logs(tmp_path, limit)
    path = tmp_path / "logs" / "0" / "0.out"
    block = b"0123456789abcde\n" * 256
    for number in range(1024):
        logs.append("0/0.out", block)
        if number % 8 == 7:
            logs.tick()
    status = path.stat()
    assert status.st_size == 1024 * 4096
    assert status.st_blocks * 512 <= limit + 64 * 1024
    assert len(logs.gaps) >= 3
    assert {name for name, _, _ in logs.gaps} == {"logs/0/0.out"}
    position = 0
    for _, start, end in logs.gaps:
        assert start == position < end and end % linux.BLOCK == 0
        position = end
    data = path.read_bytes()
    assert data[position:] == (block * 1024)[position:]
    assert not any(data[:position])
    assert logs.complaints == []
    logs.indexer.finish()
    again = Logs(tmp_path, limit, {"logs/0/0.out": position})
    again.tick()
    assert again.gaps == []
    again.indexer.finish()


def test_a_file_system_without_holes_keeps_everything_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux, "punch_hole", lambda fd, start, length: False)
    logs = Logs(tmp_path, 8192)
    for _ in range(10):
        logs.append("0/0.out", bytes(65536))
        logs.tick()
    assert logs.gaps == []
    assert len(logs.complaints) == 1
    assert len(logs.index("0/0.out")) == 10
    logs.indexer.finish()


def test_errors_of_the_disk_are_reported_once_and_growth_is_indexed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = Logs(tmp_path)
    logs.append("0/0.out", b"a\n")
    logs.tick()
    real = os.write

    def full(fd: int, data: bytes) -> int:
        return real(fd, data[:5]) if len(data) == INDEX_ENTRY.size else real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(logindex.os, "write", full)
        for _ in range(5):
            logs.append("0/0.out", b"b\n")
            logs.tick()
    assert [offset for offset, _ in logs.index("0/0.out")] == [0]
    assert len(logs.complaints) == 1 and "No space" in logs.complaints[0]
    logs.tick()
    assert [offset for offset, _ in logs.index("0/0.out")] == [0, 2]
    logs.indexer.finish()


def test_a_supervisor_indexes_what_its_ranks_write(supervised_node: Node) -> None:
    attempt = supervised_node.python(
        """
        import os, time
        folder = os.environ["COCKPIT_ATTEMPT_DIR"] + "/logs/0"
        os.mkdir(folder)
        log = open(folder + "/0.out", "w")
        for number in range(3):
            print(f"{time.time()} line {number}", file=log, flush=True)
            time.sleep(0.4)
        print("the end", flush=True)
        """,
        log_limit=1 << 20,
    ).run()
    attempt.ended()
    rank = attempt.folder / "logs" / "0" / "0.out"
    entries = list(INDEX_ENTRY.iter_unpack(Path(f"{rank}.idx").read_bytes()))
    text = rank.read_text()
    starts = {text.index(line): float(line.split()[0]) for line in text.splitlines()}
    assert starts.keys() <= {offset for offset, _ in entries}
    for offset, at in entries:
        if offset in starts:
            assert -0.05 <= at - starts[offset] < 10
    last = list(
        INDEX_ENTRY.iter_unpack((attempt.folder / "logs" / "launcher.out.idx").read_bytes())
    )
    assert [offset for offset, _ in last] == [0]


def test_an_adopting_supervisor_goes_on_with_index_and_limit(supervised_node: Node) -> None:
    attempt = supervised_node.attempt(
        sys.executable,
        "-c",
        "import os, sys, time\n"
        "while not os.path.exists('stop'):\n"
        "    sys.stdout.write('x' * 4095 + '\\n'); sys.stdout.flush(); time.sleep(0.005)\n",
        log_limit=65536,
    ).run()
    attempt.wait("log_gap")
    attempt.kill_supervisor()
    supervised_node.ensure_supervised()
    seen = len(attempt.events())
    eventually(
        lambda: [e for e in attempt.events()[seen:] if e["kind"] == "log_gap"], "the next gap"
    )
    (supervised_node.work / "stop").touch()
    assert attempt.ended()["outcome"] == "failed"
    gaps = [event for event in attempt.events() if event["kind"] == "log_gap"]
    assert {gap["path"] for gap in gaps} == {"logs/launcher.out"}
    assert [gap["start"] for gap in gaps] == [0, *(gap["end"] for gap in gaps[:-1])]
    entries = list(
        INDEX_ENTRY.iter_unpack((attempt.folder / "logs" / "launcher.out.idx").read_bytes())
    )
    offsets = [offset for offset, _ in entries]
    assert offsets == sorted(offsets)
    assert [at for _, at in entries] == sorted(at for _, at in entries)
