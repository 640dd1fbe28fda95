"""Real torchrun on loopback "nodes", started from the very plan that a job is started from."""

from __future__ import annotations

import json
import pathlib
import sys
import time

import pytest

from cockpit.protocol import layout
from tests.node.torchrun_nodes import (
    is_gone,
    kill,
    launched,
    make_runtime,
    request,
    until,
)

pytestmark = [pytest.mark.torch, pytest.mark.timeout(360)]

ONE_NODE = {"min_nodes": 1, "max_nodes": 1}

BYTES = ("--n", "--", "", "-x", "${node_rank}", "$${local_rank}", "$(id)", "$$", "a\nb", "é 'q' \"")

TRAIN = """
import os, signal, sys, time
import torch, torch.distributed as dist
generation, rank = int(os.environ["COCKPIT_GENERATION"]), int(os.environ["RANK"])
print(f"generation {generation} rank {rank}", flush=True)
dist.init_process_group("gloo")
what, last = sys.argv[1] if len(sys.argv) > 1 else "", rank == dist.get_world_size() - 1
if last and what == "raise":
    raise RuntimeError("boom")
if last and what == "kill" and generation == 0:
    os.kill(os.getpid(), signal.SIGKILL)
total = torch.ones(1)
dist.all_reduce(total)
print(f"sum {total.item():.0f}", flush=True)
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def script(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "train.py"


def test_two_nodes_train_and_their_journals_tell_it(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(TRAIN)
    with launched(request(script), runtime, tmp_path) as nodes:
        assert [node.wait() for node in nodes] == [0, 0]
    seen = {}
    for node in nodes:
        kinds = [event["kind"] for event in node.events()]
        assert kinds == [
            "launcher", "rendezvous_begin", "rendezvous", "generation", "group", "launcher_exit",
        ]  # fmt: skip
        launcher, _, rendezvous, generation, group, ended = node.events()
        assert launcher["process"]["pid"] == node.process.pid
        assert launcher["torch"].startswith("2.")
        assert rendezvous["round"] == generation["generation"] == 0
        assert (generation["world_size"], generation["group_world_size"]) == (4, 2)
        assert (generation["restart_count"], generation["max_restarts"]) == (0, 0)
        assert generation["master"].startswith("127.0.0.")
        assert (group["state"], group["failures"], ended["code"]) == ("SUCCEEDED", [], 0)
        for rank in generation["ranks"]:
            assert rank["process"]["start_ticks"] > 0
            seen[rank["rank"]] = (node.folder / rank["out"]).read_text()
        assert not node.launcher_log(), "torchrun had nothing to complain about"
    assert seen == {rank: f"generation 0 rank {rank}\nsum 4\n" for rank in range(4)}


def test_the_rank_that_raised_is_named_with_an_earlier_time_than_its_victims(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(TRAIN)
    with launched(request(script, "raise"), runtime, tmp_path) as nodes:
        assert [node.wait() for node in nodes] == [1, 1]
    failures = [f for node in nodes for e in node.events("group") for f in e["failures"]]
    first = min(failures, key=lambda failure: failure["at"])
    assert (first["rank"], first["exit_code"], first["signal"]) == (3, 1, None)
    assert (first["message"], first["exception"]) == ("RuntimeError: boom", "RuntimeError")
    assert {failure["rank"] for failure in failures} > {3}, "gloo fails the others as well"
    culprits = next(node for node in nodes if "RuntimeError: boom" in str(node.events("group")))
    assert culprits.events("group")[0]["failures"][0] == first
    for node in nodes:
        assert node.events("launcher_exit")[0]["code"] == 1
        assert [e["kind"] for e in node.events()][-4:-2] == ["stopping", "stopped"]
    log = culprits.log(0, 1, "err")
    assert log.endswith("RuntimeError: boom\n")
    assert "worker.py" not in log


def test_a_killed_rank_restarts_the_group_and_every_generations_log_stays(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(TRAIN)
    # Four ranks would only cost more: each of them imports torch, in each generation.
    wanted = request(script, "kill", nproc_per_node=1, launcher={"max_restarts": 1})
    with launched(wanted, runtime, tmp_path) as nodes:
        assert [node.wait() for node in nodes] == [0, 0], nodes[0].launcher_log()
    killed = [f for n in nodes for e in n.events("group") for f in e["failures"] if f["rank"] == 1]
    assert [(f["exit_code"], f["signal"], f["oom"]) for f in killed] == [(None, 9, False)]
    assert killed[0]["message"] == "killed by SIGKILL"
    for node in nodes:
        generations = node.events("generation")
        assert [event["generation"] for event in generations] == [0, 1]
        assert node.events("group")[-1]["state"] == "SUCCEEDED"
        for event in generations:
            for rank in event["ranks"]:
                text = (node.folder / rank["out"]).read_text()
                assert text.startswith(f"generation {event['generation']} rank {rank['rank']}\n")
                assert ("sum 2" in text) == (event["generation"] == 1)


SLOW_END = """
import os, signal, sys, time
if os.environ["RANK"] == "1":
    print("the last words", file=sys.stderr, flush=True)
    os._exit(3)
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(4), sys.exit(0)))
time.sleep(120)
"""


def test_who_failed_is_told_before_the_other_ranks_have_ended_and_with_its_last_words(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(SLOW_END)
    with launched(request(script, **ONE_NODE), runtime, tmp_path) as nodes:
        until(lambda: nodes[0].events("group"), "a failure in the journal")
        assert not nodes[0].events("stopping")
        assert not is_gone(nodes[0].pids(0)[0])
        assert nodes[0].wait() == 1
    (group,) = nodes[0].events("group")
    (failure,) = group["failures"]
    assert (group["state"], failure["rank"], failure["exit_code"]) == ("FAILED", 1, 3)
    assert failure["tail"] == ["the last words"]


def test_a_node_that_joins_late_makes_a_new_generation_and_no_log_is_lost(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(
        "import os, time\n"
        "generation, world = os.environ['COCKPIT_GENERATION'], int(os.environ['WORLD_SIZE'])\n"
        "print(f'generation {generation} world {world}', flush=True)\n"
        "if world < 2: time.sleep(120)\n"
    )
    wanted = request(script, min_nodes=1, max_nodes=2, nproc_per_node=1)
    with launched(wanted, runtime, tmp_path, first=1) as nodes:
        until(lambda: nodes[0].pids(0) and nodes[0].log(0, 0), "a generation of one node")
        nodes.join()
        assert [node.wait() for node in nodes] == [0, 0]
    assert nodes[0].log(0, 0) == "generation 0 world 1\n"
    assert [node.log(1, 0) for node in nodes] == ["generation 1 world 2\n"] * 2
    assert [event["restart_count"] for event in nodes[0].events("generation")] == [0, 0]
    assert [event["state"] for event in nodes[0].events("group")] == ["SUCCEEDED"], "nobody failed"
    assert [event["generation"] for event in nodes[1].events("generation")] == [1]


def test_arguments_and_variables_arrive_byte_for_byte_and_nothing_else_does(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(
        "import json, os, sys\n"
        "json.dump([sys.argv, dict(os.environ), os.getppid(), os.getpgid(0)], sys.stdout)\n"
    )
    wanted = request(script, *BYTES, env={"TRICKY": BYTES[-1]}, **ONE_NODE)
    stray = {"PET_STANDALONE": "1", "PET_NNODES": "7"}
    with launched(wanted, runtime, tmp_path, environ=stray) as (node,):
        assert node.wait() == 0, node.launcher_log()
    for local_rank in (0, 1):
        argv, environ, parent, _ = json.loads(node.log(0, local_rank))
        assert argv == [str(script), *BYTES]
        assert environ["TRICKY"] == BYTES[-1]
        assert environ["LOCAL_RANK"] == str(local_rank)
        assert environ["OMP_NUM_THREADS"] == "1"
        assert environ[layout.GENERATION_ENV] == "0"
        assert environ["TORCHELASTIC_ERROR_FILE"] == str(
            node.folder / layout.rank_error(0, local_rank)
        )
        assert not any(name.startswith("PET_") for name in environ)
        assert layout.LAUNCHER_PID_ENV not in environ
        assert parent == node.process.pid
    assert "ignoring PET_NNODES, PET_STANDALONE" in node.launcher_log()
    assert "OMP_NUM_THREADS" not in node.launcher_log()


def test_a_command_without_python_gets_its_arguments_byte_for_byte(
    tmp_path: pathlib.Path, runtime: pathlib.Path
) -> None:
    program = tmp_path / "run $$ me.sh"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$RANK" "$@"\n')
    program.chmod(0o755)
    wanted = request(None, command=(str(program), "first"), args=BYTES, **ONE_NODE)
    with launched(wanted, runtime, tmp_path) as (node,):
        assert node.wait() == 0, node.launcher_log()
    assert node.log(0, 1).split("\0") == ["1", "first", *BYTES, ""]


def test_an_exit_code_is_kept_and_a_deaf_rank_delays_no_restart(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(
        "import os, pathlib, signal, sys, time\n"
        "ready = pathlib.Path(f\"ready.{os.environ['COCKPIT_GENERATION']}\")\n"
        "if os.environ['RANK'] == '0':\n"
        "    while not ready.exists(): time.sleep(0.02)\n"
        "    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "ready.touch()\n"
        "time.sleep(120)\n"
    )
    wanted = request(script, launcher={"max_restarts": 1, "grace": 2.0}, **ONE_NODE)
    with launched(wanted, runtime, tmp_path) as (node,):
        assert node.wait() == 1
    groups, generations = node.events("group"), node.events("generation")
    assert [event["generation"] for event in groups] == [0, 1]
    assert [event["remaining_restarts"] for event in groups] == [1, 0]
    for event in groups:
        # The other rank was ended by torch, so it is no failure.
        assert [(f["rank"], f["exit_code"], f["message"]) for f in event["failures"]] == [
            (0, 7, "exit code 7")
        ]
    # torch alone waits 30 s for the deaf rank.
    assert generations[1]["mono"] - generations[0]["mono"] < 25


def test_ranks_die_with_their_launcher_process(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text("import time\nprint('up', flush=True)\ntime.sleep(120)\n")
    with launched(request(script, **ONE_NODE), runtime, tmp_path) as (node,):
        pids = until(lambda: node.pids(0), "a first generation")
        until(lambda: all("up" in node.log(0, rank) for rank in (0, 1)), "both ranks up")
        kill(node.process.pid)
        until(lambda: all(is_gone(pid) for pid in pids), "the end of both ranks", 30)


def test_one_sigterm_ends_the_ranks_within_the_grace(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text(
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\ntime.sleep(120)\n"
    )
    wanted = request(script, launcher={"grace": 3.0}, **ONE_NODE)
    with launched(wanted, runtime, tmp_path) as (node,):
        pids = until(lambda: node.pids(0), "a first generation")
        until(lambda: all("up" in node.log(0, rank) for rank in (0, 1)), "both ranks up")
        node.process.terminate()
        assert node.wait() == 1
        assert all(is_gone(pid) for pid in pids)
    assert node.events("launcher_exc")[0]["type"] == "SignalException"
    assert node.events("launcher_exit")[0]["code"] == 1
    assert not node.events("group"), "nobody failed"


def test_a_signal_ends_the_wait_for_other_nodes_at_once(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text("import os, time\nif os.environ['GROUP_RANK'] == '1': time.sleep(120)\n")
    with launched(request(script), runtime, tmp_path) as nodes:
        until(lambda: any(n.events("group") for n in nodes), "the end of one node's ranks")
        done = next(node for node in nodes if node.events("group"))
        assert done.process.poll() is None, "it waits for the other node"
        done.process.terminate()
        assert done.process.wait(30) == 1
    assert not done.events("hook_error")


@pytest.mark.slow
def test_the_wait_for_other_nodes_ends_soon_after_one_has_died(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text("import os, time\nif os.environ['GROUP_RANK'] == '1': time.sleep(120)\n")
    conf = {"keep_alive_interval": 1, "keep_alive_max_attempt": 3}
    with launched(request(script, launcher={"rdzv_conf": conf}), runtime, tmp_path) as nodes:
        until(lambda: any(n.events("group") for n in nodes), "the end of one node's ranks")
        done, other = nodes
        assert done.events("group"), "group ranks follow the addresses"
        began = time.monotonic()
        kill(other.process.pid)
        assert done.wait() == 0
        # torch alone would have waited 300 s.
        assert time.monotonic() - began < 60
    assert "a node has left" in done.launcher_log()


def test_a_python_without_torch_is_named_in_a_clear_message(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    broken = tmp_path / "site" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    script.write_text("")
    environ = {"PYTHONPATH": str(broken.parent)}
    with launched(request(script, **ONE_NODE), runtime, tmp_path, environ=environ) as (node,):
        assert node.wait() == 1
    assert node.launcher_log().startswith(
        f"cockpit: {sys.executable} cannot import torch: ModuleNotFoundError: No module named"
    )
    assert "Traceback" not in node.launcher_log()
    assert [event["kind"] for event in node.events()] == [
        "launcher", "launcher_exc", "launcher_exit",
    ]  # fmt: skip
    assert node.events("launcher")[0]["torch"] == ""


def test_a_cockpit_of_the_users_and_shadowing_names_do_no_harm(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    theirs = tmp_path / "site"
    (theirs / "cockpit").mkdir(parents=True)
    (theirs / "cockpit" / "__init__.py").write_text("mine = 'theirs'\n")
    script.write_text("import cockpit\nprint(cockpit.mine)\n")
    wanted = request(script, nproc_per_node=1, **ONE_NODE)
    environ = {"PYTHONPATH": str(theirs)}
    with launched(wanted, runtime, tmp_path, environ=environ) as (node,):
        assert node.wait() == 0, node.launcher_log()
    assert node.log(0, 0) == "theirs\n"


def test_without_an_attempts_folder_nothing_starts(
    tmp_path: pathlib.Path, runtime: pathlib.Path, script: pathlib.Path
) -> None:
    script.write_text("")
    environ = {layout.ATTEMPT_DIR_ENV: str(tmp_path / "nowhere")}
    wanted = request(script, **ONE_NODE)
    with launched(wanted, runtime, tmp_path, environ=environ) as (node,):
        assert node.wait() == 1
    assert "does not name the attempt's folder" in node.launcher_log()
