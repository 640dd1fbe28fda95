"""Real ft_launcher on loopback "nodes", started from the very plan that a job is started from."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import shutil
import signal
from typing import Any

import pytest

from cockpit.node.rank.slot import Beat, Reader
from cockpit.protocol import layout
from tests.node.torchrun_nodes import JOB, SLOTS, Node, is_gone, launched, make_runtime, until
from tests.node.torchrun_nodes import request as torchrun_request

pytestmark = [
    pytest.mark.torch,
    pytest.mark.timeout(360),
    pytest.mark.skipif(
        importlib.util.find_spec("nvidia_resiliency_ext") is None,
        reason="needs nvidia-resiliency-ext",
    ),
]

ONE_NODE = {"min_nodes": 1, "max_nodes": 1}

TRAIN = """
import os, pathlib, signal, sys, time
import nvidia_resiliency_ext.fault_tolerance as ft
import torch, torch.distributed as dist

folder = pathlib.Path(sys.argv[1])
generation, rank = int(os.environ["COCKPIT_GENERATION"]), int(os.environ["RANK"])
dist.init_process_group("gloo")
client = ft.RankMonitorClient()
client.init_workload_monitoring()
print("limits", client.rank_heartbeat_timeout if hasattr(client, "rank_heartbeat_timeout") else "")
for step in range(4):
    client.start_section("step")
    total = torch.ones(1)
    dist.all_reduce(total)
    client.end_section("step")
    client.send_heartbeat()
client.start_section("wait")
if "hang" in sys.argv and rank == 3 and generation == 0:
    time.sleep(600)
while "park" in sys.argv and generation == 0 and not (folder / "go").exists():
    client.send_heartbeat()
    time.sleep(0.05)
client.end_section("wait")
dist.barrier()
print(f"sum {total.item():.0f} {os.environ.get('JOB_RESULTS_FILE', '')}", flush=True)
client.shutdown_workload_monitoring()
dist.destroy_process_group()
"""


def request(script: pathlib.Path, *args: str, **changes: Any) -> Any:
    launcher = {"kind": "ft", "grace": 6.0, **changes.pop("launcher", {})}
    return torchrun_request(script, *args, launcher=launcher, **changes)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def script(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "train.py"
    path.write_text(TRAIN)
    return path


def heard(node: Node, generation: int, local_rank: int) -> Beat | None:
    """What the rank's monitor slot says."""
    try:
        reader = Reader(str(node.folder / SLOTS / layout.monitor_slot(generation, local_rank)))
    except OSError:
        return None
    beat = reader.read()
    reader.close()
    return beat


def sockets_of(rank: int) -> pathlib.Path:
    """The folder of the sockets that a rank was told of."""
    environ = pathlib.Path(f"/proc/{rank}/environ").read_bytes().decode().split("\0")
    values = dict(item.split("=", 1) for item in environ if item)
    return pathlib.Path(values["FT_RANK_MONITOR_IPC_SOCKET"]).parent


def kinds(node: Node) -> list[str]:
    return [event["kind"] for event in node.events()]


def test_two_nodes_train_and_what_their_rank_monitors_hear_is_seen_live(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    results = tmp_path / "results" / "all"
    wanted = request(
        script,
        str(tmp_path),
        "park",
        launcher={
            "rank_heartbeat_timeout": 60.0,
            "rank_section_timeouts": {"step": 60.0, "wait": 90.0},
            "job_results_file": str(results),
        },
        cfg="x:\n  fault_tolerance:\n    safety_factor: 7.0\n    rank_heartbeat_timeout: 1.0\n",
    )
    with launched(wanted, runtime, tmp_path, slots=True) as nodes:
        for node in nodes:
            for local_rank in (0, 1):

                def parked(node: Node = node, local_rank: int = local_rank) -> bool:
                    beat = heard(node, 0, local_rank)
                    return beat is not None and beat.beats > 15 and "wait" in beat.sections

                until(parked, "a rank that beats inside of a section")
        folder = sockets_of(nodes[0].pids(0)[0])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert sum(entry.is_socket() for entry in folder.iterdir()) >= 2
        beats = [heard(node, 0, 0) for node in nodes]
        (tmp_path / "go").touch()
        assert [node.wait() for node in nodes] == [0, 0]
        assert not folder.exists()
    assert all(beat is not None and beat.flags == 0 for beat in beats)
    for node in nodes:
        assert kinds(node) == [
            "launcher", "rendezvous_begin", "rendezvous", "generation", "group", "launcher_exit",
        ]  # fmt: skip
        launcher, _, rendezvous, generation, group, ended = node.events()
        assert launcher["nvrx"]
        assert launcher["torch"].startswith("2.")
        assert rendezvous["round"] == generation["generation"] == 0
        assert generation["world_size"] == 4
        assert generation["master"].startswith("127.0.0.")
        assert (group["state"], ended["code"]) == ("SUCCEEDED", 0)
        assert [rank["out"] for rank in generation["ranks"]] == ["logs/0/0.out", "logs/0/1.out"]
        assert f"sum 4 {results}\n" in node.log(0, 1)
        merged = json.loads((node.folder / "ft.merged.yaml").read_text())["fault_tolerance"]
        assert (merged["safety_factor"], merged["rank_section_timeouts"]["wait"]) == (7.0, 90.0)
    # One line for the attempt, not one for each node.
    assert results.read_text() == f"{JOB} 0 S\n"


@pytest.mark.slow
def test_a_hang_is_told_with_its_limit_and_the_ranks_of_both_nodes_are_restarted(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    wanted = request(
        script,
        str(tmp_path),
        "hang",
        launcher={
            "initial_rank_heartbeat_timeout": 60.0,
            "rank_heartbeat_timeout": 3.0,
            "rank_section_timeouts": {"step": 60.0, "wait": 60.0},
            "workload_check_interval": 0.5,
            "max_restarts": 1,
        },
    )
    with launched(wanted, runtime, tmp_path, slots=True) as nodes:
        assert [node.wait() for node in nodes] == [0, 0]
    for node in nodes:
        assert [event["generation"] for event in node.events("generation")] == [0, 1]
        assert [event["seq"] for event in node.events()] == list(range(len(node.events())))
        assert not node.events("hook_error")
    told = [event for node in nodes for event in node.events("ft_timeout")]
    assert told
    for event in told:
        assert event["generation"] == 0
        assert event["message"].startswith("no heartbeat for 3.")
    blamed = nodes[0] if nodes[0].events("ft_timeout") else nodes[1]
    order = kinds(blamed)
    assert order.index("ft_timeout") < order.index("group") < order.index("stopping")
    (group, _) = blamed.events("group")
    assert group["failures"][0]["signal"] == signal.SIGKILL


@pytest.mark.slow
def test_an_asked_restart_reaches_both_nodes_and_costs_nothing(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    launcher = {"rank_section_timeouts": {"step": 60.0, "wait": 60.0}}
    with launched(
        request(script, str(tmp_path), "park", launcher=launcher), runtime, tmp_path
    ) as nodes:
        for node in nodes:
            until(lambda node=node: node.events("generation"), "ranks")
        requests = nodes[1].folder / layout.REQUESTS
        requests.mkdir(exist_ok=True)
        asked = {
            "id": "1",
            "do": "restart",
            "generation": 0,
            "by": "ada",
            "reason": "",
            "cost": False,
        }
        (requests / ".new").write_text(json.dumps(asked))
        (requests / ".new").rename(requests / "1.json")
        assert [node.wait() for node in nodes] == [0, 0]
    for node in nodes:
        assert [event["generation"] for event in node.events("generation")] == [0, 1]
        (restarting,) = node.events("restarting")
        assert restarting["by"] == "ada"


STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], "up").touch()
time.sleep(600)
"""


def test_a_cancel_ends_ranks_that_ignore_it_within_the_grace_and_their_monitors(
    tmp_path: pathlib.Path, runtime: pathlib.Path
) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    wanted = request(script, str(tmp_path), nproc_per_node=1, launcher={"grace": 2.0}, **ONE_NODE)
    with launched(wanted, runtime, tmp_path) as (node,):
        until((tmp_path / "up").exists, "the rank")
        (rank,) = node.pids(0)
        until(lambda: children(node.process.pid) - {rank}, "the rank's monitor")
        (monitor,) = children(node.process.pid) - {rank}
        node.process.send_signal(signal.SIGTERM)
        node.wait()
        assert is_gone(rank)
        assert is_gone(monitor)
    # ft_launcher's own time would have been 1800 s.


def test_the_rank_monitors_of_a_launcher_process_that_is_killed_end_with_it(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    wanted = request(script, str(tmp_path), "park", nproc_per_node=1, **ONE_NODE)
    with launched(wanted, runtime, tmp_path) as (node,):
        until(lambda: node.pids(0), "the rank")
        family = children(node.process.pid)
        assert len(family) == 2
        sockets = sockets_of(node.pids(0)[0])
        node.process.kill()
        until(lambda: all(is_gone(pid) for pid in family), "the end of rank and monitor")
    # Below the slots, where the supervisor tidies up, if there had been any.
    shutil.rmtree(sockets)


def children(pid: int) -> set[int]:
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found |= {int(word) for word in file.read().split()}
    return found


def test_a_configuration_that_cannot_be_used_is_the_cause_that_the_journal_names(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    wanted = request(script, str(tmp_path), cfg="fault_tolerance: [\n", **ONE_NODE)
    with launched(wanted, runtime, tmp_path) as (node,):
        assert node.wait() == 1
    (error,) = node.events("launcher_exc")
    assert "the file of cfg_path is no YAML" in error["message"]
    assert node.events("launcher_exit")[0]["code"] == 1
