"""The code store: what is uploaded arrives whole, or not at all, and never outside its folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cockpit import packaging
from cockpit.protocol.frames import OFFSET, Kind
from tests.node.agent_client import AgentClient, Failed

Build = Callable[[tarfile.TarFile], None]


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


def archive(build: Build) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        build(tar)
    return buffer.getvalue()


def upload(agent: AgentClient, data: bytes, digest: str = "", size: int = -1) -> dict[str, object]:
    digest = digest or hashlib.sha256(data).hexdigest()
    stream = agent.request("put_code", digest=digest, size=len(data) if size < 0 else size)
    reply = agent.answer(stream)
    if reply["present"]:
        return reply
    for start in range(0, len(data), 100_000):
        agent.send(Kind.DATA, stream, data[start : start + 100_000])
    agent.send(Kind.END, stream, b"{}")
    return agent.end(stream)


def code(state_dir: Path, data: bytes) -> Path:
    return state_dir / "code" / hashlib.sha256(data).hexdigest()


def leftovers(state_dir: Path) -> list[str]:
    folder = state_dir / "tmp"
    return os.listdir(folder) if folder.exists() else []


def a_project(tar: tarfile.TarFile) -> None:
    add(tar, "train.py", b"print('hi')\n")
    add(tar, "bin/run me.sh", b"#!/bin/sh\n", mode=0o755)
    add(tar, "deep/er/data.bin", os.urandom(300_000))
    add(tar, "name \n$(x) \xfc", b"odd")
    add(tar, "empty", type=tarfile.DIRTYPE, mode=0o755)
    add(tar, "locked", type=tarfile.DIRTYPE, mode=0o555)
    add(tar, "locked/file", b"below", mode=0o444)
    add(tar, "setuid", b"x", mode=0o6755)
    add(tar, "link", type=tarfile.SYMTYPE, linkname="train.py")
    add(tar, "away", type=tarfile.SYMTYPE, linkname="/etc/passwd")


def test_an_uploaded_folder_is_unpacked_with_its_modes_and_links(
    state_dir: Path, agent: AgentClient
) -> None:
    data = archive(a_project)
    assert agent.call("has_code", digest=hashlib.sha256(data).hexdigest()) == {"present": False}
    result = upload(agent, data)
    folder = code(state_dir, data)
    assert result["files"] == 6
    assert (folder / "train.py").read_bytes() == b"print('hi')\n"
    assert (folder / "name \n$(x) \xfc").read_bytes() == b"odd"
    modes = {
        path.name: stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }
    assert modes["run me.sh"] == 0o755
    assert modes["file"] == 0o444
    assert modes["locked"] == 0o755
    assert modes["setuid"] == 0o755
    assert os.readlink(folder / "link") == "train.py"
    assert os.readlink(folder / "away") == "/etc/passwd"
    assert leftovers(state_dir) == []


def test_the_same_code_is_uploaded_once(state_dir: Path, agent: AgentClient) -> None:
    data = archive(a_project)
    upload(agent, data)
    assert upload(agent, data) == {"present": True}
    assert agent.call("has_code", digest=hashlib.sha256(data).hexdigest()) == {"present": True}


def test_two_uploads_of_the_same_code_at_once_both_succeed(
    state_dir: Path, agent: AgentClient
) -> None:
    data = archive(a_project)
    digest = hashlib.sha256(data).hexdigest()
    streams = [agent.request("put_code", digest=digest, size=len(data)) for _ in range(3)]
    for stream in streams:
        assert agent.answer(stream) == {"present": False}
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        for stream in streams:
            agent.send(Kind.DATA, stream, part)
    for stream in streams:
        agent.send(Kind.END, stream, b"{}")
    assert [agent.end(stream)["files"] for stream in streams] == [6, 6, 6]
    assert (code(state_dir, data) / "train.py").exists()
    assert leftovers(state_dir) == []


@pytest.mark.parametrize("damage", ["digest", "short", "long", "flipped"])
def test_a_damaged_upload_is_refused_and_leaves_nothing(
    state_dir: Path, agent: AgentClient, damage: str
) -> None:
    data = archive(a_project)
    digest = hashlib.sha256(data).hexdigest()
    sent = {
        "digest": data,
        "short": data[:-1],
        "long": data + b"x",
        "flipped": data[:600] + bytes([data[600] ^ 1]) + data[601:],
    }[damage]
    with pytest.raises(Failed, match="damaged") as failed:
        upload(agent, sent, "0" * 64 if damage == "digest" else digest, len(data))
    assert failed.value.code == "bad_archive"
    assert not (state_dir / "code").exists() or os.listdir(state_dir / "code") == []
    assert leftovers(state_dir) == []
    assert agent.call("clock")["wall"] > 0


def below_link(tar: tarfile.TarFile) -> None:
    add(tar, "out", type=tarfile.SYMTYPE, linkname="/tmp")
    add(tar, "out/escaped", b"x")


def below_link_folder(tar: tarfile.TarFile) -> None:
    add(tar, "out", type=tarfile.SYMTYPE, linkname="..")
    add(tar, "out/dir/", type=tarfile.DIRTYPE)


def link_over_folder(tar: tarfile.TarFile) -> None:
    add(tar, "out/file", b"x")
    add(tar, "out", type=tarfile.SYMTYPE, linkname="/tmp")


def twice(tar: tarfile.TarFile) -> None:
    add(tar, "a", b"1")
    add(tar, "a", b"2")


def file_as_folder(tar: tarfile.TarFile) -> None:
    add(tar, "a", b"1")
    add(tar, "a/b", b"2")


HOSTILE: dict[str, Build] = {
    "absolute": lambda tar: add(tar, "/etc/cron.d/x", b"x"),
    "dotdot": lambda tar: add(tar, "../../escaped", b"x"),
    "inner dotdot": lambda tar: add(tar, "a/../../escaped", b"x"),
    "dotdot folder": lambda tar: add(tar, "..", type=tarfile.DIRTYPE),
    "below a link": below_link,
    "folder below a link": below_link_folder,
    "link over a folder": link_over_folder,
    "device": lambda tar: add(tar, "null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "pipe": lambda tar: add(tar, "pipe", type=tarfile.FIFOTYPE),
    "hard link": lambda tar: add(tar, "hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "twice": twice,
    "file as folder": file_as_folder,
    "no name": lambda tar: add(tar, "./", b"x"),
}


@pytest.mark.parametrize("build", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_that_reaches_out_of_its_folder_is_refused_whole(
    state_dir: Path, one_agent: AgentClient, build: Build
) -> None:
    def with_more(tar: tarfile.TarFile) -> None:
        add(tar, "innocent", b"x")
        build(tar)

    before = {str(path) for path in state_dir.parent.rglob("*")}
    with pytest.raises(Failed, match="archive") as failed:
        upload(one_agent, archive(with_more))
    assert failed.value.code == "bad_archive"
    assert leftovers(state_dir) == []
    after = {str(path) for path in state_dir.parent.rglob("*")}
    assert {path for path in after - before if not path.endswith(("/tmp", "/code"))} == set()
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize("data", [b"no tar at all", b"\x1f\x8b\x08" + b"x" * 600, b"x" * 5000])
def test_what_is_no_tar_file_is_refused(
    state_dir: Path, one_agent: AgentClient, data: bytes
) -> None:
    with pytest.raises(Failed) as failed:
        upload(one_agent, data)
    assert failed.value.code == "bad_archive"
    assert leftovers(state_dir) == []


def test_an_upload_that_is_closed_or_cut_off_leaves_nothing(
    state_dir: Path, agent: AgentClient
) -> None:
    data = archive(a_project)
    digest = hashlib.sha256(data).hexdigest()
    for way in ("close", "hang up"):
        stream = agent.request("put_code", digest=digest, size=len(data))
        agent.answer(stream)
        agent.send(Kind.DATA, stream, data[:1000])
        agent.call("clock")
        (name,) = leftovers(state_dir)
        assert stat.S_IMODE((state_dir / "tmp" / name).stat().st_mode) == 0o600
        if way == "close":
            agent.close_stream(stream)
            agent.end(stream)
        else:
            agent.hang_up()
        assert leftovers(state_dir) == []


def test_what_killed_agents_left_is_swept_after_a_day(
    state_dir: Path, one_agent: AgentClient
) -> None:
    old, young = state_dir / "tmp/old", state_dir / "tmp/young.tar"
    (old / "folder").mkdir(parents=True)
    young.write_text("")
    os.chmod(old / "folder", 0o500)
    os.utime(old, (1, 1))
    upload(one_agent, archive(a_project))
    assert leftovers(state_dir) == ["young.tar"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A state folder on a file system of 20 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("cannot mount a small file system here")
    return folder


@pytest.fixture
def small_agent(small_disk: Path) -> object:
    client = AgentClient(small_disk)
    client.hello()
    yield client
    client.stop()
    subprocess.run(["umount", "-l", str(small_disk)], check=True)


def test_an_upload_that_cannot_fit_is_refused_before_it_is_sent(
    small_disk: Path, small_agent: AgentClient
) -> None:
    with pytest.raises(Failed, match=r"no space left .* needs .* MB, .* MB free") as failed:
        small_agent.call("put_code", digest="0" * 64, size=15_000_000)
    assert failed.value.code == "no_space"
    assert str(small_disk) in failed.value.message
    assert "state_dir" in failed.value.hint


def test_a_disk_that_fills_up_during_an_upload_is_named_and_cleaned(
    small_disk: Path, small_agent: AgentClient
) -> None:
    data = archive(lambda tar: add(tar, "data", os.urandom(5_000_000)))
    digest = hashlib.sha256(data).hexdigest()
    stream = small_agent.request("put_code", digest=digest, size=len(data))
    small_agent.answer(stream)
    (small_disk / "ballast").write_bytes(b"x" * 18_000_000)
    for start in range(0, len(data), 1_000_000):
        small_agent.send(Kind.DATA, stream, data[start : start + 1_000_000])
    small_agent.send(Kind.END, stream, b"{}")
    with pytest.raises(Failed, match="no space left"):
        small_agent.end(stream)
    assert leftovers(small_disk) == []
    assert small_agent.call("clock")["wall"] > 0


def test_a_read_only_state_folder_is_named(small_disk: Path, small_agent: AgentClient) -> None:
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    with pytest.raises(Failed, match="read-only") as failed:
        small_agent.call("put_code", digest="0" * 64, size=10)
    assert failed.value.code == "read_only"
    checks = {check["check"]: check for check in small_agent.call("preflight")["checks"]}
    assert checks["state_dir"]["level"] == "crit"
    assert "read-only" in json.dumps(checks["state_dir"]).lower()
    assert checks["disk"]["level"] == "crit"


def test_the_archive_of_stored_code_comes_back_byte_for_byte(
    state_dir: Path, agent: AgentClient, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    (work / "deep/er").mkdir(parents=True)
    (work / "train.py").write_text("print('hi')\n")
    (work / "deep/er/data.bin").write_bytes(os.urandom(700_001))
    (work / "deep/run me.sh").write_text("#!/bin/sh\n")
    (work / "deep/run me.sh").chmod(0o755)
    (work / "deep/é").touch()
    (work / "folder-link").symlink_to("deep")
    (work / ("long" * 40)).write_text("a name that needs a header of its own")
    package = packaging.pack(work)
    data = b"".join(package.chunks())
    assert upload(agent, data, package.digest)["files"] == 5
    stream = agent.request("get_code", digest=package.digest)
    agent.answer(stream)
    back = b""
    while len(back) < len(data):
        frame = agent.next(stream)
        back += frame.payload[OFFSET.size :]
        agent.send(Kind.CREDIT, stream, OFFSET.pack(len(frame.payload)))
    agent.end(stream)
    assert back == data
    with pytest.raises(Failed, match="is not on"):
        agent.call("get_code", digest="ab" * 32)
