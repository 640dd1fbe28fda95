"""Requests to real torchrun on two loopback "nodes": restarts in place, and the end."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from cockpit.node.launch.requests import RESTART, STOP, Request
from cockpit.node.supervise import asking
from tests.node.torchrun_nodes import (
    REPOSITORY,
    Node,
    Nodes,
    is_gone,
    launched,
    make_runtime,
    request,
    until,
)

pytestmark = [pytest.mark.torch, pytest.mark.timeout(360)]

# The import of torch is what costs: what the ranks do matters in some generations only.
TRAIN = """
import ctypes, os, signal, sys, time
generation = int(os.environ["COCKPIT_GENERATION"])
last, what, *training = sys.argv[1:]
last = int(last)
if str(generation) not in training:
    print("trains", flush=True)
    while generation < last: time.sleep(3600)
    sys.exit()
import torch, torch.distributed as dist
dist.init_process_group("gloo")
dist.all_reduce(torch.ones(1))
if what == "hang" and generation == 0 and os.environ["LOCAL_RANK"] == "1":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("hangs", file=sys.stderr, flush=True)
    ctypes.PyDLL(None).sleep(300)  # in C, with the GIL
print("trains", flush=True)
while generation < last:
    dist.all_reduce(torch.ones(1))
    time.sleep(0.002)
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def script(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "train.py"
    path.write_text(TRAIN)
    return path


def ask(node: Node, name: str, do: str = RESTART, **fields: Any) -> None:
    generation = fields.pop("generation", None)
    asking.leave(str(node.folder), Request(name, do, generation, "ada", "because", **fields))


def training(nodes: Nodes, generation: int, says: str = "trains", stream: str = "out") -> None:
    """Wait until local rank 1 of every node says so."""
    until(
        lambda: all(
            node.pids(generation) and says in node.log(generation, 1, stream) for node in nodes
        ),
        f"that generation {generation} {says}",
    )


def kinds(node: Node, generation: int) -> list[str]:
    return [event["kind"] for event in node.events() if event.get("generation") == generation]


def test_requests_restart_the_ranks_of_all_nodes_in_place_and_cost_nothing(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    with launched(request(script, "2", "-", "1"), runtime, tmp_path) as nodes:
        training(nodes, 0)
        ask(nodes[1], "one", generation=0)  # one node only
        training(nodes, 1)
        torn = nodes[0].folder / "requests" / "torn.json"
        torn.parent.mkdir(exist_ok=True)
        torn.write_bytes(b'{"id": "torn", "do": "stop", "gen')
        ask(nodes[0], "late", STOP, generation=0)
        ask(nodes[0], "one")  # the same again, by way of another node
        time.sleep(1.5)
        assert all(node.process.poll() is None for node in nodes)
        assert not any(node.pids(2) for node in nodes)
        ask(nodes[0], "two")
        ask(nodes[1], "two")
        assert [node.wait() for node in nodes] == [0, 0], nodes[0].launcher_log()
    for node in nodes:
        generations = node.events("generation")
        assert [event["generation"] for event in generations] == [0, 1, 2]
        assert [event["restart_count"] for event in generations] == [0, 1, 2]
        assert [
            (e["generation"], e["by"], e["reason"], e["cost"]) for e in node.events("restarting")
        ] == [
            (0, "ada", "because", False),
            (1, "ada", "because", False),
        ]
        for generation in (0, 1):
            seen = kinds(node, generation)
            # What gloo makes of a peer that was ended a moment earlier comes after, if at all.
            assert [kind for kind in seen if kind != "group"] == [
                "generation", "restarting", "stopping", "stopped",
            ]  # fmt: skip
            assert "group" not in seen[: seen.index("restarting")]
        assert node.events("group")[-1]["state"] == "SUCCEEDED"
        assert not node.events("hook_error")
        assert not node.events("hook_missing")
        assert node.process.pid == node.events("launcher")[0]["process"]["pid"]


@pytest.mark.slow
def test_ranks_that_hang_with_the_gil_and_ignore_sigterm_train_again_soon(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    with launched(request(script, "1", "hang", "0", "1"), runtime, tmp_path) as nodes:
        training(nodes, 0, "hangs", "err")
        hung = [node.pids(0)[1] for node in nodes]
        ask(nodes[0], "stall-0-1", generation=0, grace=2.0)
        training(nodes, 1)
        assert all(is_gone(pid) for pid in hung)
        assert [node.wait() for node in nodes] == [0, 0], nodes[0].launcher_log()
    for node in nodes:
        (stopped,) = node.events("stopped")
        # With SIGKILL after the grace that was asked for; torch by itself waits 30 s.
        assert 1.5 < stopped["took"] < 30.0
        ends = [
            (event["kind"], event["generation"])
            for event in node.events()
            if event["kind"] in ("restarting", "stopping", "stopped", "generation")
        ]
        assert ends[1:5] == [
            ("restarting", 0), ("stopping", 0), ("stopped", 0), ("generation", 1),
        ]  # fmt: skip
        assert not [f for event in node.events("group") for f in event["failures"] if f["signal"]]


def test_stop_ends_the_ranks_of_all_nodes_and_both_launcher_processes_say_why(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    with launched(
        request(script, "1", "-", launcher={"max_restarts": 3}), runtime, tmp_path
    ) as nodes:
        training(nodes, 0)
        pids = [pid for node in nodes for pid in node.pids(0)]
        ask(nodes[1], "end", STOP, generation=0)
        assert [node.wait() for node in nodes] == [1, 1]
    assert all(is_gone(pid) for pid in pids)
    for node in nodes:
        (error,) = node.events("launcher_exc")
        assert (error["type"], error["message"]) == ("Stopped", "because")
        assert [event["generation"] for event in node.events("generation")] == [0]
        assert not node.events("restarting")
        assert node.events("launcher_exit")[0]["code"] == 1
        assert "cockpit: the ranks were stopped: because\n" in node.launcher_log()
        assert "Traceback" not in node.launcher_log()


def test_a_restart_that_costs_fails_the_job_when_none_is_left(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    alone = request(
        script, "2", "-", min_nodes=1, max_nodes=1, nproc_per_node=2, launcher={"max_restarts": 1}
    )
    with launched(alone, runtime, tmp_path) as nodes:
        training(nodes, 0)
        ask(nodes[0], "one", cost=True)
        training(nodes, 1)
        ask(nodes[0], "two", cost=True)
        assert nodes[0].wait() == 1
    (error,) = nodes[0].events("launcher_exc")
    assert error["type"] == "NoRestartsLeft"
    assert error["message"] == "because; none of 1 restarts is left"
    assert [event["cost"] for event in nodes[0].events("restarting")] == [True, True]
    assert [event["restart_count"] for event in nodes[0].events("generation")] == [0, 1]


STORE = """
import sys, torch.distributed as dist
from cockpit.node.launch.requests import Request
from cockpit.node.launch.board import Board
server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
client = dist.TCPStore("127.0.0.1", server.port, is_master=False)
first, second = (Board(dist.PrefixStore("round", s), "cockpit/0", 2) for s in (server, client))
assert second.published() is None and not second.all_armed() and second.finished() == 0
request = Request("x", "restart", 0, "ada", "because")
assert first.publish(request) == request
assert second.publish(request._replace(id="y")) == request == second.published()
first.arm()
assert not second.all_armed()
second.arm()
assert first.all_armed()
first.finish()
assert second.finished() == 1
first.close()
del first, server
assert second.published() is None
assert second.all_armed() and second.finished() == 0, "nobody is waited for"
assert second.publish(request._replace(id="z")).id == "z"
"""


def test_a_real_store_carries_the_agreement_and_its_loss_is_no_error(
    tmp_path: pathlib.Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cockpit: the rendezvous store does not answer") == 1


HOST = """
import time, torch.distributed as dist
server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
print(server.port, flush=True)
time.sleep(300)
"""

FROZEN = """
import os, signal, sys
import torch.distributed as dist
from cockpit.node.launch.board import Board
class Signalled(Exception):
    pass
def handler(*_):
    raise Signalled
store = dist.TCPStore("127.0.0.1", int(sys.argv[1]), is_master=False)
board = Board(dist.PrefixStore("round", store), "cockpit/0", 2)
assert board.finished() == 0
print("asked", flush=True)
sys.stdin.readline()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    board.finished()
except Signalled:
    print("signalled")
assert board.finished() == 0 and board.all_armed()
board.close()
"""


def test_a_frozen_store_holds_up_neither_signals_nor_the_end() -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    host = subprocess.Popen([sys.executable, "-c", HOST], cwd=REPOSITORY, **pipes)
    asking = None
    try:
        assert host.stdout is not None
        argv = [sys.executable, "-c", FROZEN, host.stdout.readline()]
        asking = subprocess.Popen(argv, cwd=REPOSITORY, stderr=subprocess.PIPE, **pipes)
        assert asking.stdout is not None
        assert asking.stdout.readline() == "asked\n"
        host.send_signal(signal.SIGSTOP)
        os.waitpid(host.pid, os.WUNTRACED)
        out, err = asking.communicate("\n", timeout=100)
        assert (asking.returncode, out) == (0, "signalled\n"), err
        assert err.count("does not answer (TimeoutError)") == 1
    finally:
        for process in (asking, host):
            if process is not None:
                process.kill()
                process.communicate()
