"""What other launchers get wrong around ft_launcher, each shown to be right here.

The names say the defect; all were found in NeMo-Run's FaultTolerance launcher (0.11.1).
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
from typing import Any

import pytest

from cockpit.launchers import registry
from cockpit.node.launch import ftargs
from tests.node.ft_versions import KNOWN
from tests.node.torchrun_nodes import JOB, Node, launched, make_runtime
from tests.node.torchrun_nodes import request as torchrun_request

pytestmark = [
    pytest.mark.torch,
    pytest.mark.timeout(360),
    pytest.mark.skipif(
        importlib.util.find_spec("nvidia_resiliency_ext") is None,
        reason="needs nvidia-resiliency-ext",
    ),
]

SCRIPT = """
import os, pathlib, sys
generation = os.environ["COCKPIT_GENERATION"]
print(generation, os.environ["TORCHELASTIC_MAX_RESTARTS"], os.environ["JOB_RESULTS_FILE"])
sys.exit(int(sys.argv[1]))
"""


def request(tmp_path: pathlib.Path, *args: str, **changes: Any) -> Any:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    results = str(tmp_path / "results")
    launcher = {"kind": "ft", "grace": 3.0, "job_results_file": results}
    launcher.update(changes.pop("launcher", {}))
    given = {"min_nodes": 1, "max_nodes": 1, "nproc_per_node": 1, **changes}
    return torchrun_request(script, *args, launcher=launcher, **given)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="module")
def failed(
    tmp_path_factory: pytest.TempPathFactory, runtime: pathlib.Path
) -> tuple[pathlib.Path, Node]:
    """A job whose rank always leaves with 7, with two restarts allowed."""
    folder = tmp_path_factory.mktemp("failed")
    wanted = request(folder, "7", launcher={"max_restarts": 2})
    with launched(wanted, runtime, folder) as (node,):
        node.wait()
    return folder, node


def test_exit_0_after_failed_training__a_failed_run_ends_with_a_failure(
    failed: tuple[pathlib.Path, Node],
) -> None:
    folder, node = failed
    assert node.process.returncode == 1
    assert node.events("launcher_exit")[0]["code"] == 1
    for group in node.events("group"):
        # The code by which the job is judged is the rank's own.
        assert group["failures"][0]["exit_code"] == 7
    (error,) = node.events("launcher_exc")
    assert error["message"] == "rank 0 failed with exit code 7"
    assert (folder / "results").read_text() == f"{JOB} 0 F\n"


def test_retries_n_is_n_minus_one_restarts__n_restarts_are_n(
    failed: tuple[pathlib.Path, Node],
) -> None:
    _, node = failed
    assert [event["generation"] for event in node.events("generation")] == [0, 1, 2]
    assert [node.log(n, 0).split()[:2] for n in range(3)] == [["0", "2"], ["1", "2"], ["2", "2"]]


def test_two_layers_of_restarts_with_unrelated_counters__one_numbered_timeline(
    failed: tuple[pathlib.Path, Node],
) -> None:
    _, node = failed
    events = node.events()
    assert [event["seq"] for event in events] == list(range(len(events)))
    counts = [event["restart_count"] for event in node.events("generation")]
    assert counts == [0, 1, 2]
    assert {event["max_restarts"] for event in node.events("generation")} == {2}


def test_success_without_the_flag_is_requeued_for_ever__exit_0_is_success_and_ends_it(
    tmp_path: pathlib.Path, runtime: pathlib.Path
) -> None:
    wanted = request(tmp_path, "0", launcher={"max_restarts": 3})
    with launched(wanted, runtime, tmp_path) as (node,):
        assert node.wait() == 0
    assert len(node.events("generation")) == 1
    assert not (node.folder / "finished").exists()
    assert (tmp_path / "results").read_text() == f"{JOB} 0 S\n"


def test_max_restarts_0_is_not_passed__a_zero_is_passed(
    tmp_path: pathlib.Path, runtime: pathlib.Path
) -> None:
    wanted = request(tmp_path, "3", launcher={"max_restarts": 0})
    assert "--max-restarts=0" in registry.plan(wanted).argv
    with launched(wanted, runtime, tmp_path) as (node,):
        assert node.wait() == 1
    assert len(node.events("generation")) == 1
    assert node.log(0, 0).split()[1] == "0"


def test_the_configuration_is_exported_under_a_name_nobody_reads__the_file_is_passed(
    tmp_path: pathlib.Path, runtime: pathlib.Path
) -> None:
    """A limit that stands in the user's file alone is the one that the rank monitor keeps to."""
    script = tmp_path / "silent.py"
    script.write_text(
        "import time\n"
        "import nvidia_resiliency_ext.fault_tolerance as ft\n"
        "client = ft.RankMonitorClient()\n"
        "client.init_workload_monitoring()\n"
        "time.sleep(100)\n"
    )
    cfg = "fault_tolerance: {initial_rank_heartbeat_timeout: 1.25, workload_check_interval: 0.25}\n"
    wanted = torchrun_request(
        script,
        launcher={"kind": "ft", "grace": 3.0},
        cfg=cfg,
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=1,
    )
    with launched(wanted, runtime, tmp_path) as (node,):
        assert node.wait() == 1
    (told,) = node.events("ft_timeout")
    assert told["message"].startswith("no first heartbeat for 1.")
    assert told["message"].endswith("the limit is 1.25 s")


@pytest.mark.parametrize("version", sorted(KNOWN))
def test_flags_that_the_installed_version_does_not_have__only_known_ones_are_passed(
    version: str,
) -> None:
    wanted = torchrun_request("train.py", launcher={"kind": "ft"})
    argv = registry.plan(wanted).argv
    options = ftargs.parse(list(argv[argv.index("--ft") + 1 :]))
    fitted = ftargs.fit(options, KNOWN[version]).arguments
    names = {item.partition("=")[0] for item in fitted[: fitted.index("--")]}
    assert names <= KNOWN[version]
    assert "--ignore-missing-fault-tol-cfg" not in names


def test_one_rendezvous_id_for_every_attempt__each_has_its_own() -> None:
    for rdzv_id in (None, "mine"):
        plan = registry.plan(torchrun_request("t.py", launcher={"kind": "ft", "rdzv_id": rdzv_id}))
        (option,) = (item for item in plan.argv if item.startswith("--rdzv-id="))
        assert option.endswith(".${attempt}")


def test_limits_left_to_defaults_that_differ_by_version__all_of_them_are_written() -> None:
    plan = registry.plan(torchrun_request("train.py", launcher={"kind": "ft"}))
    section = json.loads(plan.files["ft.yaml"])["fault_tolerance"]
    assert section["rank_heartbeat_timeout"] is None
    assert section["initial_rank_heartbeat_timeout"] is None
    assert any(item.startswith("--term-timeout=") for item in plan.argv)


def test_user_paths_are_overwritten__they_are_kept() -> None:
    launcher = {"kind": "ft", "finished_flag_file": "/f/done", "job_results_file": "/f/${job}"}
    plan = registry.plan(torchrun_request("train.py", launcher=launcher))
    assert plan.finished_flag == "/f/done"
    assert "--job-results=/f/${job}" in plan.argv
