from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from cockpit.node import durable
from cockpit.node.failures import RequestFailedError
from cockpit.node.supervise import claims, commands
from cockpit.node.supervise.claims import Lock, Owner, Place
from cockpit.node.supervise.commands import Command, Inbox
from cockpit.protocol.records import ProcessId

JOB = "0123456789ab"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path), JOB, 0, 0)
    durable.make_folder(place.path)
    return place


def owner(nonce: str) -> Owner:
    return Owner(claims.host(), claims.machine(), ProcessId(1, 2, "b"), "ada", 3.0, nonce)


def test_a_claim_is_made_once_and_names_its_owner(place: Place) -> None:
    assert claims.read_owner(place) is None
    assert claims.claim(place, owner("one"))
    assert not claims.claim(place, owner("two"))
    found = claims.read_owner(place)
    assert found == owner("one")
    assert found.is_here
    assert sorted(os.listdir(place.path)) == ["claim"]
    assert claims.is_claimed_by(place, ProcessId(1, 2, "b"))
    assert not claims.is_claimed_by(place, ProcessId(1, 3, "b"))


def test_of_many_claims_at_once_one_wins(place: Place) -> None:
    for _ in range(20):
        place = dataclasses.replace(place, attempt=place.attempt + 1)
        durable.make_folder(place.path)
        barrier = threading.Barrier(8)
        won: list[str] = []

        def compete(name: str, place: Place, barrier: threading.Barrier, won: list[str]) -> None:
            barrier.wait()
            if claims.claim(place, owner(name)):
                won.append(name)

        threads = [
            threading.Thread(target=compete, args=(str(n), place, barrier, won)) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        found = claims.read_owner(place)
        assert found is not None and found.nonce == won[0]


def test_a_claim_whose_answer_was_lost_is_recognised(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may repeat a request that had succeeded, and answer "not there"."""
    rename = os.rename

    def repeated(source: str, target: str) -> None:
        rename(source, target)
        if target.endswith("/claim"):
            raise FileNotFoundError(2, "No such file or directory", source)

    monkeypatch.setattr(os, "rename", repeated)
    assert claims.claim(place, owner("one"))


def test_a_full_disk_leaves_no_half_claim(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full)
        with pytest.raises(OSError, match="No space"):
            claims.claim(place, owner("one"))
    assert os.listdir(place.path) == []
    assert claims.claim(place, owner("two"))


def test_other_machines_claims_are_not_ours() -> None:
    mine = owner("x")
    assert mine.is_here
    assert not dataclasses.replace(mine, host="another").is_here
    assert not dataclasses.replace(mine, machine="another").is_here


def test_attempts_are_listed_in_order_and_strangers_passed_over(tmp_path: Path) -> None:
    for path in (
        f"{JOB}/attempts/10/nodes/0",
        f"{JOB}/attempts/9/nodes/1",
        f"{JOB}/attempts/9/nodes/0",
        f"{JOB}/attempts/007/nodes/0",
        f"{JOB}/attempts/x/nodes/0",
        "not-a-job/attempts/0/nodes/0",
        f"{JOB}x/attempts/0/nodes/0",
        f"{JOB[::-1]}/attempts/0/nodes/3",
    ):
        (tmp_path / "jobs" / path).mkdir(parents=True)
    (tmp_path / "jobs" / "file").write_text("")
    found = [(p.job, p.attempt, p.node_rank) for p in claims.places(str(tmp_path))]
    assert found == [(JOB, 9, 0), (JOB, 9, 1), (JOB, 10, 0), (JOB[::-1], 0, 3)]
    assert [p.attempt for p in claims.places(str(tmp_path), JOB)] == [9, 9, 10]
    assert claims.places(str(tmp_path / "nothing")) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"null"])
def test_damaged_identities_are_no_identities(place: Place, damage: bytes) -> None:
    claims.claim(place, owner("x"))
    (Path(place.path) / "supervisor.json").write_bytes(damage)
    assert claims.supervisor_of(place) == ProcessId(1, 2, "b")
    assert not claims.is_supervised(place)
    (Path(place.path) / "claim" / "owner.json").write_bytes(damage)
    assert claims.read_owner(place) is None
    assert claims.supervisor_of(place) is None


def _hold(place: Place, held: object, release: object) -> None:
    assert Lock(place).acquire()
    held.set()  # type: ignore[attr-defined]
    release.wait(60)  # type: ignore[attr-defined]


def test_a_lock_is_freed_by_its_holders_death(place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(place, held, release))
    holder.start()
    assert held.wait(60)
    assert not Lock(place).acquire()
    holder.kill()
    holder.join(60)
    lock = Lock(place)
    assert lock.acquire()
    lock.release()
    assert lock.acquire()
    lock.release()


def command(name: str, do: str = "cancel") -> Command:
    return Command(name, do, "ada", "because\n☃", 1.5)


def test_commands_arrive_once_and_in_order(place: Place) -> None:
    inbox = Inbox(place.path, frozenset({"done"}))
    assert inbox.new(0.0) == []
    for number, name in enumerate(("zz", "done", "aa")):
        commands.leave(place.path, command(name))
        path = Path(place.path) / "commands" / f"{name}.json"
        os.utime(path, ns=(number * 10**9, number * 10**9))
    commands.leave(place.path, dataclasses.replace(command("zz"), do="go"))
    assert inbox.new(1.0) == [command("zz"), command("aa")]
    assert inbox.new(5.0) == []


def test_a_command_within_the_same_tick_of_the_clock_is_seen_soon(place: Place) -> None:
    inbox = Inbox(place.path)
    commands.leave(place.path, command("one"))
    folder = Path(place.path) / "commands"
    os.utime(folder, ns=(1, 1))
    assert inbox.new(0.0) == [command("one")]
    commands.leave(place.path, command("two"))
    os.utime(folder, ns=(1, 1))
    assert inbox.new(0.1) == []
    assert inbox.new(1.2) == [command("two")]


def test_what_is_no_command_is_passed_over(place: Place) -> None:
    folder = Path(place.path) / "commands"
    commands.lay_in_spares(place.path)
    document = {"id": "good", "do": "cancel", "by": "x"}
    for name, text in {
        "torn.json": '{"id": "torn", "do',
        ".good.1.2.json": json.dumps(document),
        "other.json": json.dumps(document),
        "list.json": "[]",
        "word.json": json.dumps({**document, "id": "word", "do": "explode"}),
        "good.json": json.dumps(document),
        "note.txt": "x",
    }.items():
        (folder / name).write_text(text)
    assert [found.id for found in Inbox(place.path).new(0.0)] == ["good"]


def test_a_full_disk_takes_as_many_commands_as_there_are_spares(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, data: bytes) -> bool:
        raise OSError(28, "No space left on device", path)

    commands.lay_in_spares(place.path)
    monkeypatch.setattr(durable, "write_new", full)
    for number in range(4):
        commands.leave(place.path, command(f"c{number}"))
    with pytest.raises(OSError, match="No space"):
        commands.leave(place.path, command("one-too-many"))
    assert {found.id for found in Inbox(place.path).new(0.0)} == {"c0", "c1", "c2", "c3"}
    assert [p.name for p in (Path(place.path) / "commands").iterdir() if "spare" in p.name] == []


@pytest.mark.parametrize("grace", [None, 0, 2.5])
def test_a_request_is_read_as_a_command(grace: float | None) -> None:
    request = {"id": "a-1", "do": "cancel", "by": "ada", "grace": grace, "op": "command"}
    assert commands.parse(request) == Command("a-1", "cancel", "ada", "", grace)
    with pytest.raises(RequestFailedError):
        commands.parse({**request, "id": ".hidden"})


def test_a_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    durable.write(str(path), b"old")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "write", full)
        with pytest.raises(OSError):
            durable.write(str(path), b"new")
        with pytest.raises(OSError):
            durable.write_new(str(tmp_path / "other"), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    assert durable.write_new(str(path), b"new") is False
    assert path.read_bytes() == b"old"
    durable.write(str(path), b"new")
    assert path.read_bytes() == b"new"


def test_a_file_system_without_links_still_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted", target)

    monkeypatch.setattr(os, "link", link)
    path = str(tmp_path / "file")
    assert durable.write_new(path, b"one") is True
    assert durable.write_new(path, b"two") is False
    assert Path(path).read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]
