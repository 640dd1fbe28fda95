"""The file that tells what a mirror holds: late writings, failures, and threads."""

from __future__ import annotations

import os
from pathlib import Path

from cockpit.model.mirror import MirrorStore, StreamKey
from tests.model.scenarios import JOB

KEY = StreamKey(job=JOB, attempt=0, node_rank=1, generation=0, local_rank=1, stream="out")


def test_what_was_overtaken_never_lands_on_what_is_newer(tmp_path: Path) -> None:
    store = MirrorStore(tmp_path)
    stream = store.stream(KEY)
    stream.write(0, b"abc")
    early = stream.unsaved()
    assert early is not None
    assert stream.unsaved() is None, "nothing changed since"
    stream.write(3, b"def")
    stream.persist()
    assert early.write() is None
    os.close(store._lock)  # what the kernel does at a SIGKILL
    store._lock = -1
    again = MirrorStore(tmp_path)
    assert again.stream(KEY).held == ((0, 6),)
    again.close()


def test_nothing_is_written_any_more_once_a_mirror_is_gone(tmp_path: Path) -> None:
    problems: list[str] = []
    store = MirrorStore(tmp_path, problems.append)
    stream = store.stream(KEY)
    stream.write(0, b"abc")
    late = stream.unsaved()
    assert late is not None
    store.remove(JOB)
    assert late.write() is None
    assert problems == []
    assert not (store.folder / JOB).exists()
    store.close()


def test_what_could_not_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    problems: list[str] = []
    store = MirrorStore(tmp_path, problems.append)
    stream = store.stream(KEY)
    stream.write(0, b"abc")
    stream.flush()
    (store.folder / f"{KEY.path}.ranges").mkdir()
    unsaved = stream.unsaved()
    assert unsaved is not None
    error = unsaved.write()
    assert error is not None
    assert problems == []
    unsaved.failed(error)
    assert "cannot keep the log mirror" in problems[0]
    (store.folder / f"{KEY.path}.ranges").rmdir()
    stream.persist()
    assert (store.folder / f"{KEY.path}.ranges").is_file()
    store.close()
