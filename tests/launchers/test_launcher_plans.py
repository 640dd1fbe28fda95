"""What launchers render, to the letter. The same plans run for real in tests/node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.errors import ExitCode, UsageError
from cockpit.launchers import elastic, registry
from cockpit.launchers.plan import Plan, Request
from cockpit.profiles.types import Cluster, Launcher, NodeSpec
from cockpit.protocol import macros
from cockpit.protocol.secretref import SecretRef


def request(*, launcher: dict[str, Any] | None = None, **changes: Any) -> Request:
    given = {
        "name": "llama",
        "cluster": Cluster(name="lab"),
        "launcher": Launcher(name="ddp", **(launcher or {})),
        "nodes": tuple(NodeSpec(name=f"gpu{n}", host=f"gpu{n}") for n in range(4)),
        "min_nodes": 2,
        "max_nodes": 2,
        "nproc_per_node": 8,
        "working_dir": "/home/ada/llama",
    }
    if not {"script", "module", "command"} & changes.keys():
        given["script"] = "train.py"
    return Request(**{**given, **changes})


def plan(*, launcher: dict[str, Any] | None = None, **changes: Any) -> Plan:
    return registry.plan(request(launcher=launcher, **changes))


def refused(match: str, *, launcher: dict[str, Any] | None = None, **changes: Any) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        plan(launcher=launcher, **changes)
    assert caught.value.exit_code == ExitCode.USAGE


def test_torchrun_is_started_like_this() -> None:
    made = plan(args=("--lr", "0.1", "${HOME}"), max_restarts=3)
    assert made.argv == (
        "${python}",
        "-u",
        "${runtime}/cockpit/node/elastic.py",
        "--nnodes=2",
        "--nproc-per-node=${nproc_per_node}",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=${head_node_ip}:${rdzv_port}",
        "--rdzv-id=${job}.${attempt}",
        "--rdzv-conf=is_host=${is_head},join_timeout=600,"
        "keep_alive_interval=3,keep_alive_max_attempt=5",
        "--local-addr=${node_addr}",
        "--max-restarts=3",
        "--monitor-interval=0.1",
        "--signals-to-handle=SIGTERM,SIGINT",
        "--shutdown-timeout=25",
        "--redirects=3",
        "--log-dir=${attempt_dir}/logs/torch",
        "--",
        "${runtime}/cockpit/node/rank/worker.py",
        "train.py",
        "--lr",
        "0.1",
        "$${HOME}",
    )
    assert made.env == {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "PYTHONUNBUFFERED": "1"}
    assert (made.kind, made.grace, made.max_restarts) == ("torchrun", 30.0, 3)
    assert made.secrets == {}


def test_every_macro_that_is_used_is_one_that_nodes_know() -> None:
    for kind in ("torchrun", "ft", "command"):
        made = plan(launcher={"kind": kind}, nproc_per_node="auto")
        for item in made.argv:
            macros.substitute(item, macros.NAMES)


def test_one_node_takes_the_same_road() -> None:
    assert plan(min_nodes=1, max_nodes=1).argv[3:9] == ("--nnodes=1", *plan().argv[4:9])


def test_an_elastic_job_waits_briefly_for_more_nodes() -> None:
    argv = plan(min_nodes=2, max_nodes=3).argv
    assert "--nnodes=2:3" in argv
    assert next(item for item in argv if "rdzv-conf" in item).endswith(",last_call_timeout=5")


def test_a_profiles_rendezvous_settings_win() -> None:
    argv = plan(launcher={"rdzv_conf": {"join_timeout": 60, "read_timeout": 9}}).argv
    (conf,) = (item for item in argv if "rdzv-conf" in item)
    assert "join_timeout=60," in conf
    assert conf.endswith(",read_timeout=9")


@pytest.mark.parametrize("key", ["is_host", "timeout", "join_timout", "a=1,is_host"])
def test_a_rendezvous_setting_that_torch_would_ignore_is_refused(key: str) -> None:
    refused("sets rdzv_conf", launcher={"rdzv_conf": {key: 1}})


def test_modules_and_commands_and_strange_scripts() -> None:
    assert plan(script=None, module="pkg.train", args=("-m",)).argv[-3:] == (
        "-m", "pkg.train", "-m",
    )  # fmt: skip
    assert plan(script="-m").argv[-1] == "./-m"
    assert plan(script=None, command=("./run.sh", "${x}"), args=("y",)).argv[-5:] == (
        "--no-python", "--", "./run.sh", "$${x}", "y",
    )  # fmt: skip


def test_the_command_kind_runs_the_command_and_nothing_else() -> None:
    command = {"launcher": {"kind": "command"}, "nproc_per_node": "auto"}
    assert plan(**command, args=("${x}",)).argv == ("${python}", "-u", "train.py", "$${x}")
    assert plan(**command, script="-c").argv == ("${python}", "-u", "./-c")
    assert plan(**command, script=None, module="m", args=("a",)).argv == (
        "${python}", "-u", "-m", "m", "a",
    )  # fmt: skip
    assert plan(**command, script=None, command=("sh", "-c", "echo ${x}")).argv == (
        "sh", "-c", "echo $${x}",
    )  # fmt: skip
    made = plan(**command)
    assert (made.kind, made.env) == ("command", {"PYTHONUNBUFFERED": "1"})


def test_the_command_kind_refuses_what_it_cannot_do() -> None:
    refused("starts one process per node", launcher={"kind": "command"}, nproc_per_node=8)
    refused("starts one process per node", launcher={"kind": "command"}, nproc_per_node="gpu")
    refused("cannot restart", launcher={"kind": "command"}, nproc_per_node=1, max_restarts=1)


@given(st.lists(st.text(st.characters(exclude_characters="\0"))), st.text("${}ab", min_size=1))
def test_the_users_words_arrive_byte_for_byte(args: list[str], script: str) -> None:
    values = dict.fromkeys(macros.NAMES, "value")
    argv = [macros.substitute(item, values) for item in plan(script=script, args=tuple(args)).argv]
    assert argv[argv.index("--") + 2 :] == [script, *args]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"script": None}, "neither script, module nor command"),
        ({"script": "a.py", "module": "a"}, "script and module"),
        ({"script": ""}, "empty script"),
        ({"script": None, "module": ""}, "empty module"),
        ({"script": None, "command": ()}, "empty command"),
        ({"script": None, "command": ("",)}, "empty command"),
        ({"min_nodes": 3, "max_nodes": 2}, "3:2 nodes"),
        ({"min_nodes": 0}, "0:2 nodes"),
        ({"min_nodes": 5, "max_nodes": 5}, "asks for 5 nodes, cluster 'lab' has 4"),
        ({"nproc_per_node": 0}, "0 processes per node"),
        ({"nproc_per_node": "many"}, "'many' processes per node"),
        ({"max_restarts": -1}, "-1 restarts"),
        ({"args": ("a\0b",)}, "NUL"),
        ({"env": {"A": "x\0"}}, "NUL"),
        ({"env": {"A=B": "x"}}, "name cannot be: 'A=B'"),
        ({"env": {"": "x"}}, "name cannot be: ''"),
        ({"env": {"COCKPIT_ATTEMPT": "x"}}, "COCKPIT_ATTEMPT"),
        ({"secrets": {"COCKPIT_ATTEMPT_DIR": SecretRef(env="X")}}, "COCKPIT_ATTEMPT_DIR"),
        ({"env": {"A": "x"}, "secrets": {"A": SecretRef(env="X")}}, "both"),
    ],
)  # fmt: skip
def test_an_impossible_request_is_refused(changes: dict[str, Any], match: str) -> None:
    refused(match, **changes)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown kind 'magic'") as caught:
        plan(launcher={"kind": "magic"})
    assert "command, ft, torchrun" in caught.value.hint


def test_the_more_specific_variable_wins() -> None:
    name = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
    layers = {"cluster": {"A": "c", "B": "c", "C": "c"}, "launcher": {"B": "l", "C": "l"}}
    made = plan(
        cluster=Cluster(name="lab", env=layers["cluster"]),
        launcher={"env": {**layers["launcher"], name: "0"}},
        env={"C": "j", "PYTHONUNBUFFERED": ""},
    )
    assert made.env == {"A": "c", "B": "l", "C": "j", name: "0", "PYTHONUNBUFFERED": ""}


def test_a_secret_and_a_value_replace_each_other_by_the_same_order() -> None:
    of_cluster, of_job = SecretRef(env="CLUSTER"), SecretRef(file="/job")
    cluster = Cluster(
        name="lab", env={"A": "c", "P": "c"}, secrets={"B": of_cluster, "C": of_cluster}
    )
    made = plan(
        cluster=cluster, launcher={"env": {"B": "l"}}, env={}, secrets={"A": of_job, "C": of_job}
    )
    assert made.secrets == {"A": of_job, "C": of_job}
    assert {n: made.env.get(n) for n in "ABCP"} == {"A": None, "B": "l", "C": None, "P": "c"}


@pytest.mark.parametrize(
    ("grace", "expected"),
    [(0.5, 0), (1, 0), (1.2, 1), (2, 1), (3, 2), (5, 4), (10, 8), (30, 25), (600, 595)],
)
def test_torchrun_is_done_with_its_ranks_before_the_grace_is_over(
    grace: float, expected: int
) -> None:
    assert elastic.shutdown_timeout(grace) == expected < grace


def test_a_plan_is_a_value() -> None:
    assert plan() == plan()
    assert msgspec.convert(msgspec.to_builtins(plan()), Plan) == plan()
