"""Options for the ft_launcher that is there: the recorded parsers of three versions judge them."""

from __future__ import annotations

import pytest

from cockpit.launchers import registry
from cockpit.node.launch import ftargs
from tests.node.ft_versions import KNOWN
from tests.node.torchrun_nodes import request

EVERYTHING = {
    "kind": "ft",
    "initial_rank_heartbeat_timeout": 600.0,
    "rank_heartbeat_timeout": 60.0,
    "workload_check_interval": 2.0,
    "rank_section_timeouts": {"step": 10.0},
    "rank_out_of_section_timeout": 9.0,
    "rank_termination_signal": "SIGTERM",
    "log_level": "DEBUG",
    "job_results_file": "/r",
}


def arguments(**launcher: object) -> list[str]:
    argv = registry.plan(request("train.py", "--x", "$HOME", launcher=launcher)).argv
    return list(argv[argv.index("--ft") + 1 :])


@pytest.mark.parametrize("version", sorted(KNOWN))
def test_every_option_of_a_plan_is_one_that_the_version_has(version: str) -> None:
    fitted = ftargs.fit(ftargs.parse(arguments(**EVERYTHING)), KNOWN[version])
    end = fitted.arguments.index("--")
    given = [argument.partition("=")[0] for argument in fitted.arguments[:end]]
    assert set(given) <= KNOWN[version]
    assert fitted.left_out == ()
    assert len(given) == len(set(given))
    # No option of any version that only stands for a missing configuration: ours is always there.
    assert not {name for name in given if "missing" in name}
    assert fitted.arguments[end + 2 :] == ["train.py", "--x", "$$HOME"]


def test_the_oldest_names_are_found_where_there_are_no_others() -> None:
    ancient = frozenset(
        name.replace("--ft-rank-heartbeat-timeout", "--ft-param-rank_heartbeat_timeout").replace(
            "--ft-cfg-path", "--fault-tol-cfg-path"
        )
        for name in KNOWN["0.4.1"]
        if "heartbeat_timeout" not in name and "cfg_path" not in name
    )
    fitted = ftargs.fit(
        ftargs.parse(arguments(kind="ft", rank_heartbeat_timeout=60.0)), ancient
    ).arguments
    assert "--ft-param-rank_heartbeat_timeout=60" in fitted
    assert "--fault-tol-cfg-path=${attempt_dir}/ft.yaml" in fitted


def test_what_a_version_does_not_know_is_named_unless_nothing_is_lost() -> None:
    known = KNOWN["0.4.1"] - {"--ft-rank-section-timeouts", "--ft-rank_section_timeouts",
                              "--ft-param-rank_section_timeouts"}  # fmt: skip
    fitted = ftargs.fit(ftargs.parse(arguments(**EVERYTHING)), known)
    assert fitted.left_out == ("--ft-rank-section-timeouts",)
    assert not any("cycle" in argument for argument in fitted.arguments)


def test_ranks_get_as_long_to_end_as_the_hooks_are_told() -> None:
    fitted = ftargs.fit(ftargs.parse(arguments(kind="ft", grace=10.0)), KNOWN["0.6.0"])
    assert fitted.shutdown_timeout == 8
    assert {"--term-timeout=8", "--workers-stop-timeout=8"} <= set(fitted.arguments)


def test_the_users_part_arrives_as_it_is() -> None:
    options = ftargs.parse(["--nnodes=1", "--no-python", "--", "./$run", "--ft-x=1", "$1", "--"])
    fitted = ftargs.fit(options, KNOWN["0.4.1"])
    # With --no-python the program itself is not a template.
    assert fitted.arguments == [
        "--nnodes=1", "--no-python", "--", "./$run", "--ft-x=1", "$$1", "--",
    ]  # fmt: skip
