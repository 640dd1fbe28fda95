"""Showing and storing host keys, with real servers and real known_hosts files."""

from __future__ import annotations

import asyncio
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cockpit.errors import HostKeyError
from cockpit.transport import trust
from cockpit.transport.factory import transport_for
from cockpit.transport.link import NodeLink
from cockpit.transport.trust import OfferedKey
from tests.harness.sshd import Sshd, cluster, make_key

WAIT = 60.0
MakeSshd = Callable[..., Sshd]


def fingerprint(sshd: Sshd) -> str:
    command = ["ssh-keygen", "-l", "-f", f"{sshd.host_key}.pub"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]


def ssh_keygen_finds(file: Path, host: str) -> bool:
    command = ["ssh-keygen", "-F", host, "-f", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def offered(tmp_path: Path, name: str, host: str = "gpu01", **changes: str) -> OfferedKey:
    public = Path(f"{make_key(tmp_path / name)}.pub").read_text()
    fields = {"node": name, "host": host, "state": "unknown", "key": public.rsplit(" ", 1)[0]}
    return OfferedKey(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.sshd
async def test_an_unknown_key_is_shown_stored_and_then_good_enough_to_connect(
    make_sshd: MakeSshd,
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd], trust=False)
    (key,) = await trust.scan(lab, lab.nodes)
    assert (key.node, key.state, key.key_type) == ("n1", "unknown", "ssh-ed25519")
    assert key.host == f"[127.0.0.1]:{sshd.port}"
    assert key.fingerprint == fingerprint(sshd)
    assert key.file == lab.known_hosts[0]
    assert await asyncio.to_thread(trust.write, key.file, [key]) == 1
    assert Path(key.file).read_text() == sshd.known_hosts_line
    (again,) = await trust.scan(lab, lab.nodes)
    assert again.state == "known"
    link = NodeLink("n1", transport_for(lab, lab.nodes[0]))
    await link.start()
    await link.ready(WAIT)
    await link.close()


@pytest.mark.sshd
async def test_a_changed_key_is_shown_with_the_known_one_and_cannot_be_stored(
    make_sshd: MakeSshd,
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])
    old = fingerprint(sshd)
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    (key,) = await trust.scan(lab, lab.nodes)
    assert key.state == "changed"
    assert key.fingerprint == fingerprint(sshd)
    assert key.known == (f"ssh-ed25519 {old}",)
    before = Path(key.file).read_bytes()
    with pytest.raises(HostKeyError, match="changed"):
        await asyncio.to_thread(trust.write, key.file, [key])
    assert Path(key.file).read_bytes() == before


@pytest.mark.sshd
async def test_the_jump_host_comes_first_and_the_node_once_it_is_trusted(
    make_sshd: MakeSshd,
) -> None:
    bastion, node = make_sshd("bastion"), make_sshd("n1", "127.0.0.2")
    way = f"{bastion.user}@127.0.0.1:{bastion.port}"
    lab = cluster([node], trust=False, proxy_jump=way, nodes=(node.node(), node.node(name="n2")))
    jump, first, second = await trust.scan(lab, lab.nodes)
    assert (jump.node, jump.state) == ("jump host 127.0.0.1", "unknown")
    assert first.state == second.state == "unreachable"
    assert "jump host 127.0.0.1 is not trusted yet" in first.why
    await asyncio.to_thread(trust.write, jump.file, [jump])
    jump, first, second = await trust.scan(lab, lab.nodes)
    assert (jump.state, first.state, second.state) == ("known", "unknown", "unknown")
    assert first.fingerprint == fingerprint(node)
    assert "Accepted" not in node.log.read_text()


@pytest.mark.sshd
async def test_a_node_that_is_down_does_not_hide_the_others(make_sshd: MakeSshd) -> None:
    up, down = make_sshd("up"), make_sshd("down")
    lab = cluster([up, down], trust=False)
    down.stop()
    first, second = await trust.scan(lab, lab.nodes)
    assert first.state == "unknown"
    assert second.state == "unreachable"
    assert "refused" in second.why


def test_a_new_file_is_private_and_so_is_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "new" / "known_hosts"
    trust.write(str(file), [offered(tmp_path, "a")])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert ssh_keygen_finds(file, "gpu01")


def test_what_is_in_the_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_bytes(b"# a comment\nbroken line")
    file.chmod(0o644)
    trust.write(str(file), [offered(tmp_path, "a"), offered(tmp_path, "b", "gpu02")])
    lines = file.read_bytes().splitlines()
    assert lines[:2] == [b"# a comment", b"broken line"]
    assert len(lines) == 4
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.glob("known_hosts*")] == ["known_hosts"]


def test_names_are_hashed_where_the_users_are(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    trust.write(str(file), [offered(tmp_path, "a", "first")])
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    trust.write(str(file), [offered(tmp_path, "b", "[10.0.0.1]:2222")])
    assert b"10.0.0.1" not in file.read_bytes()
    assert ssh_keygen_finds(file, "first")
    assert ssh_keygen_finds(file, "[10.0.0.1]:2222")


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles", tmp_path / "known_hosts"
    real.write_text("")
    link.symlink_to(real)
    trust.write(str(link), [offered(tmp_path, "a")])
    assert link.is_symlink()
    assert ssh_keygen_finds(real, "gpu01")


def test_known_keys_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    assert trust.write(str(file), [offered(tmp_path, "a", state="known")]) == 0
    assert not file.exists()
