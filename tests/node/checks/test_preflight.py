"""`preflight`, `listen` and `reach`: what would make a start fail, found before it is tried."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cockpit.node.agent.loop import Loop
from cockpit.node.agent.reach import Listeners
from cockpit.node.agent.streams import Services
from cockpit.node.arguments import Arguments
from cockpit.node.checks import checkdisk, checklimits, checknetwork, checkpython, checks, facts
from cockpit.node.statedir import Node
from tests.node.agent_client import AgentClient, Failed
from tests.node.agent_fixtures import StartAgent


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def found_by(agent: AgentClient, **arguments: Any) -> dict[str, dict[str, str]]:
    answer = agent.call("preflight", **arguments)
    return {check["check"]: check for check in answer["checks"]}


def test_preflight_of_a_healthy_node_finds_nothing_critical(
    state_dir: Path, agent: AgentClient
) -> None:
    before = sorted(os.listdir(state_dir))
    found = found_by(agent, python=sys.executable)
    assert {"state_dir", "disk", "python", "shm"} <= found.keys()
    assert [name for name in ("state_dir", "python") if found[name]["level"] != "ok"] == []
    assert all(check["hint"] for check in found.values() if check["level"] != "ok")
    assert sorted(os.listdir(state_dir)) == before


def test_preflight_says_which_python_is_missing(one_agent: AgentClient) -> None:
    found = found_by(one_agent, python="/opt/venv/bin/python", need_torch=True)
    assert found["python"]["level"] == "crit"
    assert "/opt/venv/bin/python" in found["python"]["message"]
    assert "cockpit.toml" in found["python"]["hint"]
    assert "torch" not in found


def test_nothing_is_known_of_a_python_that_does_not_run(
    tmp_path: Path, one_agent: AgentClient
) -> None:
    broken = script(tmp_path / "broken", "exit 3")
    versions = one_agent.call("preflight", python=broken)["versions"]
    names = ("python", "torch", "cuda", "nccl", "nvrx")
    assert [versions[name] for name in names] == [None] * 5
    missing = one_agent.call("preflight", python=str(tmp_path / "none"))["versions"]
    assert [missing[name] for name in names] == ["", None, None, None, None]


def test_preflight_refuses_an_old_python(tmp_path: Path, one_agent: AgentClient) -> None:
    old = script(
        tmp_path / "old",
        """echo '{"python": "3.6.8", "torch": "", "cuda": "", "nccl": "", "nvrx": ""}'""",
    )
    assert "3.6.8" in found_by(one_agent, python=old)["python"]["message"]
    assert found_by(one_agent, python=old)["python"]["level"] == "crit"


def test_torch_is_only_demanded_where_it_is_needed(tmp_path: Path, one_agent: AgentClient) -> None:
    bare = script(tmp_path / "bare", f'exec {sys.executable} -I -S "$@"')
    assert found_by(one_agent, python=bare, need_torch=True)["torch"]["level"] == "crit"
    assert "torch" not in found_by(one_agent, python=bare, need_torch=False)


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [(2e9, 1e5, "ok"), (5e8, 1e5, "warn"), (1e7, 1e5, "crit"), (2e9, 0, "crit"), (2e9, 9, "warn")],
)
def test_the_disk_is_judged_by_space_and_inodes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float, inodes: float, level: str
) -> None:
    # f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, f_flag, f_namemax
    values = [4096, 1, 0, 0, int(free), 100, 0, int(inodes), 0, 255]
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(values))
    for found in (checkdisk.state_dir(Node("n0", str(tmp_path), ""))[1], checkdisk.temporary()[0]):
        assert found["level"] == level
        assert bool(found["hint"]) == (level != "ok")


def test_a_folder_that_cannot_be_written_is_critical(tmp_path: Path) -> None:
    found = checkdisk.state_dir(Node("n0", str(tmp_path / "gone"), ""))[0]
    assert found["level"] == "crit"
    assert "No such file" in found["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_small_shared_memory_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkdisk, "SHM_WARN", 1 << 62)
    (found,) = checkdisk.shared_memory(Node("n0", str(tmp_path), ""))
    assert found["level"] == "warn"
    assert "--shm-size" in found["hint"]


def test_what_hangs_or_breaks_is_unknown_and_holds_up_nothing() -> None:
    def breaks() -> list[checks.Check]:
        raise ZeroDivisionError("oh")

    begin = time.monotonic()
    found = checks.all_within(
        0.3,
        {
            "nfs": lambda: time.sleep(20) or [],
            "bug": breaks,
            "fine": lambda: [checks.check("fine", "ok", "well")],
        },
    )
    assert time.monotonic() - begin < 10.0
    assert [(item["check"], item["level"]) for item in found] == [
        ("nfs", "unknown"), ("bug", "unknown"), ("fine", "ok"),
    ]  # fmt: skip
    assert "ZeroDivisionError: oh" in found[1]["message"]


def test_a_low_limit_of_open_files_is_a_warning_with_the_logins_own_figure(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        agent = start_agent()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = found_by(agent, python=sys.executable)["nofile"]
    # The agent raises its own limit; a job gets that of the login.
    assert (found["level"], found["message"][:10]) == ("warn", "only 1024 ")


def test_locked_memory_matters_only_where_there_is_rdma(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (65536, 65536))
    assert "memlock" not in {item["check"] for item in checklimits.limits()}
    (tmp_path / "mlx5_0").mkdir()
    monkeypatch.setattr(checklimits, "INFINIBAND", str(tmp_path))
    (found,) = [item for item in checklimits.limits() if item["check"] == "memlock"]
    assert found["level"] == "warn"


def test_an_address_that_is_not_the_nodes_own_is_critical_and_its_own_are_named(
    agent: AgentClient,
) -> None:
    found = found_by(agent, python=sys.executable, addr="192.0.2.7")["address"]
    assert found["level"] == "crit"
    assert "lo 127.0.0.1" in found["hint"]
    found = found_by(agent, python=sys.executable, addr="127.0.0.9")["address"]
    assert found["level"] == "ok"
    assert checknetwork.address("no-such-host.invalid")[0]["level"] == "crit"


@pytest.mark.parametrize(
    ("variable", "wanted", "matches"),
    [
        ("NCCL_SOCKET_IFNAME", "eth", ["eth0", "eth1"]),
        ("NCCL_SOCKET_IFNAME", "=eth0", ["eth0"]),
        ("NCCL_SOCKET_IFNAME", "=eth", []),
        ("NCCL_SOCKET_IFNAME", "^eth,lo", ["ib0"]),
        ("NCCL_SOCKET_IFNAME", "^=eth0", ["lo", "eth1", "ib0"]),
        ("NCCL_SOCKET_IFNAME", "ib,eth1:20000", ["eth1", "ib0"]),
        ("GLOO_SOCKET_IFNAME", "eth0,ib0", ["eth0", "ib0"]),
        ("GLOO_SOCKET_IFNAME", "eth", []),
    ],
)
def test_interfaces_are_matched_as_the_libraries_do(
    variable: str, wanted: str, matches: list[str]
) -> None:
    assert checknetwork.matching(variable, wanted, ["lo", "eth0", "eth1", "ib0"]) == matches


def test_an_interface_that_is_not_there_is_named_with_those_that_are(agent: AgentClient) -> None:
    env = {"GLOO_SOCKET_IFNAME": "nope0", "HOME": "/"}
    found = found_by(agent, python=sys.executable, env=env)["interface"]
    assert found["level"] == "crit"
    assert "GLOO_SOCKET_IFNAME=nope0" in found["message"]
    assert "lo 127.0.0.1" in found["hint"]
    found = found_by(agent, python=sys.executable, env={"GLOO_SOCKET_IFNAME": "lo"})["interface"]
    assert found["level"] == "ok"
    # Without GPUs nobody asks NCCL.
    found = found_by(agent, python=sys.executable, env={"NCCL_SOCKET_IFNAME": "no"})["interface"]
    assert found["level"] == "warn"


def test_a_host_name_that_leads_to_loopback_is_a_warning_for_several_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(0, 0, 0, "", ("127.0.1.1", 0))])
    (found,) = checknetwork.host_name("10.0.0.5", {})
    assert found["level"] == "warn"
    assert "GLOO_SOCKET_IFNAME" in found["hint"]
    assert checknetwork.host_name("10.0.0.5", {"GLOO_SOCKET_IFNAME": "eth0"})[0]["level"] == "ok"
    assert checknetwork.host_name("127.0.0.2", {})[0]["level"] == "ok"


def test_infiniband_ports_are_active_or_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def port(device: str, state: str, physical: str) -> None:
        folder = tmp_path / device / "ports" / "1"
        folder.mkdir(parents=True)
        (folder / "state").write_text(f"{state}\n")
        (folder / "phys_state").write_text(f"{physical}\n")
        (folder / "rate").write_text("400 Gb/sec (4X NDR)\n")

    port("mlx5_0", "4: ACTIVE", "5: LinkUp")
    port("mlx5_1", "4: ACTIVE", "5: LinkUp")
    port("mlx5_2", "1: DOWN", "2: Polling")
    port("mlx5_3", "1: DOWN", "3: Disabled")
    monkeypatch.setattr(checknetwork, "INFINIBAND", str(tmp_path))
    rates, found = checknetwork.infiniband()
    assert rates == "2 × 400 Gb/sec"
    assert [(item["level"], item["message"][:16]) for item in found] == [
        ("warn", "port 1 of mlx5_2"),
        ("ok", "active ports: 2 "),
    ]


def test_a_torch_without_cuda_is_a_warning_where_there_are_gpus() -> None:
    bare = facts.Python("/p", version="3.11.7", torch="2.6.0+cpu")
    assert checkpython.cuda(bare, 8)[0]["level"] == "warn"
    assert checkpython.cuda(bare, 0) == []
    built = facts.Python("/p", version="3.11.7", torch="2.6.0", cuda="12.4")
    assert checkpython.cuda(built, 8)[0]["level"] == "ok"
    assert checkpython.cuda(facts.Python("/p", torch="2.6.0+rocm6.2"), 8)[0]["level"] == "ok"


@pytest.mark.parametrize(
    ("text", "version", "level"),
    [
        ("echo noise; echo 2.21.5", "2.21.5", "ok"),
        ("echo 'libcudart.so: not found' >&2; exit 1", "", "crit"),
        ("exec sleep 600", "", "unknown"),
    ],
)
def test_nccl_is_asked_of_torch_with_a_deadline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, version: str, level: str
) -> None:
    monkeypatch.setattr(checkpython, "IMPORT_TIMEOUT", 1.0 if "sleep" in text else 60.0)
    python = facts.Python(script(tmp_path / "python", text), torch="2.6.0", cuda="12.4")
    found, (said,) = checkpython.nccl(python)
    assert (found, said["level"]) == (version, level)


def test_the_versions_of_a_build_for_cuda_are_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    for name, version in (("nvidia_nccl_cu12", "2.27.5"), ("nvidia_resiliency_ext", "0.7.0")):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: {version}\n")
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "torch" / "version.py").write_text(
        "__version__ = '2.9.1'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    found = facts.inspect_python(script(tmp_path / "bare", f'exec {sys.executable} -S "$@"'), "n0")
    assert (found.torch, found.cuda, found.nccl, found.nvrx) == (
        "2.9.1", "12.8", "2.27.5", "0.7.0",
    )  # fmt: skip


def test_a_peer_is_heard_and_the_port_is_free_as_soon_as_all_have_called(
    agent: AgentClient,
) -> None:
    place = agent.call("listen", addr="127.0.0.3", peers=2)
    call = {"addr": "127.0.0.3", "port": place["port"], "nonce": place["nonce"]}
    for _ in range(2):
        assert agent.call("reach", **call)["reached"] is True
    late = agent.call("reach", **call)
    assert (late["reached"], late["error"]) == (False, "nothing listens there")
    assert "check `addr`" in late["hint"]
    with socket.socket() as again:
        again.bind(("127.0.0.3", place["port"]))


def test_a_stranger_is_no_peer_and_another_server_is_not_ours(one_agent: AgentClient) -> None:
    place = one_agent.call("listen", addr="127.0.0.3", peers=1)
    call = {"addr": "127.0.0.3", "port": place["port"]}
    wrong = one_agent.call("reach", **call, nonce="0" * 32)
    assert (wrong["reached"], wrong["error"]) == (False, "somebody else answers there")
    with socket.create_connection(("127.0.0.3", place["port"])) as stranger:
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
        stranger.settimeout(20.0)
        assert stranger.recv(100) == b""
    assert one_agent.call("reach", **call, nonce=place["nonce"])["reached"] is True


def test_a_listener_can_be_closed_before_anybody_called(one_agent: AgentClient) -> None:
    place = one_agent.call("listen", addr="127.0.0.3", peers=1)
    assert one_agent.call("unlisten", port=place["port"]) == {"closed": True}
    assert one_agent.call("unlisten", port=place["port"]) == {"closed": False}
    with socket.socket() as again:
        again.bind(("127.0.0.3", place["port"]))


def test_a_silent_server_is_given_up_in_time(one_agent: AgentClient) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.3", 0))
        silent.listen()
        answer = one_agent.call(
            "reach", addr="127.0.0.3", port=silent.getsockname()[1], nonce="n" * 32, limit=0.3
        )
    assert answer["reached"] is False
    assert "no answer" in answer["error"]


def test_an_address_on_which_a_node_cannot_listen_is_named(one_agent: AgentClient) -> None:
    with pytest.raises(Failed, match=r"192\.0\.2\.1") as failed:
        one_agent.call("listen", addr="192.0.2.1", peers=1)
    assert failed.value.code == "bad_addr"
    assert "`addr`" in failed.value.hint


def test_ports_that_are_closed_are_forgotten_with_the_next_one(tmp_path: Path) -> None:
    loop = Loop()
    services = Services(Node("here", str(tmp_path), str(tmp_path)), loop)
    services.connection = SimpleNamespace(send=lambda *_, **__: None)  # type: ignore[assignment]
    listeners = Listeners(services)
    for number in range(3):
        values = {"op": "listen", "addr": "127.0.0.3", "peers": 1}
        listeners.listen(number, Arguments("listen", values))
        loop.run_for(60, lambda: any(not one.closed for one in listeners._open.values()))
        (listener,) = listeners._open.values()
        listener._expire()
    assert listeners.close(listener.port) is False
