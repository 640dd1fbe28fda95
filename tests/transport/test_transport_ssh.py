"""Real OpenSSH servers: connecting, refusing, bootstrapping, losing and resuming."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cockpit.errors import (
    AuthenticationError,
    BootstrapError,
    ExitCode,
    HostKeyError,
    LinkError,
)
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.transport import ssh, sshclient
from cockpit.transport.base import LinkState
from cockpit.transport.factory import cluster_ssh, transport_for
from cockpit.transport.link import NodeLink
from tests.harness.proxy import Proxy
from tests.harness.sshd import Sshd, cluster, make_key

pytestmark = pytest.mark.sshd

WAIT = 60.0
MakeSshd = Callable[..., Sshd]
Connect = Callable[..., Any]


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()
        self.detachments = 0

    def opened(self, offset: int, size: int) -> None:
        assert offset == len(self.data)

    def received(self, offset: int, data: bytes) -> None:
        assert offset == len(self.data)
        self.data += data

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        pass

    def replaced(self) -> None:
        raise AssertionError("nobody replaced the file")

    def detached(self) -> None:
        self.detachments += 1


async def until(condition: Callable[[], object], seconds: float = WAIT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.01)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make a started link to a node of a cluster, the first unless given; all are closed."""
    links: list[NodeLink] = []

    async def make(lab: Cluster, node: NodeSpec | None = None, **options: Any) -> NodeLink:
        node = node or lab.nodes[0]
        link = NodeLink(node.name, transport_for(lab, node), **options)
        links.append(link)
        await link.start()
        return link

    yield make
    await asyncio.gather(*(link.close() for link in links))


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """This user id has no name, as in a container that was given a number."""

    def unknown(uid: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


# Reaching a node


async def test_a_user_id_without_a_name_logs_in_under_that_of_the_profile(
    make_sshd: MakeSshd, connect: Connect, request: pytest.FixtureRequest
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])
    request.getfixturevalue("nameless")
    assert (await (await connect(lab)).ready(WAIT)).user == sshd.user


async def test_a_user_id_without_any_name_is_told_what_to_set(
    make_sshd: MakeSshd, connect: Connect, request: pytest.FixtureRequest
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd], user=None)
    request.getfixturevalue("nameless")
    for _ in range(2):
        link = await connect(lab)
        with pytest.raises(LinkError) as failed:
            await link.ready(WAIT)
        assert failed.value.message == (
            f"n1: this user id ({os.getuid()}) has no name here to log in with"
        )
        assert failed.value.hint.startswith("set USER")
        assert not failed.value.retry


async def test_a_node_is_reached_and_keeps_everything_in_its_own_home(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    link = await connect(cluster([sshd]))
    hello = await link.ready(WAIT)
    assert hello.user == sshd.user
    assert hello.address == "127.0.0.1"
    assert hello.state_dir == str(sshd.state_dir)
    assert (await link.request("clock"))["wall"] == pytest.approx(time.time(), abs=30)
    assert stat.S_IMODE(sshd.state_dir.stat().st_mode) == 0o700
    runtime = sshd.state_dir / "runtime" / hello.runtime
    assert (runtime / "cockpit/node/agent/agent.py").is_file()
    assert [entry.name for entry in runtime.parent.iterdir()] == [hello.runtime]
    for path in sshd.state_dir.rglob("*"):
        assert not path.stat().st_mode & 0o077, path


async def test_the_second_connect_sends_no_runtime(make_sshd: MakeSshd, connect: Connect) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])
    hello = await (await connect(lab)).ready(WAIT)
    before = (sshd.state_dir / "runtime" / hello.runtime).stat().st_ino
    again = await (await connect(lab)).ready(WAIT)
    assert again.runtime == hello.runtime
    assert (sshd.state_dir / "runtime" / hello.runtime).stat().st_ino == before


async def test_a_damaged_runtime_on_the_node_is_replaced(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])
    link = await connect(lab)
    hello = await link.ready(WAIT)
    await link.close()
    agent = sshd.state_dir / "runtime" / hello.runtime / "cockpit/node/agent/agent.py"
    original = agent.read_bytes()
    agent.write_bytes(b"raise SystemExit('tampered with')\n")
    assert (await (await connect(lab)).ready(WAIT)).runtime == hello.runtime
    assert agent.read_bytes() == original


async def test_two_controllers_that_bootstrap_at_once_both_get_an_agent(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    links = [await connect(cluster([sshd])) for _ in range(6)]
    hellos = await asyncio.gather(*(link.ready(WAIT) for link in links))
    assert len({hello.pid for hello in hellos}) == 6
    assert len(list((sshd.state_dir / "runtime").iterdir())) == 1


async def test_thirty_two_connects_at_once_to_one_server_all_succeed(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    # sshd turns connections away from the tenth unauthenticated one on.
    sshd = make_sshd("n1", config_lines=["MaxStartups 10:100:11"])
    lab = cluster([sshd])
    links = [await connect(lab) for _ in range(32)]
    await asyncio.gather(*(link.ready(WAIT) for link in links))
    assert all(link.link.attempts == 0 for link in links)
    # One that we count as done may still count as starting there; 32 at once would lose 20.
    assert sshd.log.read_text().count("past MaxStartups") < 8


async def test_a_server_that_turns_connections_away_is_tried_again(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    with Proxy("127.0.0.1", sshd.port) as proxy:
        lab = cluster([sshd], nodes=(sshd.node(port=proxy.port),))
        known = Path(lab.known_hosts[0])
        known.write_text(known.read_text().replace(str(sshd.port), str(proxy.port)))
        proxy.refuse()
        link = await connect(lab)
        await until(lambda: proxy.connections >= 2)
        assert link.link.attempts == 0
        proxy.heal()
        await link.ready(WAIT)
        await link.close()


async def test_nothing_of_ours_is_forwarded_to_a_node(
    make_sshd: MakeSshd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent/agent")
    monkeypatch.setenv("DISPLAY", ":77")
    monkeypatch.setenv("LANG", "C.cockpit")
    link = await connect(cluster([make_sshd("n1", config_lines=["AcceptEnv *"])]))
    await link.ready(WAIT)
    environment = (await link.execute(["/usr/bin/env"])).stdout.decode()
    assert "SSH_AUTH_SOCK" not in environment
    assert "DISPLAY" not in environment
    assert "C.cockpit" not in environment


# Not reaching a node


async def failing(link: NodeLink) -> LinkError:
    with pytest.raises(LinkError) as caught:
        await link.ready(WAIT)
    assert link.name in caught.value.message
    return caught.value


async def test_an_unknown_host_key_is_refused_with_the_way_to_trust_it(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd], trust=False)
    error = await failing(await connect(lab))
    assert isinstance(error, HostKeyError)
    assert not error.changed
    assert "not known" in error.message
    assert fingerprint(sshd) in error.message
    assert "cockpit trust n1" in error.hint
    assert not Path(lab.known_hosts[0]).exists()


async def test_a_changed_host_key_is_refused_with_both_fingerprints(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])
    old = fingerprint(sshd)
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    error = await failing(await connect(lab))
    assert isinstance(error, HostKeyError)
    assert error.changed
    assert old in error.message
    assert fingerprint(sshd) in error.message
    assert "ssh-keygen -R" in error.hint
    assert error.exit_code is ExitCode.PERMISSION


async def test_a_host_key_of_another_type_than_the_known_one_counts_as_changed(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])
    other = tmp_path / "ecdsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(other)], check=True)
    key = " ".join(Path(f"{other}.pub").read_text().split()[:2])
    Path(lab.known_hosts[0]).write_text(f"[127.0.0.1]:{sshd.port} {key}\n")
    error = await failing(await connect(lab))
    assert isinstance(error, HostKeyError)
    assert error.changed


async def test_of_several_host_keys_the_known_one_is_asked_for(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path
) -> None:
    other = tmp_path / "ecdsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(other)], check=True)
    sshd = make_sshd("n1", config_lines=[f"HostKey {other}"])
    lab = cluster([sshd])
    key = " ".join(Path(f"{other}.pub").read_text().split()[:2])
    Path(lab.known_hosts[0]).write_text(f"[127.0.0.1]:{sshd.port} {key}\n")
    await (await connect(lab)).ready(WAIT)


async def test_a_revoked_host_key_is_refused(make_sshd: MakeSshd, connect: Connect) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])
    known = Path(lab.known_hosts[0])
    known.write_text(known.read_text() + "@revoked * " + sshd.host_public_key + "\n")
    error = await failing(await connect(lab))
    assert isinstance(error, HostKeyError)
    assert "revoked" in error.message


async def test_a_host_certificate_of_a_known_authority_is_accepted(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path
) -> None:
    authority = make_key(tmp_path / "authority")
    sshd = Sshd(tmp_path / "sshd", "n1")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-h", "-I", "n1", "-n", "127.0.0.1"]
    subprocess.run([*sign, f"{sshd.host_key}.pub"], check=True)
    sshd.config_lines.append(f"HostCertificate {sshd.host_key}-cert.pub")
    sshd.start()
    try:
        lab = cluster([sshd])
        public = Path(f"{authority}.pub").read_text()
        Path(lab.known_hosts[0]).write_text(f"@cert-authority *,[127.0.0.1]:* {public}")
        await (await connect(lab)).ready(WAIT)
    finally:
        sshd.stop()


async def test_a_key_that_is_not_accepted_is_tried_once_and_not_again(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path
) -> None:
    sshd = make_sshd("n1")
    stranger = make_key(tmp_path / "stranger")
    link = await connect(cluster([sshd], identity_file=(str(stranger),)), retry_first=0.01)
    error = await failing(link)
    assert isinstance(error, AuthenticationError)
    assert error.exit_code is ExitCode.PERMISSION
    assert "stranger" in error.message
    assert link.link.state is LinkState.UNREACHABLE
    await asyncio.sleep(0.3)
    assert sshd.log.read_text().count("Connection from") == 1


async def test_a_server_that_wants_a_password_is_told_apart(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    lines = ["PubkeyAuthentication no", "PasswordAuthentication yes", "Banner /etc/hostname"]
    error = await failing(await connect(cluster([make_sshd("n1", config_lines=lines)])))
    assert isinstance(error, AuthenticationError)
    assert Path("/etc/hostname").read_text().strip() in error.hint


async def test_a_key_file_that_is_missing_or_locked_is_named(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path
) -> None:
    sshd = make_sshd("n1")
    missing = await failing(await connect(cluster([sshd], identity_file=("/no/such/key",))))
    assert isinstance(missing, AuthenticationError)
    assert "/no/such/key does not exist" in missing.message
    locked = tmp_path / "locked"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True
    )
    error = await failing(await connect(cluster([sshd], identity_file=(str(locked),))))
    assert isinstance(error, AuthenticationError)
    assert "needs a passphrase" in error.hint + error.message
    assert str(locked) in error.hint + error.message


async def test_a_locked_key_works_when_the_agent_holds_it(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd = make_sshd("n1")
    locked = tmp_path / "locked"
    shutil.copy(sshd.client_key, locked)
    shutil.copy(f"{sshd.client_key}.pub", f"{locked}.pub")
    socket = f"/tmp/cockpit-agent-{os.getpid()}"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        await until(lambda: os.path.exists(socket))
        environment = {**os.environ, "SSH_AUTH_SOCK": socket}
        subprocess.run(["ssh-add", "-q", str(locked)], env=environment, check=True)
        change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(locked)]
        subprocess.run(change, check=True)
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        link = await connect(cluster([sshd], identity_file=(str(locked),)))
        await link.ready(WAIT)
    finally:
        agent.kill()
        agent.wait()
        Path(socket).unlink(missing_ok=True)


async def test_each_way_not_to_be_reachable_has_its_own_words(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    lab = cluster([sshd])

    async def message(**changes: Any) -> str:
        link = await connect(lab, sshd.node(**changes))
        await until(lambda: link.link.state is LinkState.UNREACHABLE)
        assert link.link.hint
        return str(link.link.why)

    port = sshd.port
    sshd.stop()
    assert "connection refused" in await message(port=port)
    assert "cannot be resolved" in await message(host="no-such-host.invalid")
    assert "no host name" in await message_of(
        await connect(lab, sshd.node(host="-oProxyCommand=x"))
    )
    assert "no user name" in await message_of(await connect(lab, sshd.node(user="-l root")))


async def message_of(link: NodeLink) -> str:
    with pytest.raises(LinkError) as caught:
        await link.ready(WAIT)
    assert not caught.value.retry
    return caught.value.message


async def test_a_frozen_server_is_told_from_a_silent_network(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    sshd.pause()
    link = await connect(cluster([sshd], connect_timeout=0.5))
    await until(lambda: link.link.state is LinkState.UNREACHABLE)
    assert "did not finish the SSH login" in link.link.why
    sshd.resume()


async def test_what_does_not_speak_ssh_is_said_to_be_so(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sshd = make_sshd("n1")
    link = await connect(cluster([sshd]), sshd.node(port=port))
    await until(lambda: link.link.state is LinkState.UNREACHABLE)
    assert "n1" in link.link.why
    server.close()
    await server.wait_closed()


# Shells, interpreters, folders


SHELLS = [
    path
    for name in ("sh", "dash", "bash", "zsh", "fish", "tcsh", "csh", "ksh", "mksh")
    if (path := shutil.which(name)) is not None
]


@pytest.mark.parametrize("shell", SHELLS)
async def test_every_login_shell_starts_the_agent(
    make_sshd: MakeSshd, connect: Connect, shell: str
) -> None:
    sshd = make_sshd("n1", config_lines=[f'ForceCommand exec {shell} -c "$SSH_ORIGINAL_COMMAND"'])
    await (await connect(cluster([sshd]))).ready(WAIT)


async def test_noise_before_the_agent_is_passed_over(make_sshd: MakeSshd, connect: Connect) -> None:
    noise = "head -c 200000 /dev/urandom; echo motd >&2; printf half-a-line"
    lines = [f'ForceCommand {noise}; exec sh -c "$SSH_ORIGINAL_COMMAND"']
    link = await connect(cluster([make_sshd("n1", config_lines=lines)]))
    await link.ready(WAIT)
    await link.request("clock")


async def test_a_noisy_bashrc_is_passed_over(make_sshd: MakeSshd, connect: Connect) -> None:
    sshd = make_sshd("n1")
    (sshd.home / ".bashrc").write_text("echo hello; printf '\\377\\000\\033]0;x\\007'\n")
    await (await connect(cluster([sshd]))).ready(WAIT)


async def test_noise_without_end_is_given_up(make_sshd: MakeSshd, connect: Connect) -> None:
    link = await connect(cluster([make_sshd("n1", config_lines=["ForceCommand exec yes spam"])]))
    error = await failing(link)
    assert isinstance(error, BootstrapError)
    assert "prints without end" in error.message
    assert "spam" in error.message


async def test_a_node_without_python_says_what_was_tried(
    make_sshd: MakeSshd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "INTERPRETERS", ("python3-not-here", "/no/such/python3"))
    error = await failing(await connect(cluster([make_sshd("n1")])))
    assert isinstance(error, BootstrapError)
    assert "python3-not-here: exit code 127" in error.message
    assert "/no/such/python3: exit code 127" in error.message
    assert "not found" in error.message
    assert "`python`" in error.hint


async def test_the_jobs_python_is_the_last_resort_of_the_agent(
    make_sshd: MakeSshd, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spaced = tmp_path / "my venv (3)" / "python"
    spaced.parent.mkdir()
    spaced.symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(ssh, "INTERPRETERS", ("python3-not-here",))
    link = await connect(cluster([make_sshd("n1")], python=str(spaced)))
    hello = await link.ready(WAIT)
    assert hello.executable == str(spaced)


async def test_an_old_python_is_passed_over_and_named_when_it_is_the_only_one(
    make_sshd: MakeSshd, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "python-old"
    lie = "import sys;sys.version_info=(3,6,8);sys.version='3.6.8 x'"
    old.write_text(f'#!/bin/sh\nshift 4\nexec python3 -I -S -u -c "{lie};$1"\n')
    old.chmod(0o755)
    sshd = make_sshd("n1")
    monkeypatch.setattr(ssh, "INTERPRETERS", (str(old),))
    error = await failing(await connect(cluster([sshd])))
    assert isinstance(error, BootstrapError)
    assert "Python 3.6.8 is too old, 3.9 is needed" in error.message
    assert not sshd.state_dir.exists()
    monkeypatch.setattr(ssh, "INTERPRETERS", (str(old), "/usr/bin/python3"))
    await (await connect(cluster([sshd]))).ready(WAIT)


@pytest.mark.parametrize(
    ("state_dir", "words"),
    [
        ("/proc/1/cockpit", "cannot write below /proc/1/cockpit"),
        ("/etc/passwd/cockpit", "is not a folder"),
        ("relative/path", "not an absolute path"),
        ("/usr/sbin/sshd", "it is not a folder"),
    ],
)
async def test_a_state_dir_that_cannot_be_used_is_named(
    make_sshd: MakeSshd, connect: Connect, state_dir: str, words: str
) -> None:
    error = await failing(await connect(cluster([make_sshd("n1")], state_dir=state_dir)))
    assert isinstance(error, BootstrapError)
    assert words in error.message
    assert error.hint


async def test_a_state_dir_of_somebody_else_or_open_to_others_is_refused(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path
) -> None:
    sshd = make_sshd("n1")
    foreign = "/usr"
    if os.geteuid() == 0:
        foreign = str(tmp_path / "foreign")
        os.mkdir(foreign, 0o755)
        os.chown(foreign, 65534, 65534)
    error = await failing(await connect(cluster([sshd], state_dir=foreign)))
    assert "belongs to user id" in error.message
    open_dir = tmp_path / "open"
    open_dir.mkdir()
    open_dir.chmod(0o777)
    error = await failing(await connect(cluster([sshd], state_dir=str(open_dir))))
    assert "written by other users" in error.message
    assert "chmod" in error.hint


@pytest.mark.parametrize(
    ("options", "words"),
    [("size=64k", "no space is left"), ("ro", "the file system is read-only")],
)
async def test_a_full_or_read_only_home_is_named_and_leaves_nothing_half_done(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path, options: str, words: str
) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine allows no mount namespaces")
    mounted = tmp_path / "small"
    mounted.mkdir()
    script = tmp_path / "session"
    script.write_text(
        f'#!/bin/sh\nmount -t tmpfs -o {options} tmpfs "{mounted}"\n'
        'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    script.chmod(0o755)
    sshd = make_sshd("n1", config_lines=[f"ForceCommand exec unshare -rm {script}"])
    error = await failing(await connect(cluster([sshd], state_dir=f"{mounted}/state")))
    assert isinstance(error, BootstrapError)
    assert words in error.message


# Jump hosts


async def test_a_node_behind_a_jump_host_is_reached_through_one_shared_connection(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    bastion = make_sshd("bastion")
    nodes = [make_sshd(f"n{i}", f"127.0.0.{i + 2}") for i in range(4)]
    way = f"{bastion.user}@127.0.0.1:{bastion.port}"
    lab = cluster([*nodes, bastion], nodes=tuple(n.node() for n in nodes), proxy_jump=way)
    links = [await connect(lab, node) for node in lab.nodes]
    hellos = await asyncio.gather(*(link.ready(WAIT) for link in links))
    assert {hello.address for hello in hellos} == {node.address for node in nodes}
    assert bastion.log.read_text().count("Accepted publickey") == 1
    assert not bastion.state_dir.exists()
    bastion.kill_connections()
    await until(lambda: all(link.link.attempts or not link.online for link in links))
    await asyncio.gather(*(link.ready(WAIT) for link in links))
    await asyncio.gather(*(link.close() for link in links))
    await until(lambda: bastion.connections() == 0)


async def test_two_jump_hosts_in_a_row_lead_to_a_node(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    first, second, node = make_sshd("first"), make_sshd("second"), make_sshd("n1", "127.0.0.9")
    way = ",".join(f"{hop.user}@127.0.0.1:{hop.port}" for hop in (first, second))
    lab = cluster([node, first, second], nodes=(node.node(),), proxy_jump=way)
    await (await connect(lab)).ready(WAIT)
    assert "Accepted publickey" in first.log.read_text()
    assert "Accepted publickey" in second.log.read_text()


async def test_the_key_of_a_jump_host_is_checked_too(make_sshd: MakeSshd, connect: Connect) -> None:
    bastion, node = make_sshd("bastion"), make_sshd("n1", "127.0.0.2")
    lab = cluster([node], proxy_jump=f"127.0.0.1:{bastion.port}")
    with pytest.raises(HostKeyError, match=r"jump host 127\.0\.0\.1") as caught:
        await (await connect(lab)).ready(WAIT)
    assert not caught.value.changed


async def test_a_jump_host_that_cannot_reach_the_node_says_so(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    bastion, node = make_sshd("bastion"), make_sshd("n1", "127.0.0.2")
    lab = cluster(
        [node, bastion], nodes=(node.node(),), proxy_jump=f"{bastion.user}@127.0.0.1:{bastion.port}"
    )
    node.stop()
    link = await connect(lab)
    await until(lambda: link.link.state is LinkState.UNREACHABLE)
    assert "jump host" in link.link.why
    assert "refused" in link.link.why


async def test_a_jump_host_that_forbids_forwarding_says_so(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    bastion = make_sshd("bastion", config_lines=["AllowTcpForwarding no"])
    node = make_sshd("n1", "127.0.0.2")
    way = f"{bastion.user}@127.0.0.1:{bastion.port}"
    link = await connect(cluster([node, bastion], nodes=(node.node(),), proxy_jump=way))
    with pytest.raises(LinkError, match="does not forward") as caught:
        await link.ready(WAIT)
    assert "AllowTcpForwarding" in caught.value.hint


# ssh_config


async def test_the_users_ssh_config_is_obeyed(
    make_sshd: MakeSshd, connect: Connect, home: Path
) -> None:
    bastion, node = make_sshd("bastion"), make_sshd("n1", "127.0.0.2")
    known = cluster([bastion, node]).known_hosts[0]
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh/config").write_text(
        f"Host *\n  User {node.user}\n  IdentityFile {node.client_key}\n"
        f"  UserKnownHostsFile {known}\n"
        f"Host gate\n  HostName 127.0.0.1\n  Port {bastion.port}\n"
        f"Host gpu*\n  HostName 127.0.0.2\n  Port {node.port}\n  ProxyJump gate\n"
    )
    lab = Cluster(name="lab", nodes=(NodeSpec(name="gpu01", host="gpu01"),))
    hello = await (await connect(lab)).ready(WAIT)
    assert hello.address == "127.0.0.2"
    assert "Accepted publickey" in bastion.log.read_text()


async def test_a_proxy_command_of_the_ssh_config_is_used(
    make_sshd: MakeSshd, connect: Connect, tmp_path: Path
) -> None:
    node = make_sshd("n1")
    config = tmp_path / "config"
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import socket, sys, threading, os\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while d := os.read(0, 65536): s.sendall(d)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(65536): os.write(1, d)\n"
    )
    config.write_text(f"Host 127.0.0.1\n  ProxyCommand {sys.executable} {relay} %h {node.port}\n")
    lab = cluster([node], ssh_config=(str(config),))
    await (await connect(lab)).ready(WAIT)


async def test_options_that_only_ssh_obeys_are_noted(make_sshd: MakeSshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host 127.*\n  StrictHostKeyChecking no\n")
    lab = cluster([make_sshd("n1")], ssh_config=(str(config),))
    (note,) = await cluster_ssh(lab).notes(lab.nodes[0])
    assert note.startswith(f"{config}:2: stricthostkeychecking no has no effect")


# Losing a node


async def test_a_killed_connection_under_load_resumes_at_the_exact_byte(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    link = await connect(cluster([sshd]))
    await link.ready(WAIT)
    log = sshd.state_dir / "big.log"
    sink = Sink()
    log.write_bytes(b"")
    link.follow("big.log", 0, sink)
    script = (
        "import sys,time\n"
        "f=open(sys.argv[1],'ab',0)\n"
        "for n in range(12000):\n"
        "    f.write(b'%08d %s\\n' % (n, b'x' * (n % 150)))\n"
        "    if n % 20 == 0: time.sleep(0.01)\n"
    )
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(log))
    while writer.returncode is None:
        await asyncio.sleep(0.4)
        sshd.kill_connections()
        await link.ready(WAIT)
    await writer.wait()
    expected = log.read_bytes()
    await until(lambda: len(sink.data) >= len(expected))
    assert sink.data == expected
    assert sink.detachments >= 3


async def test_a_half_open_connection_is_noticed_by_keepalive_and_healed(
    make_sshd: MakeSshd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sshclient, "KEEPALIVE_INTERVAL", 0.2)
    sshd = make_sshd("n1")
    with Proxy("127.0.0.1", sshd.port) as proxy:
        lab = cluster([sshd], nodes=(sshd.node(port=proxy.port),), connect_timeout=8.0)
        known = Path(lab.known_hosts[0])
        known.write_text(known.read_text().replace(str(sshd.port), str(proxy.port)))
        whys: list[str] = []
        link = await connect(lab, on_change=lambda: whys.append(link.link.why))
        await link.ready(WAIT)
        proxy.half_open()
        await until(lambda: not link.online)
        assert any("no sign of life" in why for why in whys)
        proxy.heal()
        await link.ready(WAIT)
        await link.close()


async def test_a_reset_connection_comes_back(make_sshd: MakeSshd, connect: Connect) -> None:
    sshd = make_sshd("n1")
    with Proxy("127.0.0.1", sshd.port) as proxy:
        lab = cluster([sshd], nodes=(sshd.node(port=proxy.port),))
        known = Path(lab.known_hosts[0])
        known.write_text(known.read_text().replace(str(sshd.port), str(proxy.port)))
        link = await connect(lab)
        for verb in (proxy.reset, proxy.drop, proxy.reset):
            first = await link.ready(WAIT)
            verb()
            await until(lambda first=first: link.online and link.hello.pid != first.pid)
        await link.close()


async def test_a_killed_agent_is_named_and_started_anew(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    whys: list[str] = []
    link = await connect(cluster([sshd]), on_change=lambda: whys.append(link.link.why))
    hello = await link.ready(WAIT)
    os.kill(hello.pid, signal.SIGKILL)
    await until(lambda: link.online and link.hello.pid != hello.pid)
    assert any("the agent ended (killed by SIGKILL)" in why for why in whys)


async def test_the_agent_ends_with_its_connection(make_sshd: MakeSshd, connect: Connect) -> None:
    sshd = make_sshd("n1")
    link = await connect(cluster([sshd]))
    await link.ready(WAIT)
    assert sshd.processes()
    await link.close()
    await until(lambda: not sshd.processes())
    await until(lambda: sshd.connections() == 0)


async def test_the_output_of_a_command_arrives_whole_beyond_its_credit(
    make_sshd: MakeSshd, connect: Connect
) -> None:
    sshd = make_sshd("n1")
    link = await connect(cluster([sshd]))
    await link.ready(WAIT)
    size = 24 * 1024 * 1024
    result = await link.execute(["head", "-c", str(size), "/dev/zero"])
    assert len(result.stdout) == size
    assert result.code == 0


def fingerprint(sshd: Sshd) -> str:
    out = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{sshd.host_key}.pub"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return out.split()[1]
