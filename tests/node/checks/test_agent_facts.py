"""`facts` and `free_port`: what a launch must know of a node."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from cockpit.node.arguments import Arguments
from cockpit.node.checks import facts, ports
from cockpit.node.failures import RequestFailedError
from cockpit.node.statedir import Node
from tests.node.agent_client import AgentClient, Failed
from tests.node.agent_fixtures import StartAgent


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def fake_torch(folder: Path) -> dict[str, str]:
    """An environment in which a torch can be found but not imported."""
    package = folder / "torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('torch was imported')")
    (package / "version.py").write_text("__version__ = '9.8.7+local'\n")
    return {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{folder}"}


def test_facts_name_the_python_and_count_what_is_there(agent: AgentClient) -> None:
    found = agent.call("facts", python=sys.executable)
    assert found["python"] == sys.executable
    assert found["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert found["cpus"] == len(os.sched_getaffinity(0))
    assert found["disk_free"] > 0
    assert found["simulated"] is False


def test_a_python_is_found_by_name_and_below_the_home_folder(
    home: Path, start_agent: StartAgent, tmp_path: Path
) -> None:
    (home / "bin").mkdir()
    (home / "bin" / "mypython").symlink_to(sys.executable)
    agent = start_agent(env={"PATH": f"{home}/bin:{os.environ['PATH']}"})
    for wanted in ("mypython", "~/bin/mypython", f"{home}/bin/mypython"):
        assert agent.call("facts", python=wanted)["python"] == f"{home}/bin/mypython"


@pytest.mark.parametrize("wanted", ["no-such-python", "/no/such/python", "./relative", "/etc", ""])
def test_a_python_that_is_not_there_is_empty(one_agent: AgentClient, wanted: str) -> None:
    found = one_agent.call("facts", python=wanted)
    assert (found["python"], found["python_version"], found["torch"]) == ("", "", "")


def test_the_version_of_torch_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare interpreter; the one that runs the tests may have a real torch."""
    for name, value in fake_torch(tmp_path).items():
        monkeypatch.setenv(name, value)
    bare = script(tmp_path / "bare", f'exec {sys.executable} -S "$@"')
    assert facts.inspect_python(bare, "n0").torch == "9.8.7+local"


def test_a_noisy_python_is_understood(tmp_path: Path) -> None:
    noisy = script(tmp_path / "noisy", f'echo "module loaded"; exec {sys.executable} "$@"')
    assert facts.inspect_python(noisy, "n0").version != ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo broken >&2; exit 3", r"exit 3.*broken"),
        ("echo '{}'", "no usable Python"),
        ("sleep 600", "did not start"),
    ],
)
def test_what_is_no_python_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.setattr(facts, "PYTHON_TIMEOUT", 1.0 if "sleep" in text else 60.0)
    path = script(tmp_path / "python", f"exec 0<&-; {text.replace('sleep', 'exec sleep')}")
    found = facts.inspect_python(path, "n0")
    assert found.version == ""
    assert re.search(problem, found.problem)


def test_a_python_that_does_not_run_fails_the_facts(tmp_path: Path, one_agent: AgentClient) -> None:
    path = script(tmp_path / "python", "echo 'libpython.so: not found' >&2; exit 127")
    with pytest.raises(Failed, match="libpython") as failed:
        one_agent.call("facts", python=path)
    assert failed.value.code == "no_python"


def test_a_good_answer_is_remembered_for_a_moment(tmp_path: Path) -> None:
    counted = script(tmp_path / "python", f'echo x >> {tmp_path}/count; exec {sys.executable} "$@"')
    assert facts.inspect_python(counted, "n0") == facts.inspect_python(counted, "n0")
    assert (tmp_path / "count").read_text() == "x\n"


def test_a_free_port_can_be_bound(agent: AgentClient) -> None:
    for addr in ("127.0.0.1", "localhost", "::1"):
        family = socket.AF_INET6 if addr == "::1" else socket.AF_INET
        port = agent.call("free_port", addr=addr)["port"]
        assert ports.FIRST <= port < ports.LAST
        with socket.socket(family, socket.SOCK_STREAM) as taken:
            taken.bind((addr, port))


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node("n0", "/", "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "FIRST", port)
        monkeypatch.setattr(ports, "LAST", port + 1)
        monkeypatch.setattr(ports, "_TRIES", 1)
        with pytest.raises(RequestFailedError, match="no free port"):
            ports.free_port(node, Arguments("free_port", {"addr": "127.0.0.1"}))


@pytest.mark.parametrize("addr", ["192.0.2.1", "no-such-host.invalid", "2001:db8::1"])
def test_an_address_of_another_machine_is_named(one_agent: AgentClient, addr: str) -> None:
    with pytest.raises(Failed, match=addr) as failed:
        one_agent.call("free_port", addr=addr)
    assert failed.value.code == "bad_addr"
    assert "`addr`" in failed.value.hint
