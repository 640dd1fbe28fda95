"""A replay goes on for as long as the log does, though nothing else was told any more."""

from __future__ import annotations

import json
from pathlib import Path

from cockpit.protocol.frames import INDEX_ENTRY
from cockpit.tui.replay import ReplaySource, read

T0 = 1_760_000_000.0
LAST = 600
"""Seconds after the only event at which the last line was written."""


def _running(folder: Path) -> None:
    """What a job left that was recorded while it ran: one early event, ten minutes of lines."""
    logs = folder / "logs"
    (logs / "0").mkdir(parents=True)
    claim = {"job": "j", "attempt": 0, "node_rank": 0, "host": "gpu01"}
    event = {"seq": 0, "at": T0, "mono": 0.0, "kind": "claimed", **claim}
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")
    lines, index = b"", b""
    for second in range(LAST + 1):
        index += INDEX_ENTRY.pack(len(lines), T0 + second)
        lines += b"step %d\n" % second
    (logs / "0" / "0.out").write_bytes(lines)
    (logs / "0" / "0.out.idx").write_bytes(index)


def test_lines_that_were_written_after_the_last_event_are_played(tmp_path: Path) -> None:
    _running(tmp_path)
    mono = [0.0]
    source = ReplaySource(read(tmp_path), speed=60.0, mono=lambda: mono[0])
    log = source.log(source.job_id)
    mono[0] = 2.0
    assert source.banner == "REPLAY ×60"
    log.poll()
    assert 100 < log.end < LAST
    mono[0] = 20.0
    assert source.banner == "REPLAY ended"
    while log.poll():
        pass
    assert log.lines(log.end - 1, log.end)[0].data == b"step %d" % LAST
    log.close()


def test_a_log_without_times_ends_with_the_last_event(tmp_path: Path) -> None:
    _running(tmp_path)
    (tmp_path / "logs" / "0" / "0.out.idx").unlink()
    mono = [0.0]
    source = ReplaySource(read(tmp_path), mono=lambda: mono[0])
    mono[0] = 10.0
    assert source.banner == "REPLAY ended"
