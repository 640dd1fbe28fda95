"""Requests as files: left whole, handed out once, and never trusted."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import pytest

from cockpit.node.launch.requests import RESTART, STOP, Inbox, Request, decode
from cockpit.node.supervise import asking

NOW = 100.0


def left(
    folder: pathlib.Path, name: str, do: str = RESTART, generation: int | None = None, **more: Any
) -> Request:
    request = Request(name, do, generation, "ada", "because", **more)
    asking.leave(str(folder), request)
    return request


def taken(inbox: Inbox, generation: int, now: float = NOW) -> Request | None:
    request = inbox.next(generation, now)
    if request is not None:
        inbox.obeyed(request.id)
    return request


def test_what_is_left_is_handed_out_once_oldest_first(tmp_path: pathlib.Path) -> None:
    inbox = Inbox(str(tmp_path))
    assert inbox.next(0, NOW) is None
    first = left(tmp_path, "b", RESTART, 0, cost=True, grace=2.0)
    os.utime(tmp_path / "requests" / "b.json", ns=(1, 1))
    second = left(tmp_path, "a", STOP)
    assert inbox.next(0, NOW) == inbox.next(0, NOW) == first, "until it is obeyed"
    assert [taken(inbox, 0, NOW + n) for n in range(3)] == [first, second, None]
    left(tmp_path, "a", RESTART, 0)
    assert inbox.next(0, NOW + 9) is None, "the same id is the same request"
    assert (tmp_path / "requests" / "a.json").stat().st_mode & 0o777 == 0o600


def test_a_request_for_an_older_generation_is_dropped_and_one_for_a_later_waits(
    tmp_path: pathlib.Path,
) -> None:
    left(tmp_path, "old", generation=0)
    later = left(tmp_path, "later", generation=2)
    inbox = Inbox(str(tmp_path))
    assert inbox.next(1, NOW) is None
    assert taken(inbox, 2) == later
    assert inbox.next(0, NOW + 9) is None


def test_one_that_came_from_another_node_is_not_handed_out_again(tmp_path: pathlib.Path) -> None:
    inbox = Inbox(str(tmp_path))
    left(tmp_path, "late")
    inbox.obeyed("late")
    assert inbox.next(5, NOW) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"id": "x", "do": "restart"',
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"id": "x", "do": "dance"}',
        b'{"do": "restart"}',
        b'{"id": "x", "do": "restart", "generation": "0"}',
        b'{"id": "x", "do": "restart", "generation": true}',
    ],
)
def test_a_file_that_holds_no_request_is_ignored_and_hides_no_other(
    tmp_path: pathlib.Path, content: bytes
) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    (folder / "x.json").write_bytes(content)
    (folder / ".half.json").write_text(json.dumps({"id": ".half", "do": "stop"}))
    (folder / "notes.txt").write_text("of somebody")
    good = left(tmp_path, "y", STOP)
    inbox = Inbox(str(tmp_path))
    assert [taken(inbox, 0), taken(inbox, 0, NOW + 9)] == [good, None]


@pytest.mark.parametrize("grace", ["soon", -1, float("nan"), float("inf"), True, None])
def test_a_grace_that_is_no_time_is_the_usual_one(grace: object) -> None:
    read = decode(json.dumps({"id": "x", "do": "restart", "grace": grace}).encode())
    assert read == Request("x", RESTART, None, "", "")


def test_a_file_that_arrives_in_the_same_tick_of_the_clock_is_found_a_second_later(
    tmp_path: pathlib.Path,
) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    inbox = Inbox(str(tmp_path))
    assert inbox.next(0, NOW) is None
    before = folder.stat()
    request = left(tmp_path, "x")
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inbox.next(0, NOW + 0.1) is None
    assert inbox.next(0, NOW + 1.1) == request
